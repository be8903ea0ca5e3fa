"""Calibration error against scikit-learn's curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.calibration

from jaxml.metrics import CalibrationError
from tests import properties, references

of = references.plain_jit(CalibrationError.from_batch)


def example(size=60):
    rng = np.random.default_rng(0)
    probabilities = rng.beta(2, 1, size=size).astype(np.float32)
    return probabilities, (rng.random(size) < probabilities**2).astype(np.int32)


def expected(probabilities, outcomes, bins=15):
    """The expected and the largest gap of scikit-learn's bins, which are those with examples."""
    curve = sklearn.calibration.calibration_curve(outcomes, probabilities, n_bins=bins)
    counts, _ = np.histogram(probabilities, bins, (0, 1))
    gaps = np.abs(curve[0] - curve[1])
    return (counts[counts > 0] * gaps).sum() / len(outcomes), gaps.max()


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_errors_are_those_of_the_curve_of_scikit_learn(bins):
    arrays = example()
    metrics = CalibrationError.from_batch(*map(jnp.asarray, arrays), bins=bins)
    error, largest = expected(*arrays, bins)
    properties.agree(CalibrationError.expected, metrics.expected(), error, by="scikit-learn")
    properties.agree(CalibrationError.maximum, metrics.maximum(), largest, by="scikit-learn")


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(1, 2), (13, 39), (0, 60)])
def test_merging_any_split_gives_the_whole(cuts):
    arrays, metrics = example(), CalibrationError.empty()
    for start, stop in zip((0, *cuts), (*cuts, 60), strict=True):
        metrics = metrics.merge(of(*(array[start:stop] for array in arrays)))
    error, largest = expected(*arrays)
    assert metrics.compute() == {
        "count": 60,
        "expected_calibration_error": pytest.approx(error, rel=1e-5),
        "maximum_calibration_error": pytest.approx(largest, rel=1e-5),
    }
    assert [leaf.dtype for leaf in jax.tree.leaves(metrics)] == [jnp.int32, jnp.int32, jnp.float32]


def test_what_is_masked_or_nan_is_not_counted():
    probabilities, outcomes = example()
    mask = np.random.default_rng(1).random(60) < 0.6
    error, _ = expected(probabilities[mask], outcomes[mask])
    probabilities[~mask] = np.nan
    for metrics in (of(probabilities, outcomes, mask), of(probabilities, outcomes)):
        assert float(metrics.expected()) == pytest.approx(error, rel=1e-5)


@pytest.mark.slow
def test_an_edge_belongs_to_the_bin_below_and_the_ends_to_the_first_and_the_last():
    probabilities = jnp.array([0.0, 0.1, 0.3, 0.7, 1.0])
    counts = CalibrationError.from_batch(probabilities, jnp.ones(5, bool), bins=10).counts
    assert counts.tolist() == [2, 0, 1, 0, 0, 0, 1, 0, 0, 1]


def test_vmap_over_batches_is_a_loop_over_batches():
    def leaves(*arrays):
        return jax.tree.leaves(CalibrationError.from_batch(*arrays))

    references.assert_vmap_is_loop(leaves, *(array.reshape(4, 15) for array in example()))


def test_nothing_has_errors_of_zero():
    assert set(CalibrationError.empty().compute().values()) == {0}


def test_bad_input_is_an_error():
    x, outcomes = jnp.zeros(3), jnp.zeros(3, jnp.int32)
    with properties.unchecked():
        with pytest.raises(TypeError, match="`probabilities` must be floating-point, got int32"):
            CalibrationError.from_batch(outcomes, outcomes)
        with pytest.raises(
            TypeError, match="`outcomes` must be integers 0 and 1, or booleans, got float32"
        ):
            CalibrationError.from_batch(x, x)
        with pytest.raises(
            ValueError, match=r"`probabilities` must have shape \(3,\) to match the outcomes"
        ):
            CalibrationError.from_batch(x[:2], outcomes)
        with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
            CalibrationError.from_batch(x, outcomes, bins=0)
    with pytest.raises(ValueError, match=r"`outcomes` must be integers in \[0, 2\), got -1"):
        CalibrationError.from_batch(x, outcomes - 1)
