"""Loss and accuracy over several classes against scikit-learn."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from jax.test_util import check_grads

from jaxml.losses import softmax_cross_entropy
from jaxml.metrics import ClassificationMetrics
from tests import properties, references

FIELDS = ("count", "loss", "correct", "correct_top5")
sums = jax.jit(ClassificationMetrics.from_batch)


def example(size=40, classes=10):
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=size, dtype=np.int32)
    logits = rng.normal(size=(size, classes)).astype(np.float32)
    logits[np.arange(size), labels] += 1
    losses = rng.exponential(size=size).astype(np.float32)
    return losses, logits, labels


def expected_means(losses, logits, labels):
    classes = logits.shape[-1]
    means = {
        "count": len(labels),
        "loss": losses.astype(np.float64).mean(),
        "accuracy": sklearn.metrics.accuracy_score(labels, logits.argmax(-1)),
    }
    if classes > 5:
        means["top5_accuracy"] = sklearn.metrics.top_k_accuracy_score(
            labels, logits, k=5, labels=range(classes)
        )
    return means


@pytest.mark.parametrize("classes", [2, 5, 6, 10])
def test_means_are_those_of_scikit_learn(classes):
    arrays = example(classes=classes)
    means = sums(*arrays).compute(num_classes=classes)
    properties.agree(
        ClassificationMetrics.from_batch, means, expected_means(*arrays), by="scikit-learn"
    )


def test_the_loss_of_a_softmax_is_the_log_loss_of_scikit_learn():
    _, logits, labels = example()
    losses = jax.jit(softmax_cross_entropy)(logits, labels)
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=-1)
    expected = sklearn.metrics.log_loss(labels, probabilities, labels=range(10))
    means = sums(losses, logits, labels).compute(num_classes=10)
    assert means["loss"] == pytest.approx(expected, rel=1e-6)


def test_examples_outside_the_mask_do_not_count_whatever_they_hold():
    losses, logits, labels = example()
    mask = np.random.default_rng(1).random(40) < 0.6
    losses[~mask] = np.nan
    logits[~mask, labels[~mask]] = np.inf
    means = sums(losses, logits, labels, mask).compute(num_classes=10)
    expected = expected_means(losses[mask], logits[mask], labels[mask])
    assert means == pytest.approx(expected, rel=1e-6)


def test_merging_ragged_batches_gives_the_metrics_of_the_whole():
    arrays = example(size=40)
    metrics = ClassificationMetrics.empty()
    for part in (slice(0, 16), slice(16, 32), slice(32, 40)):
        metrics = metrics.merge(sums(*(array[part] for array in arrays)))
    assert metrics.compute(num_classes=10) == pytest.approx(expected_means(*arrays), rel=1e-6)


def test_merging_with_nothing_changes_nothing_on_either_side():
    metrics, zero = sums(*example()), ClassificationMetrics.empty()
    for merged in (metrics.merge(zero), zero.merge(metrics)):
        for field in FIELDS:
            assert np.asarray(getattr(merged, field)) == np.asarray(getattr(metrics, field))
            assert getattr(merged, field).dtype == getattr(metrics, field).dtype


def test_no_examples_have_means_of_zero():
    expected = {"count": 0, "loss": 0.0, "accuracy": 0.0, "top5_accuracy": 0.0}
    assert ClassificationMetrics.empty().compute(num_classes=10) == expected


def test_of_equal_logits_the_first_counts_as_the_higher():
    labels = np.arange(40, dtype=np.int32) % 10
    metrics = sums(np.zeros(40, np.float32), np.zeros((40, 10), np.float32), labels)
    assert int(metrics.correct) == 40 // 10
    assert int(metrics.correct_top5) == 5 * 40 // 10


def test_vmap_over_batches_is_a_loop_over_batches():
    mask = np.random.default_rng(2).random(24) < 0.5
    arrays = (np.reshape(array, (3, 8, *array.shape[1:])) for array in (*example(24), mask))

    def leaves(*arrays):
        return jax.tree.leaves(ClassificationMetrics.from_batch(*arrays))

    references.assert_vmap_is_loop(leaves, *arrays)


def test_counts_are_integers_and_the_loss_is_float32_for_bfloat16_inputs():
    losses, logits, labels = example()
    losses, logits = losses.astype(jnp.bfloat16), logits.astype(jnp.bfloat16)
    metrics = sums(losses, logits, labels)
    dtypes = [getattr(metrics, field).dtype for field in FIELDS]
    assert dtypes == [jnp.int32, jnp.float32, jnp.int32, jnp.int32]
    expected = expected_means(losses.astype(np.float32), logits.astype(np.float32), labels)
    means = metrics.compute(num_classes=10)
    assert means["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert means["accuracy"] == expected["accuracy"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
def test_labels_of_any_integer_dtype_count_the_same(dtype):
    losses, logits, labels = example()
    means = sums(losses, logits, labels.astype(dtype)).compute(num_classes=10)
    assert means == pytest.approx(expected_means(losses, logits, labels), rel=1e-6)


def test_huge_logits_and_losses_are_summed_as_they_are():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [3e38, -3e38]], np.float32)
    losses = np.array([2e4, 1e30, 0.0], np.float32)
    means = sums(losses, logits, np.zeros(3, np.int32)).compute(num_classes=2)
    assert means == pytest.approx({"count": 3, "loss": 1e30 / 3, "accuracy": 2 / 3}, rel=1e-6)


def test_the_gradient_of_the_loss_is_the_mask():
    losses, logits, labels = example()
    mask = np.random.default_rng(3).random(40) < 0.5

    @jax.jit
    def loss(values):
        return ClassificationMetrics.from_batch(
            values, *map(jnp.asarray, (logits, labels, mask))
        ).loss

    np.testing.assert_array_equal(jax.grad(loss)(losses), mask.astype(np.float32))
    # A linear function has no truncation error, so that the step may be wide.
    check_grads(loss, (losses,), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"where": np.ones(3, bool)},
            ValueError,
            "`where` must have shape (4,), one boolean per example",
        ),
        ({"where": np.ones(4, np.int32)}, TypeError, "`where` must be boolean, got int32"),
        ({"losses": np.ones(3, np.float32)}, ValueError, "`losses` must have shape (4,) to match"),
        ({"losses": np.ones(4, np.int32)}, TypeError, "`losses` must be floating-point, got int32"),
        ({"logits": np.ones((4, 3), int)}, TypeError, "`logits` must be floating-point, got int"),
        (
            {"logits": np.ones(4, np.float32)},
            ValueError,
            "`logits` must have shape [batch, classes], got (4,)",
        ),
        (
            {"labels": np.zeros(4, np.float32)},
            TypeError,
            "`labels` must be integers in [0, 3), got float32",
        ),
        (
            {"labels": np.zeros((4, 3), int)},
            ValueError,
            "`labels` must have shape (4,) for `logits` of shape (4, 3), got",
        ),
        (
            {"labels": np.array([0, 1, 3, -1])},
            ValueError,
            "`labels` must be integers in [0, 3), got 3",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(changes, kind, message):
    arrays = dict(zip(("losses", "logits", "labels"), example(size=4, classes=3), strict=True))
    arrays = {name: jnp.asarray(array) for name, array in (arrays | changes).items()}
    with properties.unchecked(), pytest.raises(kind, match=re.escape(message)):
        ClassificationMetrics.from_batch(**arrays)


def test_a_label_out_of_range_may_be_masked_and_a_traced_one_is_not_correct():
    losses, logits, labels = map(jnp.asarray, example(size=4, classes=3))
    labels, mask = labels.at[1].set(7), jnp.array([True, False, True, True])
    assert int(ClassificationMetrics.from_batch(losses, logits, labels, mask).count) == 3
    metrics = sums(losses, logits, labels)
    assert int(metrics.count) == 4
    assert int(metrics.correct_top5) == 3
