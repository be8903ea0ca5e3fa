"""Metrics of real predictions against scikit-learn."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxml.metrics import RegressionMetrics
from tests import properties, references

of = references.plain_jit(RegressionMetrics.from_batch)


def example(size=40, mean=3.0):
    rng = np.random.default_rng(0)
    targets = rng.normal(mean, size=size).astype(np.float32)
    outputs = (targets + rng.normal(scale=0.5, size=size)).astype(np.float32)
    return rng.exponential(size=size).astype(np.float32), outputs, targets


def expected(losses, outputs, targets):
    losses, outputs, targets = (a.astype(np.float64) for a in (losses, outputs, targets))
    return {
        "count": len(targets),
        "loss": losses.mean(),
        "mse": sklearn.metrics.mean_squared_error(targets, outputs),
        "rmse": sklearn.metrics.root_mean_squared_error(targets, outputs),
        "mae": sklearn.metrics.mean_absolute_error(targets, outputs),
        "r2": sklearn.metrics.r2_score(targets, outputs),
    }


@pytest.mark.parametrize("mean", [0.0, 3.0, 1e4])
def test_means_are_those_of_scikit_learn(mean):
    arrays = example(mean=mean)
    properties.agree(
        RegressionMetrics.from_batch, of(*arrays).compute(), expected(*arrays), by="scikit-learn"
    )


@pytest.mark.parametrize("mean", [3.0, 1e4])
@pytest.mark.parametrize("cuts", [(1, 2), (13, 39), (0, 40)])
def test_merging_any_split_gives_the_whole(cuts, mean):
    arrays, metrics = example(mean=mean), RegressionMetrics.empty()
    for start, stop in zip((0, *cuts), (*cuts, 40), strict=True):
        metrics = metrics.merge(of(*(array[start:stop] for array in arrays)))
    # The mean of 1e4 is known to 1e-3 in float32, which is what the variance of 1 can lose.
    assert metrics.compute() == pytest.approx(expected(*arrays), rel=1e-6 if mean < 10 else 1e-3)


def test_merging_with_nothing_changes_nothing_on_either_side():
    metrics, zero = of(*example()), RegressionMetrics.empty()
    for merged in (metrics.merge(zero), zero.merge(metrics)):
        for got, wanted in zip(*map(jax.tree.leaves, (merged, metrics)), strict=True):
            assert (got, got.dtype) == (wanted, wanted.dtype)


def test_examples_outside_the_mask_do_not_count_whatever_they_hold():
    arrays = example()
    mask = np.random.default_rng(1).random(40) < 0.6
    kept = [array[mask] for array in arrays]
    for array in arrays:
        array[~mask] = np.nan
    assert of(*arrays, mask).compute() == pytest.approx(expected(*kept), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.7, 1e4])
def test_targets_that_do_not_vary_have_no_r2(value):
    targets = np.full(40, value, np.float32)
    assert math.isnan(of(targets, targets + 1, targets).compute()["r2"])


def test_nothing_has_means_of_zero_and_no_r2():
    means = RegressionMetrics.empty().compute()
    assert math.isnan(means.pop("r2"))
    assert set(means.values()) == {0}


def test_vmap_over_batches_is_a_loop_over_batches():
    def leaves(*arrays):
        return jax.tree.leaves(RegressionMetrics.from_batch(*arrays))

    references.assert_vmap_is_loop(leaves, *(array.reshape(4, 10) for array in example()))


def test_arrays_that_do_not_fit_are_an_error():
    x = jnp.zeros(3)
    with properties.unchecked():
        with pytest.raises(
            ValueError, match=r"`predictions` must have shape \(3,\) to match the targets"
        ):
            RegressionMetrics.from_batch(x, x[:, None], x)
        with pytest.raises(
            ValueError, match=r"`losses` must have shape \(3,\) to match the targets"
        ):
            RegressionMetrics.from_batch(x[:2], x, x)
        with pytest.raises(TypeError, match="`targets` must be floating-point, got int32"):
            RegressionMetrics.from_batch(x, x, x.astype(jnp.int32))
