"""Losses of real predictions. Each entry is an example: sum or average vectors as you need."""

import jax.numpy as jnp
import optax

from jaxml.losses import _inputs as inputs
from jaxml.types import Array, Bool, Float


def squared_error(
    predictions: Float[Array, "*batch"],
    targets: Float[Array, "*batch"],
    *,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The square of the difference, without a factor of 1/2.

    .. math:: \ell = (\hat y - y)^2

    Args:
      predictions: `[...]`, floating point.
      targets: the same shape, floating point; a `[batch, 1]` does not meet a `[batch]`.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the entry holds.

    Returns:
      `[...]`, in float32 at least: one value an entry. Of vectors `[..., outputs]` take
      `.sum(axis=-1)` for the squared distance.

    Raises:
      TypeError: predictions or targets that are not floating point, a mask that is not boolean.
      ValueError: targets or a mask of another shape.

    Example:
      >>> squared_error(jnp.array([1.0, 5.0]), jnp.array([3.0, 5.0])).tolist()
      [4.0, 0.0]

    Source: `torch.nn.functional.mse_loss` and `optax.squared_error`; `optax.l2_loss` is half of
    it, and Keras' averages over the last axis.
    """
    predictions, targets = _prepare(predictions, targets, where)
    return inputs.keep(optax.losses.squared_error(predictions, targets), where)


def absolute_error(
    predictions: Float[Array, "*batch"],
    targets: Float[Array, "*batch"],
    *,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The magnitude of the difference.

    .. math:: \ell = |\hat y - y|

    Args:
      predictions: `[...]`, floating point.
      targets: the same shape, floating point.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the entry holds.

    Returns:
      `[...]`, in float32 at least: one value an entry. The gradient is 0 where both are equal.

    Raises:
      TypeError: predictions or targets that are not floating point, a mask that is not boolean.
      ValueError: targets or a mask of another shape.

    Example:
      >>> absolute_error(jnp.array([1.0, 5.0]), jnp.array([3.0, 5.0])).tolist()
      [2.0, 0.0]

    Source: `torch.nn.functional.l1_loss`; Keras' averages over the last axis.
    """
    predictions, targets = _prepare(predictions, targets, where)
    errors = predictions - targets
    # At 0, where |r| has no derivative, sign(r) is the middle one; JAX's of abs would be 1.
    return inputs.keep(jnp.sign(errors) * errors, where)


def huber(
    predictions: Float[Array, "*batch"],
    targets: Float[Array, "*batch"],
    *,
    delta: float = 1.0,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Half of the squared error near the target, linear away from it.

    .. math::
      \ell = \begin{cases} \tfrac12 r^2 & |r| \le \delta \\
      \delta (|r| - \tfrac12 \delta) & |r| > \delta \end{cases}, \qquad r = \hat y - y

    Args:
      predictions: `[...]`, floating point.
      targets: the same shape, floating point.
      delta: above 0, in the unit of the targets: where the loss becomes linear.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the entry holds.

    Returns:
      `[...]`, in float32 at least: one value an entry; no gradient is larger than delta.

    Raises:
      TypeError: predictions or targets that are not floating point, a mask that is not boolean.
      ValueError: targets or a mask of another shape, delta not above 0.

    Example:
      >>> huber(jnp.array([1.0, 4.5]), jnp.array([3.0, 5.0])).tolist()
      [1.5, 0.125]

    Source: Huber, "Robust estimation of a location parameter", 1964; computed by optax. The same
    in Keras (its mean) and `torch.nn.functional.huber_loss`; torch's `smooth_l1_loss` with
    `beta=delta` is this divided by delta.
    """
    if not delta > 0:
        raise ValueError(f"delta: above 0, not {delta}")
    predictions, targets = _prepare(predictions, targets, where)
    return inputs.keep(optax.losses.huber_loss(predictions, targets, delta=delta), where)


def _prepare(predictions: Array, targets: Array, where: Array | None) -> list[Array]:
    inputs.check_real("predictions", predictions)
    inputs.check_real("targets", targets)
    inputs.check_same_shape("targets", targets, predictions.shape, "predictions")
    inputs.check_mask(where, predictions.shape)
    return inputs.at_least_float32(inputs.keep(predictions, where), inputs.keep(targets, where))
