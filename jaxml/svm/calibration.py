r"""Probabilities from decision values, whose most probable class is the predicted one.

A decision is `[samples]` for two classes, positive for class 1, or `[samples, classes]`, where the
first of the highest is predicted. With scores `(0, f)` for two classes and f for several,

.. math:: p_c = \frac{e^{a f_c}}{\sum_k e^{a f_k}}

for a slope a > 0, and no offset: the order of the classes never changes. For two classes negative
and positive decisions have a slope each, and a decision of 0 is a probability of one half.

Shapes, labels and weights that do not fit raise ValueError, other dtypes TypeError.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.svm import _validation as validation
from jaxml.types import Array, Bool, Float, Integer

__all__ = ["calibrated_probabilities", "calibration_slopes"]

MAX_ITERATIONS = 100  # about 10 are used; more where a few values are far above all others


def calibration_slopes(
    decision: Float[Array, "samples classes"] | Float[Array, " samples"],
    labels: Integer[Array, " samples"] | Bool[Array, " samples"],
    *,
    sample_weight: Float[Array, " samples"] | None = None,
) -> Float[Array, ""] | Float[Array, " sides"]:
    r"""Fits the slopes of the probabilities by maximum likelihood.

    .. math:: a = \operatorname{arg\,max}_{a > 0} \sum_i v_i \sum_c t_{ic} \log p_{ic}, \qquad
        t_{ic} = \frac{N_{y_i} [c = y_i] + 1}{N_{y_i} + K}

    for N_c samples of class c, of K classes, with `sample_weight` v. The targets t, instead of 0
    and 1, keep the slope finite where the decision makes no mistake.

    The decisions are of samples held out from the fit; otherwise the slopes are too steep. Traced
    labels that are out of range give NaN.

    Returns:
      For two classes `[2]`, the slopes for negative and for positive decisions (the slope of all
      samples for a side without any); else a scalar. In float32 at least. Where the decision is
      worse than chance, the slope is small but positive.

    Example:
      >>> decision = jnp.array([-2.0, -1.0, -1.0, 1.0, 1.0, 2.0])
      >>> slopes = calibration_slopes(decision, jnp.array([0, 0, 1, 0, 1, 1]))
      >>> bool(jnp.allclose(slopes, 0.42, atol=0.01))
      True

    References: Platt, "Probabilistic outputs for support vector machines", 1999, for two classes,
    with slope `-A` and `B = 0`; Guo et al., "On calibration of modern neural networks", 2017, whose
    temperature is `1 / a`. libsvm and scikit-learn's `SVC(probability=True)` also fit an offset and
    couple pairs of classes: their most probable class may differ from the predicted one.
    """
    _check_decision(decision)
    validation.check_labels(labels, 2 if decision.ndim == 1 else decision.shape[1], booleans=True)
    validation.check_shape("labels", labels, decision.shape[:1])
    if sample_weight is not None:
        validation.check_weights("sample_weight", sample_weight, decision.shape[0])
    (wide,) = inputs.at_least_float32(decision)
    weights = jnp.ones(len(wide), wide.dtype) if sample_weight is None else sample_weight
    weights = weights.astype(wide.dtype)
    scores = _scores(wide)
    targets = _targets(labels.astype(jnp.int32), weights, scores.shape[-1])
    if decision.ndim > 1:
        return _slope(scores, targets, weights)
    sides = jnp.where(jnp.stack([wide < 0, wide > 0]), weights[None], 0)
    sides = jnp.where(sides.any(axis=1, keepdims=True), sides, weights[None])
    return jax.vmap(_slope, in_axes=(None, None, 0))(scores, targets, sides)


def calibrated_probabilities(
    slopes: Float[Array, ""] | Float[Array, " sides"],
    decision: Float[Array, "samples classes"] | Float[Array, " samples"],
) -> Float[Array, "samples classes"]:
    r"""Computes the probability of each class, highest for the predicted class.

    The positive slopes are those of `calibration_slopes`. Probabilities are in float32 at least.
    Where rounding makes another class as probable as the predicted one, the latter gets the next
    larger number.

    Example:
      >>> probabilities = calibrated_probabilities(jnp.array([1.0, 3.0]), jnp.array([0.0, 0.5]))
      >>> [[f"{p:.2f}" for p in row] for row in probabilities]
      [['0.50', '0.50'], ['0.18', '0.82']]
    """
    inputs.check_real("slopes", slopes)
    _check_decision(decision)
    validation.check_shape("slopes", slopes, (2,) if decision.ndim == 1 else ())
    (wide,) = inputs.at_least_float32(decision)
    slopes = slopes.astype(wide.dtype)
    slope = slopes if decision.ndim > 1 else jnp.where(wide > 0, slopes[1], slopes[0])[:, None]
    scores = _scores(wide)
    # Shifted so that the highest score times a steep slope does not overflow.
    shifted = scores - scores.max(axis=-1, keepdims=True)
    probabilities = jax.nn.softmax(slope * shifted, axis=-1)
    return _keep_predicted(probabilities, jnp.argmax(scores, axis=-1))


class _Search(NamedTuple):
    """A slope, its bounds, its last change and the number of iterations."""

    slope: Array
    low: Array
    high: Array
    moved: Array
    iteration: Array


def _slope(scores: Array, targets: Array, weights: Array) -> Array:
    """Finds the root of the likelihood's derivative by Newton's method within bounds."""
    scores = scores - scores.max(axis=-1, keepdims=True)
    largest = jnp.where(weights > 0, -scores.min(axis=-1), 0).max(initial=0)
    unit = jnp.where(largest > 0, largest, 1)
    scores = scores / unit
    eps = jnp.finfo(scores.dtype).eps

    def derivatives(slope: Array) -> tuple[Array, Array]:
        probabilities = jax.nn.softmax(slope * scores, axis=-1)
        mean = (probabilities * scores).sum(axis=-1)
        variance = (probabilities * (scores - mean[:, None]) ** 2).sum(axis=-1)
        return weights @ (mean - (targets * scores).sum(axis=-1)), weights @ variance

    def newton(search: _Search) -> _Search:
        first, second = derivatives(search.slope)
        low = jnp.where(first < 0, search.slope, search.low)
        high = jnp.where(first < 0, search.high, search.slope)
        step = search.slope - first / jnp.where(second > 0, second, 1)
        within = (step > low) & (step < high) & (second > 0)
        between = jnp.where(jnp.isinf(high), 2 * search.slope + 1, (low + high) / 2)
        # A derivative of 0 ends the search; NaN from wrong values or labels enters the slope.
        settled = jnp.where(first == 0, search.slope, search.slope * first)
        unfinished = (first < 0) | (first > 0)
        slope = jnp.where(unfinished, jnp.where(within, step, between), settled)
        return _Search(slope, low, high, jnp.abs(slope - search.slope), search.iteration + 1)

    def unsettled(search: _Search) -> Array:
        return (search.moved > 4 * eps * search.slope) & (search.iteration < MAX_ITERATIONS)

    zero = jnp.zeros_like(unit)
    start = _Search(zero, zero, zero + jnp.inf, zero + 1, jnp.zeros((), jnp.int32))
    slope = lax.while_loop(unsettled, newton, start).slope
    return jnp.maximum(slope, jnp.sqrt(eps)) / unit


def _scores(decision: Array) -> Array:
    """Returns `[samples, classes]`; a single decision is the score of class 1."""
    if decision.ndim > 1:
        return decision
    return jnp.stack([jnp.zeros_like(decision), decision], axis=-1)


def _targets(labels: Array, weights: Array, classes: int) -> Array:
    """Returns the target probabilities, by Laplace's rule within each class."""
    is_label = labelling.is_label(labels, classes)
    counts = weights @ is_label.astype(weights.dtype)
    own = jnp.take(counts, labels, mode="clip")[:, None]
    targets = (jnp.where(is_label, own, 0) + 1) / (own + classes)
    return labelling.nan_outside(targets, labels, classes)


def _keep_predicted(probabilities: Array, predicted: Array) -> Array:
    """Raises the probability of a predicted class that rounding has tied with an earlier one."""
    tied = jnp.argmax(probabilities, axis=-1) != predicted
    highest = lax.stop_gradient(probabilities.max(axis=-1))
    above = jnp.nextafter(highest, jnp.ones((), probabilities.dtype))
    is_predicted = jax.nn.one_hot(predicted, probabilities.shape[-1], dtype=bool)
    return jnp.where(is_predicted & tied[:, None], above[:, None], probabilities)


def _check_decision(decision: Array) -> None:
    inputs.check_real("decision", decision)
    if decision.ndim not in (1, 2) or (decision.ndim == 2 and decision.shape[1] < 2):
        rule = "have shape (samples,), or (samples, classes) with at least two classes"
        raise ValueError(f"`decision` must {rule}, got {decision.shape}")
