"""Losses of the sigmoid of the logits, for binary classification.

Labels are integers 0 and 1, booleans, or soft labels: the probability of class 1, assumed to be in
[0, 1].
"""

import jax
import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.types import Array, Bool, Float, Num


def sigmoid_cross_entropy(
    logits: Float[Array, "*batch"],
    labels: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    label_smoothing: float = 0.0,
    class_weights: Float[Array, "2"] | None = None,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the cross-entropy of the sigmoid of the logits with binary labels.

    .. math::
      \ell = -w_1 q \log \sigma(z) - w_0 (1 - q) \log \sigma(-z), \qquad
      q = (1 - \epsilon) y + \epsilon / 2

    Args:
      logits: `[...]`, the log-odds of class 1.
      labels: `[...]`, hard or soft.
      label_smoothing: epsilon in [0, 1), as in Keras.
      class_weights: `[2]`, non-negative weights of class 0 and class 1; None weights both by 1.
        The weight of class 1 is PyTorch's `pos_weight`.
      where: mask over examples.

    Returns:
      `[...]`, in nats.

    Example:
      >>> sigmoid_cross_entropy(jnp.array([1e4, -1e4]), jnp.array([1, 1])).tolist()
      [0.0, 10000.0]

    Without smoothing and weights, it equals `optax.losses.sigmoid_binary_cross_entropy`.
    """
    labelling.check_smoothing(label_smoothing)
    labelling.check_weights(class_weights, 2)
    logits, targets = labelling.prepare_binary(logits, labels, where, soft=True)
    targets = (1 - label_smoothing) * targets + label_smoothing / 2
    zero, one = 1 - targets, targets
    if class_weights is not None:
        weights = class_weights.astype(logits.dtype)
        zero, one = zero * weights[0], one * weights[1]
    return inputs.keep(cross_entropy_of_factors(logits, zero, one), where)


def sigmoid_focal(
    logits: Float[Array, "*batch"],
    labels: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the binary focal loss, which down-weights well-classified examples.

    .. math::
      \ell = \alpha_y (1 - p_y)^\gamma (-y \log p - (1 - y) \log (1 - p)), \quad
      p = \sigma(z), \quad
      p_y = y p + (1 - y) (1 - p), \quad
      \alpha_y = y \alpha + (1 - y) (1 - \alpha)

    Args:
      logits: `[...]`, the log-odds of class 1.
      labels: `[...]`, hard or soft.
      gamma: focusing exponent, non-negative; 0 gives the cross-entropy.
      alpha: weight of class 1 in [0, 1], where class 0 has weight `1 - alpha`; None weights both
        by 1.
      where: mask over examples.

    Returns:
      `[...]`, in nats.

    Example:
      >>> sigmoid_focal(jnp.array([1e4, -1e4]), jnp.array([1, 1])).tolist()
      [0.0, 10000.0]

    Equals `optax.losses.sigmoid_focal_loss`, with finite gradients for large logits too.

    Reference: Lin et al., "Focal loss for dense object detection", 2017.
    """
    inputs.check_non_negative("gamma", gamma)
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` must be in [0, 1] or None, got {alpha}")
    logits, targets = labelling.prepare_binary(logits, labels, where, soft=True)
    zero, one = 1 - targets, targets
    if alpha is not None:
        balance = one * alpha + zero * (1 - alpha)
        zero, one = zero * balance, one * balance
    losses = cross_entropy_of_factors(logits, zero, one)
    if gamma:
        factors = jnp.exp(gamma * _log_complement(logits, targets))
        losses = inputs.weighted(inputs.focused(factors, losses), losses)
    return inputs.keep(losses, where)


def cross_entropy_of_factors(logits: Array, zero: Array, one: Array) -> Array:
    """Returns the cross-entropy with weights `zero` and `one` for the two classes."""
    losses = inputs.weighted(one, -jax.nn.log_sigmoid(logits))
    return losses + inputs.weighted(zero, -jax.nn.log_sigmoid(-logits))


def _log_complement(logits: Array, targets: Array) -> Array:
    """Returns `log(1 - p_y)` to full precision."""
    complement = targets * jax.nn.sigmoid(-logits) + (1 - targets) * jax.nn.sigmoid(logits)
    # For a confident prediction of a hard label, the complement underflows; its logarithm does not.
    tiny = complement < 2.0**-100
    of_hard_label = jax.nn.log_sigmoid(jnp.where(targets > 0.5, -logits, logits))
    return jnp.where(tiny, of_hard_label, jnp.log(jnp.where(tiny, 1.0, complement)))
