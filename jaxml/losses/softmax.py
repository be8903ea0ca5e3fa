"""Losses of the softmax of the logits: several classes, of which one is right."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxml.losses import inputs
from jaxml.losses import labels as labelling
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
      labels: `[...]`, integers in [0, classes), of which one outside gives NaN; or
        `[..., classes]`, one-hot or soft: the probability of each class, not checked.
      label_smoothing: epsilon, in [0, 1).
      class_weights: `[classes]`, 0 or more; None is 1 for all.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least: 0 or more, in nats.

    Raises:
      TypeError: labels `[...]` that are not integers, logits or weights that are not floating
        point, a mask that is not boolean.
      ValueError: labels, a mask or weights of another shape, epsilon or weights out of range.

    Example:
      >>> float(softmax_cross_entropy(jnp.array([0.0, 1e4]), jnp.array(0)))
      10000.0

    Source: the meaning of `tf.nn.sparse_softmax_cross_entropy_with_logits`, computed by optax.
    Smoothing and weights are those of `torch.nn.functional.cross_entropy` with
    `reduction="none"`; its mean divides by the sum of the weights of the labels.
    """
    logits, labels = _prepare(logits, labels, label_smoothing, class_weights, where)
    if labels.ndim < logits.ndim and not label_smoothing:
        losses = _cross_entropy_at_label(logits, labels, class_weights)
    else:
        factors = labelling.smoothed_and_weighted(
            labelling.class_shares(labels, logits), label_smoothing, class_weights
        )
        losses = _surprise(factors, jax.nn.log_softmax(logits))
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
      labels: `[...]`, integers in [0, classes), of which one outside gives NaN; or
        `[..., classes]`, one-hot or soft: the probability of each class, not checked.
      gamma: 0 or more; 0 is cross-entropy.
      label_smoothing: epsilon, in [0, 1).
      class_weights: `[classes]`, 0 or more: the paper's alpha; None is 1 for all.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least: 0 or more, in nats.

    Raises:
      TypeError: labels `[...]` that are not integers, logits or weights that are not floating
        point, a mask that is not boolean.
      ValueError: labels, a mask or weights of another shape, fewer than two classes; gamma,
        epsilon or weights out of range.

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
    factors = factors * jnp.exp(gamma * _log_of_the_rest(logits))
    return inputs.keep(_surprise(factors, jax.nn.log_softmax(logits)), where)


def _prepare(
    logits: Array,
    labels: Array,
    label_smoothing: float,
    class_weights: Array | None,
    where: Array | None,
) -> tuple[Array, Array]:
    labelling.check_classes(logits, labels, shares=True)
    labelling.check_smoothing(label_smoothing)
    labelling.check_weights(class_weights, logits.shape[-1])
    inputs.check_mask(where, logits.shape[:-1])
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    # The loss does not change when all logits do, but sums of large ones would lose digits.
    logits = logits - lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    return logits, inputs.keep(labels, where)


def _cross_entropy_at_label(logits: Array, labels: Array, class_weights: Array | None) -> Array:
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    if class_weights is not None:
        losses = losses * jnp.take(class_weights.astype(losses.dtype), labels, mode="clip")
    return labelling.nan_outside(losses, labels, logits.shape[-1])


def _surprise(factors: Array, log_probabilities: Array) -> Array:
    """`-sum_c f_c log p_c`, where a class that is impossible and not asked for adds nothing."""
    nothing = (factors == 0) & jnp.isneginf(log_probabilities)
    return -jnp.sum(factors * jnp.where(nothing, 0.0, log_probabilities), axis=-1)


def _log_of_the_rest(logits: Array) -> Array:
    """`log(1 - p_c)` of each class, to full precision.

    Only the likeliest class can be so likely that nothing is left of `1 - p`: there the others
    are added up instead.
    """
    top = labelling.is_label(jnp.argmax(logits, axis=-1), logits.shape[-1])
    others = jax.nn.logsumexp(logits, axis=-1, where=~top) - jax.nn.logsumexp(logits, axis=-1)
    small = jnp.where(top, 0.0, jax.nn.softmax(logits))
    return jnp.where(top, others[..., None], jnp.log1p(-small))
