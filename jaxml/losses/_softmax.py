"""Losses of the softmax of the logits: several classes, of which one is right."""

import jax
import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.types import Array, Bool, Float, Integer, Num


def softmax_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | Num[Array, "*batch classes"] | Bool[Array, "*batch classes"],
    *,
    label_smoothing: float = 0.0,
    class_weights: Float[Array, " classes"] | None = None,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Cross-entropy of the softmax of the logits against labels.

    .. math::
      \ell = \sum_c w_c q_c \Big(\log \sum_k e^{z_k} - z_c\Big), \qquad
      q_c = (1 - \epsilon) y_c + \epsilon / \text{classes}

    Args:
      logits: `[..., classes]`, unnormalised, floating point; a class of minus infinity takes no
        part.
      labels: `[...]`, integers in [0, classes), of which one outside is an error, or gives NaN
        (loss and gradient) where labels or the mask are traced; or `[..., classes]`, one-hot or
        soft: the probability of each class, not checked.
      label_smoothing: epsilon, in [0, 1).
      class_weights: `[classes]`, 0 or more; None is 1 for all.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least: 0 or more, in nats, to its last digits however small.

    Raises:
      TypeError: labels `[...]` that are not integers, logits or weights that are not floating
        point, a mask that is not boolean.
      ValueError: labels, a mask or weights of another shape; labels, epsilon or weights out of
        range.

    Example:
      >>> float(softmax_cross_entropy(jnp.array([0.0, 1e4]), jnp.array(0)))
      10000.0

    Source: the meaning of `tf.nn.sparse_softmax_cross_entropy_with_logits`. Smoothing and weights
    are those of `torch.nn.functional.cross_entropy` with `reduction="none"`; its mean divides by
    the sum of the weights of the labels.
    """
    logits, labels = _prepare(logits, labels, label_smoothing, class_weights, where)
    if labels.ndim < logits.ndim and not label_smoothing:
        losses = _surprise_at_label(logits, labels, class_weights)
    else:
        factors = labelling.smoothed_and_weighted(
            labelling.class_shares(labels, logits), label_smoothing, class_weights
        )
        losses = _surprise(factors, -log_probabilities(logits))
    return inputs.keep(losses, where)


def softmax_focal(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"] | Num[Array, "*batch classes"] | Bool[Array, "*batch classes"],
    *,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    class_weights: Float[Array, " classes"] | None = None,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Softmax cross-entropy with less weight on what is classified well already.

    .. math::
      \ell = -\sum_c w_c q_c (1 - p_c)^\gamma \log p_c, \qquad
      p = \mathrm{softmax}(z), \quad q_c = (1 - \epsilon) y_c + \epsilon / \text{classes}

    Args:
      logits: `[..., classes]`, unnormalised, floating point, at least two classes.
      labels: `[...]`, integers in [0, classes), of which one outside is an error, or gives NaN
        (loss and gradient) where labels or the mask are traced; or `[..., classes]`, one-hot or
        soft: the probability of each class, not checked.
      gamma: 0 or more; 0 is cross-entropy.
      label_smoothing: epsilon, in [0, 1).
      class_weights: `[classes]`, 0 or more: the paper's alpha; None is 1 for all.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least: 0 or more, in nats, to its last digits however small.

    Raises:
      TypeError: labels `[...]` that are not integers, logits or weights that are not floating
        point, a mask that is not boolean.
      ValueError: labels, a mask or weights of another shape, fewer than two classes; labels,
        gamma, epsilon or weights out of range.

    Example:
      >>> float(softmax_focal(jnp.array([0.0, 1e4]), jnp.array(0)))
      10000.0

    Source: Lin et al., "Focal loss for dense object detection", 2017, for several classes as in
    Keras' `CategoricalFocalCrossentropy`, which clips probabilities and has alpha 0.25.
    """
    if not gamma >= 0:
        raise ValueError(f"gamma: 0 or more, not {gamma}")
    logits, labels = _prepare(logits, labels, label_smoothing, class_weights, where)
    if logits.shape[-1] < 2:
        raise ValueError(f"logits: at least 2 classes, not {logits.shape[-1]}")
    factors = labelling.smoothed_and_weighted(
        labelling.class_shares(labels, logits), label_smoothing, class_weights
    )
    log_p = log_probabilities(logits)
    if gamma:
        focus = jnp.exp(gamma * _log_of_the_rest(logits, log_p))
        factors = factors * inputs.focused(focus, -log_p)
    return inputs.keep(_surprise(factors, -log_p), where)


def _prepare(
    logits: Array,
    labels: Array,
    label_smoothing: float,
    class_weights: Array | None,
    where: Array | None,
) -> tuple[Array, Array]:
    labelling.check_classes(logits, labels, where, shares=True)
    labelling.check_smoothing(label_smoothing)
    labelling.check_weights(class_weights, logits.shape[-1])
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    labels = inputs.keep(labels, where)
    return labelling.spoil(logits, labels), labels


def _top(logits: Array) -> Array:
    """`[..., classes]` booleans: the likeliest class, of equal ones the first."""
    return labelling.is_label(jnp.argmax(logits, axis=-1), logits.shape[-1])


def _below_top(logits: Array) -> tuple[Array, Array]:
    """`z_c - z_top`, which is 0 for the top class, and `log sum_c exp(z_c - z_top)`.

    `jax.nn.log_softmax`, and optax by it, adds the 1 of the top class to the others before the
    logarithm: of `log(1 + s)` with a small s, which is the loss of what is classified well,
    nothing is left. Here the top class stands apart, in the gradient too.
    """
    top = _top(logits)
    highest = jnp.sum(jnp.where(top, logits, 0.0), axis=-1, keepdims=True)
    below = jnp.where(top, 0.0, logits - highest)
    return below, jnp.log1p(jnp.sum(jnp.where(top, 0.0, jnp.exp(below)), axis=-1))


def log_probabilities(logits: Array) -> Array:
    """Returns the logarithm of the softmax to full precision; one logit may be infinite."""
    below, log_sum = _below_top(logits)
    return below - log_sum[..., None]


def _surprise_at_label(logits: Array, labels: Array, class_weights: Array | None) -> Array:
    below, log_sum = _below_top(logits)
    at_label = jnp.take_along_axis(below, labels[..., None], axis=-1, mode="clip")
    losses = log_sum - at_label.squeeze(-1)
    if class_weights is not None:
        weights = jnp.take(class_weights.astype(losses.dtype), labels, mode="clip")
        losses = inputs.weighted(weights, losses)
    return labelling.nan_outside(losses, labels, logits.shape[-1])


def _surprise(factors: Array, losses: Array) -> Array:
    """`-sum_c f_c log p_c`, where a class that is impossible and not asked for adds nothing."""
    return jnp.sum(inputs.weighted(factors, losses), axis=-1)


def _log_of_the_rest(logits: Array, log_p: Array) -> Array:
    """`log(1 - p_c)` of each class, to full precision.

    Only the likeliest class can be so likely that nothing is left of `1 - p`: there the others
    are added up instead.
    """
    top = _top(logits)
    others = jnp.where(top, -jnp.inf, log_p)
    alone = jnp.all(jnp.isneginf(others), axis=-1)
    # The sum of zeros in place of that of nothing, whose gradient is NaN.
    total = jax.nn.logsumexp(jnp.where(alone[..., None], 0.0, others), axis=-1)
    total = jnp.where(alone, -jnp.inf, total)
    # Of an impossible class the loss is infinite, and infinity times this one's 0 would be NaN.
    small = jnp.where(top | jnp.isneginf(log_p), 0.0, jnp.exp(log_p))
    return jnp.where(top, total[..., None], jnp.log1p(-small))
