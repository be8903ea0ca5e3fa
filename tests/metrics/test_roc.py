"""The area under the ROC curve against scikit-learn and a count of all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxml.metrics import RocAuc, roc_auc
from tests import properties, references

of = references.plain_jit(RocAuc.from_batch)


def example(size=60, digits=1):
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=size, dtype=np.int32)
    return np.round(rng.normal(size=size) + labels, digits), labels


def pairs(scores, labels):
    """How many pairs are in order, one by one."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("digits", [0, 8])
def test_the_exact_area_with_ties_and_without(digits):
    arrays = example(digits=digits)
    properties.check(roc_auc, *arrays, reference=pairs, by="NumPy float64", grads=0)

    def reference(scores, labels):
        return np.float64(sklearn.metrics.roc_auc_score(labels, scores))

    properties.check(roc_auc, *arrays, reference=reference, by="scikit-learn", grads=0, vmap=False)


@pytest.mark.slow
def test_scores_outside_the_mask_do_not_count_whatever_they_hold():
    scores, labels = example()
    mask = np.random.default_rng(1).random(60) < 0.6
    expected = pairs(scores[mask], labels[mask])
    scores[~mask], labels[~mask] = np.nan, 7
    arrays = map(jnp.asarray, (scores.astype(np.float32), labels, mask))
    assert float(roc_auc(*arrays)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_infinite_scores_are_in_order():
    scores = np.array([-np.inf, np.inf, 0.0, np.inf, -1e4, 1e4], np.float32)
    labels = np.array([0, 0, 1, 1, 1, 0], np.int32)
    assert float(roc_auc(jnp.asarray(scores), jnp.asarray(labels))) == pytest.approx(
        pairs(scores, labels)
    )


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([1, 2], [1, 1]), ([1, 2], [0, 0]), ([np.nan, 2], [0, 1]), ([1, 2, 3], [0, 1, 2]), ([], [])],
)
def test_an_area_that_is_not_defined_is_nan(scores, labels):
    area = references.plain_jit(roc_auc)(np.float32(scores), np.int32(labels))
    assert np.isnan(area)


@pytest.mark.slow
@pytest.mark.parametrize("function", [RocAuc.from_batch, roc_auc], ids=["bins", "exact"])
def test_a_known_label_out_of_range_is_an_error_unless_it_is_masked(function):
    scores, labels = jnp.array([0.2, 0.3, 0.4]), jnp.array([0, 1, 2])
    with pytest.raises(ValueError, match=r"`labels` must be integers in \[0, 2\), got 2"):
        function(scores, labels)
    function(scores, labels, jnp.array([True, True, False]))


@pytest.mark.parametrize("bins", [10, 1000])
def test_the_area_of_bins_is_exact_for_probabilities_rounded_to_bins(bins):
    scores, labels = example(digits=8)
    probabilities = (1 / (1 + np.exp(-scores))).astype(np.float32)
    area = RocAuc.from_batch(jnp.asarray(probabilities), jnp.asarray(labels), bins=bins).area()
    rounded = np.ceil(probabilities * bins)
    expected = sklearn.metrics.roc_auc_score(labels, rounded)
    properties.agree(RocAuc.area, area, expected, by="scikit-learn")
    assert float(area) == pytest.approx(pairs(probabilities, labels), abs=1.5 / bins)


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(1, 2), (13, 39), (0, 60)])
def test_merging_any_split_gives_the_whole(cuts):
    scores, labels = example()
    arrays, metrics = ((scores / 10 + 0.5).astype(np.float32), labels), RocAuc.empty()
    for start, stop in zip((0, *cuts), (*cuts, 60), strict=True):
        metrics = metrics.merge(of(*(array[start:stop] for array in arrays)))
    whole = of(*arrays)
    for got, wanted in zip(*map(jax.tree.leaves, (metrics, whole)), strict=True):
        assert got.dtype == jnp.int32
        np.testing.assert_array_equal(got, wanted)
    assert metrics.compute() == {"count": 60, "roc_auc": pytest.approx(pairs(*arrays), abs=1e-3)}


def test_what_is_masked_nan_or_neither_class_is_not_counted():
    probabilities = np.array([0.2, np.nan, 0.7, 0.9, 0.4], np.float32)
    labels = np.array([0, 1, 1, 2, 0], np.int32)
    means = of(probabilities, labels, np.array([1, 1, 1, 1, 0], bool)).compute()
    assert means == {"count": 2, "roc_auc": 1.0}
    assert np.isnan(RocAuc.empty(bins=3).area())


def test_bad_input_is_an_error():
    scores, labels = jnp.zeros(3), jnp.zeros(3, jnp.int32)
    with properties.unchecked():
        with pytest.raises(TypeError, match="`scores` must be floating-point, got int32"):
            roc_auc(labels, labels)
        with pytest.raises(
            TypeError, match="`labels` must be integers 0 and 1, or booleans, got float32"
        ):
            roc_auc(scores, scores)
        with pytest.raises(
            ValueError, match=r"`scores` must have shape \(3,\) to match the labels"
        ):
            roc_auc(scores[:2], labels)
        with pytest.raises(
            ValueError, match=r"`where` must have shape \(3,\), one boolean per example, got"
        ):
            roc_auc(scores, labels, jnp.ones(2, bool))
        with pytest.raises(ValueError, match="`bins` must be at least 1, got 0"):
            RocAuc.from_batch(scores, labels, bins=0)
