"""The confusion matrix and its ratios against scikit-learn."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxml.metrics import ConfusionMatrix
from tests import properties, references

CLASSES = 4
of = references.plain_jit(functools.partial(ConfusionMatrix.from_batch, num_classes=CLASSES))


def example(size=40, absent=()):
    """Predictions and labels without some of the classes."""
    rng = np.random.default_rng(0)
    present = [c for c in range(CLASSES) if c not in absent]
    labels = rng.choice(present, size=size).astype(np.int32)
    predictions = np.where(rng.random(size) < 0.6, labels, rng.choice(present, size=size))
    return predictions.astype(np.int32), labels


def test_counts_are_those_of_scikit_learn():
    predictions, labels = example()
    expected = sklearn.metrics.confusion_matrix(labels, predictions, labels=range(CLASSES))
    counts = of(predictions, labels).counts
    assert counts.dtype == jnp.int32
    properties.agree(ConfusionMatrix.from_batch, counts, expected, by="scikit-learn")


@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("absent", [(), (2,)])
def test_ratios_are_those_of_scikit_learn(average, zero_division, absent):
    predictions, labels = example(absent=absent)
    matrix = of(predictions, labels)
    for name in ("precision", "recall", "f1"):
        oracle = getattr(sklearn.metrics, f"{name}_score")
        expected = oracle(
            labels, predictions, labels=range(CLASSES), average=average,
            zero_division=zero_division,
        )  # fmt: skip
        method = getattr(matrix, name)
        actual = method(average=average, zero_division=zero_division)
        assert actual.dtype == jnp.float32
        properties.agree(method, actual, expected, by="scikit-learn")


def test_figures_of_the_whole():
    predictions, labels = example()
    accuracy = sklearn.metrics.accuracy_score(labels, predictions)
    properties.agree(
        ConfusionMatrix.accuracy, of(predictions, labels).accuracy(), accuracy, by="scikit-learn"
    )
    expected = [
        score(labels, predictions, average="macro")
        for score in (
            sklearn.metrics.precision_score,
            sklearn.metrics.recall_score,
            sklearn.metrics.f1_score,
        )
    ]
    names = ("count", "accuracy", "precision", "recall", "f1")
    means = of(predictions, labels).compute()
    wanted = dict(zip(names, (40, accuracy, *expected), strict=True))
    assert means == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("cuts", [(1, 2), (13, 39), (0, 40)])
def test_merging_any_split_gives_the_whole(cuts):
    arrays, matrix = example(), ConfusionMatrix.empty(num_classes=CLASSES)
    for start, stop in zip((0, *cuts), (*cuts, 40), strict=True):
        matrix = matrix.merge(of(*(array[start:stop] for array in arrays)))
    np.testing.assert_array_equal(matrix.counts, of(*arrays).counts)


def test_what_is_masked_or_outside_the_classes_is_not_counted():
    predictions, labels = example()
    mask = np.random.default_rng(1).random(40) < 0.6
    expected = np.array(of(predictions[mask], labels[mask]).counts)
    predictions[~mask], labels[~mask] = -1, 100
    np.testing.assert_array_equal(of(predictions, labels, mask).counts, expected)
    np.testing.assert_array_equal(of(predictions, labels).counts, expected)
    labels[~mask] = 0
    np.testing.assert_array_equal(of(predictions, labels).counts, expected)


@pytest.mark.parametrize("name", ["predictions", "labels"])
def test_a_known_class_out_of_range_is_an_error_unless_it_is_masked(name):
    arrays = {"predictions": jnp.array([0, 1]), "labels": jnp.array([0, 1])}
    arrays[name] = jnp.array([0, 4])
    with pytest.raises(ValueError, match=rf"`{name}` must be integers in \[0, 4\), got 4"):
        ConfusionMatrix.from_batch(**arrays, num_classes=CLASSES)
    mask = jnp.array([True, False])
    assert (
        int(ConfusionMatrix.from_batch(**arrays, where=mask, num_classes=CLASSES).counts.sum()) == 1
    )


def test_vmap_over_batches_is_a_loop_over_batches():
    def leaves(*arrays):
        matrix = ConfusionMatrix.from_batch(*arrays, num_classes=CLASSES)
        return [matrix.counts, matrix.f1(), matrix.recall(average="weighted")]

    references.assert_vmap_is_loop(leaves, *(array.reshape(4, 10) for array in example()))


def test_nothing_has_figures_of_zero():
    assert set(ConfusionMatrix.empty(num_classes=3).compute().values()) == {0}


def test_bad_input_is_an_error():
    labels = jnp.zeros(3, jnp.int32)
    with properties.unchecked():
        with pytest.raises(TypeError, match=r"`labels` must be integers in \[0, 2\), got float32"):
            ConfusionMatrix.from_batch(labels, jnp.zeros(3), num_classes=2)
        with pytest.raises(
            TypeError, match=r"`predictions` must be integers in \[0, 2\), got bool"
        ):
            ConfusionMatrix.from_batch(jnp.zeros(3, bool), labels, num_classes=2)
        with pytest.raises(ValueError, match="`num_classes` must be at least 1, got 0"):
            ConfusionMatrix.from_batch(labels, labels, num_classes=0)
        with pytest.raises(
            ValueError, match=r"`predictions` must have shape \(3,\) to match the labels"
        ):
            ConfusionMatrix.from_batch(labels[:2], labels, num_classes=2)
        matrix = ConfusionMatrix.empty(num_classes=2)
        with pytest.raises(ValueError, match=r"`zero_division` must be 0 or 1, got 0\.5"):
            matrix.f1(zero_division=0.5)
        with pytest.raises(
            ValueError, match="`average` must be None, 'macro', 'micro' or 'weighted', got"
        ):
            matrix.f1(average="binary")  # pyright: ignore[reportArgumentType]
