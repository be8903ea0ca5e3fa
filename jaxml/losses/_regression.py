"""Regression losses.

They are elementwise: each entry counts as an example. For vector-valued targets, sum or average the
result over the last axis.
"""

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
    r"""Computes the squared error, without a factor of one half.

    .. math:: \ell = (\hat y - y)^2

    Args:
      predictions: `[...]`, floating-point.
      targets: `[...]`, floating-point. They are required: in `optax.losses.squared_error`, they
        default to zeros, which hides a forgotten argument.
      where: mask over entries.

    Example:
      >>> squared_error(jnp.array([1.0, 5.0]), jnp.array([3.0, 5.0])).tolist()
      [4.0, 0.0]
    """
    predictions, targets = _prepare(predictions, targets, where)
    return inputs.keep(optax.losses.squared_error(predictions, targets), where)


def absolute_error(
    predictions: Float[Array, "*batch"],
    targets: Float[Array, "*batch"],
    *,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the absolute error, with a gradient of 0 where it is 0.

    .. math:: \ell = |\hat y - y|

    Args:
      predictions: `[...]`, floating-point.
      targets: `[...]`, floating-point.
      where: mask over entries.

    Example:
      >>> absolute_error(jnp.array([1.0, 5.0]), jnp.array([3.0, 5.0])).tolist()
      [2.0, 0.0]
    """
    predictions, targets = _prepare(predictions, targets, where)
    errors = predictions - targets
    # The gradient of sign(r) r is sign(r), 0 at 0. JAX's gradient of abs is 1 there.
    return inputs.keep(jnp.sign(errors) * errors, where)


def huber(
    predictions: Float[Array, "*batch"],
    targets: Float[Array, "*batch"],
    *,
    delta: float = 1.0,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the Huber loss: quadratic for small errors, linear for large ones.

    .. math::
      \ell = \begin{cases} \tfrac12 r^2 & |r| \le \delta \\
      \delta (|r| - \tfrac12 \delta) & |r| > \delta \end{cases}, \qquad r = \hat y - y

    Args:
      predictions: `[...]`, floating-point.
      targets: `[...]`, floating-point.
      delta: error at which the loss becomes linear, positive. It bounds the gradient.
      where: mask over entries.

    Example:
      >>> huber(jnp.array([1.0, 4.5]), jnp.array([3.0, 5.0])).tolist()
      [1.5, 0.125]

    `torch.nn.functional.smooth_l1_loss` with `beta=delta` is this loss divided by delta.

    Reference: Huber, "Robust estimation of a location parameter", 1964.
    """
    if not delta > 0:
        raise ValueError(f"`delta` must be positive, got {delta}")
    predictions, targets = _prepare(predictions, targets, where)
    return inputs.keep(optax.losses.huber_loss(predictions, targets, delta=delta), where)


def _prepare(predictions: Array, targets: Array, where: Array | None) -> list[Array]:
    inputs.check_real("predictions", predictions)
    inputs.check_real("targets", targets)
    inputs.check_same_shape("targets", targets, predictions.shape, "predictions")
    inputs.check_mask(where, predictions.shape)
    return inputs.at_least_float32(inputs.keep(predictions, where), inputs.keep(targets, where))
