"""Probabilities from decision values, such that the most probable class is the decided one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import core, lax

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.types import Array, Bool, Float, Integer

MAX_ITERATIONS = 100  # some 10 are taken; more where a few values are far above all others


def calibration_slopes(
    decision: Float[Array, "rows classes"] | Float[Array, " rows"],
    labels: Integer[Array, " rows"] | Bool[Array, " rows"],
    *,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""] | Float[Array, " sides"]:
    r"""Fits how steeply probabilities rise with decision values, by maximum likelihood.

    .. math:: p_c = \frac{e^{a f_c}}{\sum_k e^{a f_k}}, \qquad
        a = \operatorname{arg\,max}_{a > 0} \sum_i s_i \sum_c t_{ic} \log p_{ic}, \qquad
        t_{ic} = \frac{N_{y_i} [c = y_i] + 1}{N_{y_i} + K}

    for N_c examples of class c, of K classes. With one decision value f for two classes, their
    scores are 0 and f, and each side of f = 0 has a slope of its own. All slopes are positive and
    there is no offset: the order of the classes never changes, and f = 0 is a probability of one
    half. The targets t, instead of 0 and 1, keep the slope finite where the decision makes no
    mistake.

    Args:
      decision: `[rows]` for two classes, positive decides for class 1, or `[rows, classes]`; of
        examples that the decision function was not fitted on, or it seems better than it is.
      labels: `[rows]`, integers in [0, classes).
      sample_weight: `[rows]`, 0 or more: how often each example counts; None counts each once.

    Returns:
      For two classes `[2]`, the slopes for negative and for positive decisions, that of all for a
      side without examples; else a scalar. In the dtype of the decision, float32 at least. Where
      the decision is worse than none, the slope is positive still and small.

    Raises:
      TypeError: labels that are not integers, a decision or weights that are not floating point.
      ValueError: shapes that do not fit, labels out of range, weights below 0.

    Example:
      >>> decision = jnp.array([-2.0, -1.0, -1.0, 1.0, 1.0, 2.0])
      >>> slopes = calibration_slopes(decision, jnp.array([0, 0, 1, 0, 1, 1]))
      >>> bool(jnp.allclose(slopes, 0.42, atol=0.01))
      True

    Source: Platt, "Probabilistic outputs for support vector machines", 1999, whose targets these
    are for two classes, and whose slope is `-A` with `B = 0`; for several classes, the temperature
    scaling of Guo et al., "On calibration of modern neural networks", 2017, `T = 1 / a`. libsvm and
    scikit-learn's `SVC(probability=True)` fit an offset, too, and couple pairs of classes: their
    most probable class may be another than the predicted one.
    """
    _check(decision, labels, sample_weight)
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
    decision: Float[Array, "rows classes"] | Float[Array, " rows"],
) -> Float[Array, "rows classes"]:
    r"""The probability of each class, the highest for the class that is decided for.

    .. math:: p_c = \frac{e^{a f_c}}{\sum_k e^{a f_k}}, \qquad
        p_1 = 1 - p_0 = \frac{1}{1 + e^{-a_{\pm} f}} \text{ for two classes}

    Args:
      slopes: of `calibration_slopes`, positive.
      decision: `[rows]` for two classes, where class 1 is decided for above 0, or
        `[rows, classes]`, where the first of the highest is.

    Returns:
      `[rows, classes]`, in the dtype of the decision, float32 at least. Where rounding makes
      another class as probable as the decided one, that one gets the next larger number.

    Raises:
      TypeError: slopes or a decision that are not floating point.
      ValueError: shapes that do not fit.

    Example:
      >>> probabilities = calibrated_probabilities(jnp.array([1.0, 3.0]), jnp.array([0.0, 0.5]))
      >>> [[f"{p:.2f}" for p in row] for row in probabilities]
      [['0.50', '0.50'], ['0.18', '0.82']]

    Source: as of `calibration_slopes`.
    """
    inputs.check_real("slopes", slopes)
    _check_decision(decision)
    if slopes.shape != ((2,) if decision.ndim == 1 else ()):
        allowed = "(2,)" if decision.ndim == 1 else "()"
        raise ValueError(
            f"slopes: shape {allowed} for a decision {decision.shape}, not {slopes.shape}"
        )
    (wide,) = inputs.at_least_float32(decision)
    slopes = slopes.astype(wide.dtype)
    slope = slopes if decision.ndim > 1 else jnp.where(wide > 0, slopes[1], slopes[0])[:, None]
    scores = _scores(wide)
    # Shifted, for the highest times a steep slope may not overflow.
    shifted = scores - scores.max(axis=-1, keepdims=True)
    probabilities = jax.nn.softmax(slope * shifted, axis=-1)
    return _keep_decided(probabilities, jnp.argmax(scores, axis=-1))


class _Search(NamedTuple):
    """A slope, the bounds that it is known to be within, and how far it moved."""

    slope: Array
    low: Array
    high: Array
    moved: Array
    iteration: Array


def _slope(scores: Array, targets: Array, weights: Array) -> Array:
    """The root of the likelihood's derivative, by Newton's method within shrinking bounds."""
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
        # A derivative of 0 is the end; NaN, of wrong values or labels, goes into the slope.
        settled = jnp.where(first == 0, search.slope, search.slope * first)
        go_on = (first < 0) | (first > 0)
        slope = jnp.where(go_on, jnp.where(within, step, between), settled)
        return _Search(slope, low, high, jnp.abs(slope - search.slope), search.iteration + 1)

    def unsettled(search: _Search) -> Array:
        return (search.moved > 4 * eps * search.slope) & (search.iteration < MAX_ITERATIONS)

    zero = jnp.zeros_like(unit)
    start = _Search(zero, zero, zero + jnp.inf, zero + 1, jnp.zeros((), jnp.int32))
    slope = lax.while_loop(unsettled, newton, start).slope
    return jnp.maximum(slope, jnp.sqrt(eps)) / unit


def _scores(decision: Array) -> Array:
    """`[rows, classes]`: one decision value is the advantage of class 1 over class 0."""
    if decision.ndim > 1:
        return decision
    return jnp.stack([jnp.zeros_like(decision), decision], axis=-1)


def _targets(labels: Array, weights: Array, classes: int) -> Array:
    """What the probabilities are to be near to: Laplace's rule within the examples of a class."""
    is_label = labelling.is_label(labels, classes)
    counts = weights @ is_label.astype(weights.dtype)
    own = jnp.take(counts, labels, mode="clip")[:, None]
    targets = (jnp.where(is_label, own, 0) + 1) / (own + classes)
    return labelling.nan_outside(targets, labels, classes)


def _keep_decided(probabilities: Array, decided: Array) -> Array:
    """Raises a decided class that rounding has made equal to an earlier one."""
    tied = jnp.argmax(probabilities, axis=-1) != decided
    highest = lax.stop_gradient(probabilities.max(axis=-1))
    above = jnp.nextafter(highest, jnp.ones((), probabilities.dtype))
    is_decided = jax.nn.one_hot(decided, probabilities.shape[-1], dtype=bool)
    return jnp.where(is_decided & tied[:, None], above[:, None], probabilities)


def _check_decision(decision: Array) -> None:
    inputs.check_real("decision", decision)
    if decision.ndim not in (1, 2) or (decision.ndim == 2 and decision.shape[1] < 2):
        raise ValueError(
            f"decision: [rows], or [rows, classes] with two classes at least, not {decision.shape}"
        )


def _check(decision: Array, labels: Array, sample_weight: Array | None) -> None:
    _check_decision(decision)
    classes = 2 if decision.ndim == 1 else decision.shape[1]
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_):
        raise TypeError(f"labels: integers in [0, {classes}), not {labels.dtype}")
    inputs.check_same_shape("labels", labels, decision.shape[:1], "rows of the decision")
    labelling.check_inside("labels", labels, None, classes)
    if sample_weight is None:
        return
    inputs.check_real("sample_weight", sample_weight)
    inputs.check_same_shape(
        "sample_weight", sample_weight, decision.shape[:1], "rows of the decision"
    )
    if not isinstance(sample_weight, core.Tracer) and not (np.asarray(sample_weight) >= 0).all():
        raise ValueError(f"sample_weight: 0 or more, not {np.asarray(sample_weight).min()}")
