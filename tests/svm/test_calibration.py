"""Slopes beside SciPy's optimum, and probabilities that never contradict the decision."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import scale
from sklearn.svm import SVC

from jaxml.svm.calibration import calibrated_probabilities, calibration_slopes
from tests import properties, references

fit = references.plain_jit(calibration_slopes)


def noisy(classes, rows=60, spread=1.0):
    """Decisions that are right most of the time."""
    rng = np.random.default_rng(classes)
    scores = spread * rng.normal(size=(rows, classes))
    labels = (scores + spread * rng.gumbel(size=scores.shape)).argmax(-1)
    return (scores if classes > 2 else scores[:, 1] - scores[:, 0]), jnp.asarray(labels)


def likelihood(slope, scores, labels, weights, rows):
    """The logarithm of the likelihood of some rows, by Platt's targets of all."""
    labels, total, classes = np.asarray(labels), 0.0, scores.shape[1]
    counts = [weights[labels == c].sum() for c in range(classes)]
    for i in rows:
        own = counts[labels[i]]
        log_probabilities = scipy.special.log_softmax(slope * scores[i])
        for c in range(classes):
            target = (own * (c == labels[i]) + 1) / (own + classes)
            total += weights[i] * target * log_probabilities[c]
    return total


def best_slopes(decision, labels, sample_weight=None):
    """SciPy's maximum, where the bracket holds it."""
    weights = np.ones(len(labels)) if sample_weight is None else sample_weight
    scores, groups = decision, [np.arange(len(labels))]
    if decision.ndim == 1:
        scores = np.column_stack([np.zeros(len(labels)), decision])
        groups = [np.flatnonzero(decision < 0), np.flatnonzero(decision > 0)]
    unit = np.abs(scores).max()
    slopes = []
    for rows in groups:

        def derivative(slope, rows=rows):
            h = 1e-4
            values = [
                likelihood((slope + d) / unit, scores, labels, weights, rows) for d in (h, -h)
            ]
            return values[0] - values[1]

        slopes.append(scipy.optimize.brentq(derivative, 1e-3, 100, xtol=1e-12) / unit)
    return np.array(slopes) if decision.ndim == 1 else np.array(slopes[0])


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_scipy_finds_the_same_slopes(classes, weighted):
    decision, labels = noisy(classes)
    weights = np.random.default_rng(1).uniform(0, 3, len(labels)) if weighted else None
    expected = best_slopes(decision, labels, weights)
    for dtype, rtol in ((np.float32, 1e-5), (np.float64, 1e-6)):
        with jax.enable_x64(dtype is np.float64):
            given_weights = None if weights is None else jnp.asarray(weights, dtype)
            got = jax.jit(calibration_slopes)(
                jnp.asarray(decision, dtype), labels, sample_weight=given_weights
            )
            assert got.dtype == dtype
            properties.agree(calibration_slopes, got, expected, by="SciPy", rtol=rtol)


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_the_softmax_of_the_scaled_decision(classes):
    decision, _ = noisy(classes, rows=6)
    slopes = np.array([0.5, 2.0]) if classes == 2 else np.array(1.5)

    def reference(slopes, decision):
        if decision.ndim > 1:
            return scipy.special.softmax(slopes * decision, axis=-1)
        p = scipy.special.expit(np.where(decision > 0, slopes[1], slopes[0]) * decision)
        return np.stack([1 - p, p], axis=-1)

    properties.check(calibrated_probabilities, slopes, decision, reference=reference, by="SciPy")


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_a_weight_counts_as_repetitions_and_the_unit_of_the_decision_makes_no_difference(classes):
    decision, labels = noisy(classes)
    times = np.arange(len(labels)) % 3
    with jax.enable_x64(True):
        once = fit(jnp.asarray(decision), labels, sample_weight=jnp.asarray(times, jnp.float64))
        repeated = jnp.asarray(decision.repeat(times, axis=0))
        repeated_labels = jnp.asarray(labels.repeat(times))
        references.assert_close(once, fit(repeated, repeated_labels), 1e-12)
    for unit in (1e-20, 1e20):
        plain = fit(jnp.asarray(decision, jnp.float32), labels)
        scaled = fit(jnp.asarray(decision * unit, jnp.float32), labels)
        references.assert_close(np.asarray(scaled, np.float64) * unit, plain, 1e-5)


def test_every_slope_is_finite_and_positive_whatever_the_labels():
    decision, _ = noisy(2)
    right = jnp.asarray(decision > 0, jnp.int32)
    narrow = jnp.asarray(decision, jnp.float32)
    steep = fit(narrow, right)
    references.assert_close(steep, best_slopes(decision, right), 1e-5)
    wrong = fit(narrow, 1 - right)
    assert ((wrong > 0) & (wrong < 1e-3 * steep)).all()
    one_side = fit(jnp.abs(narrow), right)
    assert one_side[0] == one_side[1] > 0
    assert (fit(0 * narrow, right) > 0).all()
    scores = jnp.stack([narrow, -narrow, 0 * narrow], axis=-1)
    assert 0 < fit(scores, right) < 1e-3 * steep.min()


@pytest.mark.slow
def test_an_outlier_does_not_keep_the_search_from_its_end():
    decision, labels = noisy(2)
    decision, labels = decision.copy(), np.asarray(labels)
    decision[np.argmax(decision)] = 1e6
    with jax.enable_x64(True):
        slopes = calibration_slopes(jnp.asarray(decision), jnp.asarray(labels))
    for slope, rows in zip(slopes, (decision < 0, decision > 0), strict=True):
        near = [
            likelihood(
                float(slope) * factor,
                np.column_stack([0 * decision, decision]),
                labels,
                np.ones(len(labels)),
                np.flatnonzero(rows),
            )
            for factor in (0.999, 1, 1.001)
        ]
        assert near[1] > max(near[0], near[2])


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)
SLOPES = st.floats(2.0**-60, 2.0**60, width=32)


@pytest.mark.slow
@given(arrays.arrays(np.float32, 5, elements=FINITE), st.tuples(SLOPES, SLOPES))
def test_of_two_classes_the_more_probable_is_the_decided_one(decision, slopes):
    p = np.asarray(calibrated_probabilities(jnp.array(slopes, jnp.float32), jnp.array(decision)))
    assert (p.argmax(-1) == (decision > 0)).all()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-6)
    assert (p[decision == 0] == 0.5).all()


@given(arrays.arrays(np.float32, (4, 3), elements=FINITE), SLOPES)
def test_of_several_classes_the_most_probable_is_the_decided_one(decision, slope):
    p = np.asarray(calibrated_probabilities(jnp.array(slope, jnp.float32), jnp.array(decision)))
    assert (p.argmax(-1) == decision.argmax(-1)).all()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-6)


@pytest.mark.slow
def test_ties_by_rounding_go_to_the_decided_class():
    scores = jnp.array([[1.0, 1.0 + 2.0**-23, 0.0], [1.0, 1.0, 0.0]])
    p = calibrated_probabilities(jnp.array(1e-3), scores)
    assert p.argmax(-1).tolist() == [1, 0]
    p = calibrated_probabilities(jnp.ones(2), jnp.array([1e-20, -1e-20]))
    assert p.argmax(-1).tolist() == [1, 0]


@pytest.mark.slow
def test_held_out_examples_are_described_better_than_by_the_plain_sigmoid():
    x, labels = load_breast_cancer(return_X_y=True)
    decision = cross_val_predict(SVC(C=10), scale(x), labels, cv=5, method="decision_function")
    half = np.arange(len(labels)) % 2 == 0
    slopes = fit(jnp.asarray(decision[half], jnp.float32), jnp.asarray(labels[half]))
    losses = {}
    for name, used in (("fitted", slopes), ("one", jnp.ones(2))):
        p = calibrated_probabilities(used, jnp.asarray(decision[~half], jnp.float32))
        losses[name] = -np.log(np.asarray(p)[np.arange(len(p)), labels[~half]]).mean()
    assert losses["fitted"] < 0.9 * losses["one"]


@pytest.mark.parametrize(
    ("error", "shapes", "message"),
    [
        (
            ValueError,
            [(4, 1), (4,)],
            "`decision` must have shape (samples,), or (samples, classes)",
        ),
        (ValueError, [(2, 3, 4), (2,)], "`decision` must have shape (samples,), or (samples, clas"),
        (ValueError, [(4,), (3,)], "`labels` must have shape (4,), got (3,)"),
    ],
)
def test_shapes_that_do_not_fit_are_told(error, shapes, message):
    with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
        calibration_slopes(jnp.zeros(shapes[0]), jnp.zeros(shapes[1], jnp.int32))


def test_labels_weights_and_slopes_that_do_not_fit_are_told():
    decision, labels = jnp.ones(3), jnp.array([0, 1, 1])
    cases = [
        (lambda: calibration_slopes(decision, labels + 1), ValueError,
         "`labels` must be integers in [0, 2) or booleans, got 2"),
        (lambda: calibration_slopes(decision, decision), TypeError,
         "`labels` must be integers in [0, 2) or booleans, got float32"),
        (lambda: calibration_slopes(decision, labels, sample_weight=-decision), ValueError,
         "`sample_weight` must be non-negative, got -1.0"),
        (lambda: calibrated_probabilities(jnp.array(1.0), decision), ValueError,
         "`slopes` must have shape (2,), got ()"),
        (lambda: calibrated_probabilities(jnp.ones(2), jnp.ones((3, 3))), ValueError,
         "`slopes` must have shape (), got (2,)"),
    ]  # fmt: skip
    for call, error, message in cases:
        with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
            call()


def test_a_label_out_of_range_that_is_traced_gives_nan():
    decision, labels = jnp.array([-1.0, 1.0, 2.0]), jnp.array([0, 1, 2])
    assert jnp.isnan(jax.jit(calibration_slopes)(decision, labels)).any()
