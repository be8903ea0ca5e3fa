"""Metrics of one logit an example against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxml.metrics import BinaryMetrics
from tests import properties, references

of = references.plain_jit(BinaryMetrics.from_batch)


def example(size=40):
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=size, dtype=np.int32)
    logits = (rng.normal(size=size) + labels).astype(np.float32)
    logits[0] = 0  # is no prediction of class 1
    return rng.exponential(size=size).astype(np.float32), logits, labels


def expected(losses, logits, labels):
    arrays = labels, (logits > 0).astype(int)
    return {
        "count": len(labels),
        "loss": losses.astype(np.float64).mean(),
        "accuracy": sklearn.metrics.accuracy_score(*arrays),
        "precision": sklearn.metrics.precision_score(*arrays),
        "recall": sklearn.metrics.recall_score(*arrays),
        "f1": sklearn.metrics.f1_score(*arrays),
    }


def test_means_are_those_of_scikit_learn():
    arrays = example()
    properties.agree(
        BinaryMetrics.from_batch, of(*arrays).compute(), expected(*arrays), by="scikit-learn"
    )


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(1, 2), (13, 39), (0, 40)])
def test_merging_any_split_gives_the_whole(cuts):
    arrays, metrics = example(), BinaryMetrics.empty()
    for start, stop in zip((0, *cuts), (*cuts, 40), strict=True):
        metrics = metrics.merge(of(*(array[start:stop] for array in arrays)))
    assert metrics.compute() == pytest.approx(expected(*arrays), rel=1e-6)
    assert [leaf.dtype for leaf in jax.tree.leaves(metrics)].count(jnp.int32) == 5


def test_stacked_batches_are_a_sum_over_the_first_axis():
    arrays = example()
    batches = [array.reshape(4, 10) for array in arrays]
    stacked = references.plain_jit(jax.vmap(BinaryMetrics.from_batch))(*batches)
    whole = jax.tree.map(lambda leaf: leaf.sum(axis=0), stacked)
    assert whole.compute() == pytest.approx(expected(*arrays), rel=1e-6)


def test_examples_outside_the_mask_do_not_count_whatever_they_hold():
    arrays = example()
    mask = np.random.default_rng(1).random(40) < 0.6
    kept = [array[mask] for array in arrays]
    arrays[0][~mask], arrays[1][~mask] = np.nan, np.inf
    assert of(*arrays, mask).compute() == pytest.approx(expected(*kept), rel=1e-6)


def test_booleans_are_labels_and_nothing_has_means_of_zero():
    losses, logits, labels = example()
    means = of(losses, logits, labels.astype(bool)).compute()
    assert means == pytest.approx(expected(losses, logits, labels), rel=1e-6)
    assert set(BinaryMetrics.empty().compute().values()) == {0}


def test_arrays_that_do_not_fit_are_an_error():
    x, labels = jnp.zeros(3), jnp.zeros(3, jnp.int32)
    with properties.unchecked():
        with pytest.raises(
            TypeError, match="`labels` must be integers 0 and 1, or booleans, got float32"
        ):
            BinaryMetrics.from_batch(x, x, x)
        with pytest.raises(
            ValueError, match=r"`logits` must have shape \(3,\) to match the labels"
        ):
            BinaryMetrics.from_batch(x, x[:, None], labels)
        with pytest.raises(
            ValueError, match=r"`losses` must have shape \(3,\) to match the labels"
        ):
            BinaryMetrics.from_batch(x[:2], x, labels)


def test_a_known_label_out_of_range_is_an_error_and_a_traced_one_is_never_found():
    x, labels, mask = jnp.ones(3), jnp.array([1, 2, 0]), jnp.array([True, False, True])
    with pytest.raises(ValueError, match=r"`labels` must be integers in \[0, 2\), got 2"):
        BinaryMetrics.from_batch(x, x, labels)
    assert BinaryMetrics.from_batch(x, x, labels, mask).compute()["count"] == 2
    metrics = of(x, x, labels)
    assert (int(metrics.count), int(metrics.correct), int(metrics.positives)) == (3, 1, 1)
