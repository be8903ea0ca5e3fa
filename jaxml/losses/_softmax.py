"""Losses of the softmax of the logits, for multiclass classification.

Labels are integers `[...]`, or one-hot or soft labels `[..., classes]`: the probability of each
class, not checked. A class with a logit of minus infinity is impossible.
"""

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
    r"""Computes the cross-entropy of the softmax of the logits with integer or soft labels.

    .. math::
      \ell = \sum_c w_c q_c \Big(\log \sum_k e^{z_k} - z_c\Big), \qquad
      q_c = (1 - \epsilon) y_c + \epsilon / \text{classes}

    Args:
      logits: `[..., classes]`, unnormalised.
      labels: `[...]` integers, or `[..., classes]` probabilities.
      label_smoothing: epsilon in [0, 1).
      class_weights: `[classes]`, non-negative; None weights all classes by 1.
      where: mask over examples.

    Returns:
      `[...]`, in nats.

    Example:
      >>> float(softmax_cross_entropy(jnp.array([0.0, 1e4]), jnp.array(0)))
      10000.0

    For probabilities as labels it equals `optax.losses.softmax_cross_entropy`, for integers
    `optax.losses.softmax_cross_entropy_with_integer_labels`. In addition, the losses of confident
    examples keep their relative precision, and an impossible class with probability 0 contributes
    0 instead of NaN. The classes are always the last axis, and `where` masks whole examples.
    Smoothing and weights are those of `torch.nn.functional.cross_entropy` with
    `reduction="none"`.
    """
    logits, labels = labelling.prepare_classes(
        logits, labels, label_smoothing, class_weights, where
    )
    if labels.ndim < logits.ndim and not label_smoothing:
        losses = _integer_cross_entropy(logits, labels, class_weights)
    else:
        factors = labelling.smoothed_and_weighted(
            labelling.class_targets(labels, logits), label_smoothing, class_weights
        )
        losses = _cross_entropy(factors, log_probabilities(logits))
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
    r"""Computes the multiclass focal loss, which down-weights well-classified examples.

    .. math::
      \ell = -\sum_c w_c q_c (1 - p_c)^\gamma \log p_c, \qquad
      p = \mathrm{softmax}(z), \quad q_c = (1 - \epsilon) y_c + \epsilon / \text{classes}

    Args:
      logits: `[..., classes]`, unnormalised, with at least two classes.
      labels: `[...]` integers, or `[..., classes]` probabilities.
      gamma: focusing exponent, non-negative; 0 gives the cross-entropy.
      label_smoothing: epsilon in [0, 1).
      class_weights: `[classes]`, non-negative, the paper's alpha; None weights all classes by 1.
      where: mask over examples.

    Returns:
      `[...]`, in nats.

    Example:
      >>> float(softmax_focal(jnp.array([0.0, 1e4]), jnp.array(0)))
      10000.0

    Equals Keras' `CategoricalFocalCrossentropy` with `alpha` as the class weight, without its
    clipping of the probabilities.

    Reference: Lin et al., "Focal loss for dense object detection", 2017.
    """
    inputs.check_non_negative("gamma", gamma)
    logits, labels = labelling.prepare_classes(
        logits, labels, label_smoothing, class_weights, where
    )
    if logits.shape[-1] < 2:
        raise ValueError(f"`logits` must have at least 2 classes, got {logits.shape[-1]}")
    factors = labelling.smoothed_and_weighted(
        labelling.class_targets(labels, logits), label_smoothing, class_weights
    )
    log_p = log_probabilities(logits)
    if gamma:
        focus = jnp.exp(gamma * _log_complement(logits, log_p))
        factors = factors * inputs.focused(focus, -log_p)
    return inputs.keep(_cross_entropy(factors, log_p), where)


def log_probabilities(logits: Array) -> Array:
    """Returns the log-softmax to full precision; one logit of an example may be infinite."""
    below, log_sum = _below_top(logits)
    return below - log_sum[..., None]


def _top(logits: Array) -> Array:
    """Returns `[..., classes]` booleans that are True at the first largest logit."""
    return labelling.is_label(jnp.argmax(logits, axis=-1), logits.shape[-1])


def _below_top(logits: Array) -> tuple[Array, Array]:
    """Returns `z_c - z_top` for each class, and `log sum_c exp(z_c - z_top)`.

    `jax.nn.log_softmax` adds the 1 of the top class to the other terms s before it takes the
    logarithm. For a confident example, s is rounded away in `log(1 + s)`, and the loss with it.
    Here, the top class is left out of the sum, in the gradient too.
    """
    top = _top(logits)
    highest = jnp.sum(jnp.where(top, logits, 0.0), axis=-1, keepdims=True)
    below = jnp.where(top, 0.0, logits - highest)
    return below, jnp.log1p(jnp.sum(jnp.where(top, 0.0, jnp.exp(below)), axis=-1))


def _integer_cross_entropy(logits: Array, labels: Array, class_weights: Array | None) -> Array:
    below, log_sum = _below_top(logits)
    at_label = jnp.take_along_axis(below, labels[..., None], axis=-1, mode="clip")
    losses = log_sum - at_label.squeeze(-1)
    if class_weights is not None:
        weights = jnp.take(class_weights.astype(losses.dtype), labels, mode="clip")
        losses = inputs.weighted(weights, losses)
    return labelling.nan_outside(losses, labels, logits.shape[-1])


def _cross_entropy(factors: Array, log_p: Array) -> Array:
    """Returns `-sum_c f_c log p_c`; an impossible class with factor 0 contributes nothing."""
    return jnp.sum(inputs.weighted(factors, -log_p), axis=-1)


def _log_complement(logits: Array, log_p: Array) -> Array:
    """Returns `log(1 - p_c)` for each class, to full precision.

    Only the most probable class loses precision in `1 - p`. Its logarithm is computed from the
    probabilities of the other classes.
    """
    top = _top(logits)
    others = jnp.where(top, -jnp.inf, log_p)
    alone = jnp.all(jnp.isneginf(others), axis=-1)
    # The gradient of logsumexp is NaN where all entries are minus infinity: replace them by zeros.
    total = jax.nn.logsumexp(jnp.where(alone[..., None], 0.0, others), axis=-1)
    total = jnp.where(alone, -jnp.inf, total)
    # For an impossible class, the loss is infinite, and its product with a 0 here would be NaN.
    small = jnp.where(top | jnp.isneginf(log_p), 0.0, jnp.exp(log_p))
    return jnp.where(top, total[..., None], jnp.log1p(-small))
