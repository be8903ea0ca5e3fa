"""Losses of the sigmoid of a logit: two classes."""

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
    r"""Cross-entropy of the sigmoid of the logits against binary labels.

    .. math::
      \ell = -w_1 q \log \sigma(z) - w_0 (1 - q) \log \sigma(-z), \qquad
      q = (1 - \epsilon) y + \epsilon / 2

    Args:
      logits: `[...]`, floating point: the log-odds of class 1.
      labels: the same shape: integers 0 and 1 (others are an error, or NaN where labels or the
        mask are traced), booleans, or soft labels: the probability of class 1, floating point in
        [0, 1], not checked.
      label_smoothing: epsilon, in [0, 1).
      class_weights: `[2]`, 0 or more, of class 0 and class 1; None is 1 for both.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the entry holds.

    Returns:
      `[...]`, in float32 at least: 0 or more, in nats, one value an entry.

    Raises:
      TypeError: logits or weights that are not floating point, a mask that is not boolean.
      ValueError: labels, a mask or weights of another shape; labels, epsilon or weights out of
        range.

    Example:
      >>> sigmoid_cross_entropy(jnp.array([1e4, -1e4]), jnp.array([1, 1])).tolist()
      [0.0, 10000.0]

    Source: `torch.nn.functional.binary_cross_entropy_with_logits`, whose `pos_weight` is a class
    weight of class 1, and `tf.nn.sigmoid_cross_entropy_with_logits`; smoothing as in Keras.
    """
    labelling.check_smoothing(label_smoothing)
    labelling.check_weights(class_weights, 2)
    logits, shares = _prepare(logits, labels, where)
    shares = (1 - label_smoothing) * shares + label_smoothing / 2
    zero, one = 1 - shares, shares
    if class_weights is not None:
        weights = class_weights.astype(logits.dtype)
        zero, one = zero * weights[0], one * weights[1]
    return inputs.keep(_cross_entropy(logits, zero, one), where)


def sigmoid_focal(
    logits: Float[Array, "*batch"],
    labels: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Sigmoid cross-entropy with less weight on what is classified well already.

    .. math::
      \ell = \alpha_y (1 - p_y)^\gamma (-y \log p - (1 - y) \log (1 - p)), \quad
      p = \sigma(z), \quad
      p_y = y p + (1 - y) (1 - p), \quad
      \alpha_y = y \alpha + (1 - y) (1 - \alpha)

    Args:
      logits: `[...]`, floating point: the log-odds of class 1.
      labels: the same shape: integers 0 and 1 (others are an error, or NaN where labels or the
        mask are traced), booleans, or soft labels: the probability of class 1, floating point in
        [0, 1], not checked.
      gamma: 0 or more; 0 is cross-entropy.
      alpha: in [0, 1], the weight of class 1, and 1 - alpha that of class 0; None is 1 for both.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the entry holds.

    Returns:
      `[...]`, in float32 at least: 0 or more, in nats, one value an entry.

    Raises:
      TypeError: logits that are not floating point, a mask that is not boolean.
      ValueError: labels or a mask of another shape; labels, gamma or alpha out of range.

    Example:
      >>> sigmoid_focal(jnp.array([1e4, -1e4]), jnp.array([1, 1])).tolist()
      [0.0, 10000.0]

    Source: Lin et al., "Focal loss for dense object detection", 2017. The same as
    optax's and torchvision's `sigmoid_focal_loss`, whose gradients are NaN for large logits; alpha
    of torchvision is 0.25 unless told; Keras'
    `BinaryFocalCrossentropy` clips probabilities and leaves alpha out unless told.
    """
    if not gamma >= 0:
        raise ValueError(f"gamma: 0 or more, not {gamma}")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha: in [0, 1] or None, not {alpha}")
    logits, shares = _prepare(logits, labels, where)
    zero, one = 1 - shares, shares
    if alpha is not None:
        balance = one * alpha + zero * (1 - alpha)
        zero, one = zero * balance, one * balance
    losses = _cross_entropy(logits, zero, one)
    if gamma:
        factors = jnp.exp(gamma * _log_of_the_rest(logits, shares))
        losses = inputs.weighted(inputs.focused(factors, losses), losses)
    return inputs.keep(losses, where)


def _prepare(logits: Array, labels: Array, where: Array | None) -> tuple[Array, Array]:
    labelling.check_binary(logits, labels, where, soft=True)
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    return logits, labelling.binary_shares(inputs.keep(labels, where), logits.dtype)


def _cross_entropy(logits: Array, zero: Array, one: Array) -> Array:
    """Returns the surprise at both classes, weighted."""
    surprise = inputs.weighted(one, -jax.nn.log_sigmoid(logits))
    return surprise + inputs.weighted(zero, -jax.nn.log_sigmoid(-logits))


def _log_of_the_rest(logits: Array, shares: Array) -> Array:
    """Returns `log(1 - p_y)` to full precision."""
    rest = shares * jax.nn.sigmoid(-logits) + (1 - shares) * jax.nn.sigmoid(logits)
    # Of a hard label that is certain, the rest underflows, but its logarithm is a logit.
    tiny = rest < 2.0**-100
    of_hard_label = jax.nn.log_sigmoid(jnp.where(shares > 0.5, -logits, logits))
    return jnp.where(tiny, of_hard_label, jnp.log(jnp.where(tiny, 1.0, rest)))
