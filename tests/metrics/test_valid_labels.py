"""Accuracy with several valid labels, against NumPy and scikit-learn."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxml.metrics import ValidLabelMetrics
from tests import properties, references

sums = jax.jit(ValidLabelMetrics.from_batch)


def example(size=60, classes=7):
    rng = np.random.default_rng(0)
    valid = rng.random((size, classes)) < 0.2  # some examples have no label, some several
    return rng.normal(size=(size, classes)).astype(np.float32), valid


def expected(logits, valid, where=None):
    """Counts example by example."""
    mask = np.ones(len(logits), bool) if where is None else where
    kept = [
        (row, set(np.flatnonzero(labels)))
        for row, labels, one in zip(logits, valid, mask, strict=True)
        if labels.any() and one
    ]
    hits = [int(np.argmax(row)) in labels for row, labels in kept]
    return {"count": len(kept), "accuracy": sum(hits) / max(len(hits), 1)}


def test_a_prediction_is_correct_if_it_is_one_of_the_valid_labels():
    logits, valid = example()
    assert {0, 1, 2} <= set(valid.sum(axis=1))
    assert sums(logits, valid).compute() == expected(logits, valid)
    assert 0 < sums(logits, valid).compute()["accuracy"] < 1


def test_one_label_for_each_example_gives_the_accuracy_of_scikit_learn():
    logits, _ = example()
    labels = np.random.default_rng(1).integers(7, size=60)
    found = sums(logits, labels[:, None] == np.arange(7)).compute()
    accuracy = sklearn.metrics.accuracy_score(labels, logits.argmax(-1))
    wanted = {"count": 60, "accuracy": accuracy}
    properties.agree(ValidLabelMetrics.from_batch, found, wanted, by="scikit-learn", rtol=0)


def test_examples_outside_the_mask_do_not_count_whatever_they_hold():
    logits, valid = example()
    mask = np.random.default_rng(2).random(60) < 0.6
    logits[~mask] = np.nan
    assert sums(logits, valid, mask).compute() == expected(logits, valid, mask)


def test_merged_batches_are_the_whole():
    logits, valid = example()
    metrics = ValidLabelMetrics.empty()
    for part in (slice(0, 16), slice(16, 32), slice(32, 60)):
        metrics = metrics.merge(sums(logits[part], valid[part]))
    assert metrics.compute() == expected(logits, valid)
    assert ValidLabelMetrics.empty().compute() == {"count": 0, "accuracy": 0.0}


def test_vmap_is_a_loop():
    logits, valid = (array.reshape(3, 20, 7) for array in example())

    def leaves(*arrays):
        return jax.tree.leaves(ValidLabelMetrics.from_batch(*arrays))

    references.assert_vmap_is_loop(leaves, logits, valid)


def test_bfloat16_logits_count_alike():
    logits, valid = example()
    logits = jnp.asarray(logits, jnp.bfloat16)
    assert sums(logits, valid).compute() == expected(np.asarray(logits, np.float32), valid)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"valid": np.ones((4, 2), bool)}, ValueError, "`valid` must have shape (4, 3) to match"),
        ({"valid": np.ones((4, 3), np.int32)}, TypeError, "`valid` must be boolean, got int32"),
        ({"logits": np.ones(4, np.float32)}, ValueError, "`logits` must have shape [batch, "),
        ({"logits": np.ones((4, 3), np.int32)}, TypeError, "`logits` must be floating-point"),
        ({"where": np.ones(3, bool)}, ValueError, "`where` must have shape (4,)"),
    ],
)
def test_wrong_arguments_are_errors(changes, kind, message):
    right = {"logits": np.ones((4, 3), np.float32), "valid": np.ones((4, 3), bool)}
    arguments = {name: jnp.asarray(array) for name, array in (right | changes).items()}
    with properties.unchecked(), pytest.raises(kind, match=re.escape(message)):
        ValidLabelMetrics.from_batch(**arguments)
