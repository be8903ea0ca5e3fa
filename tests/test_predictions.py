"""Probabilities and predictions against SciPy, scikit-learn, torch and the formulas."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxml import predictions
from tests import properties


def example(shape=(2, 3, 5)):
    return np.random.default_rng(0).normal(scale=3, size=shape)


def test_probabilities_of_two_classes():
    properties.check(
        predictions.binary_probabilities,
        example(),
        reference=scipy.special.expit,
        by="SciPy",
        grads=2,
    )


def test_probabilities_of_several_classes():
    def softmax(logits):
        return scipy.special.softmax(logits, axis=-1)

    properties.check(
        predictions.class_probabilities, example(), reference=softmax, by="SciPy", grads=2
    )


def test_probabilities_of_extreme_logits_are_finite_with_finite_gradients():
    logits = jnp.array([1e4, -1e4, 0.0, 1e4])
    for function in (predictions.binary_probabilities, predictions.class_probabilities):
        values, pullback = jax.vjp(function, logits)
        assert np.isfinite(values).all()
        assert np.isfinite(pullback(jnp.arange(4.0))[0]).all()


def test_an_infinite_logit_has_probability_1():
    logits = jnp.array([[np.inf, 0.0, 1.0], [-np.inf, 0.0, -np.inf]])
    for row, expected in zip(logits, np.eye(3)[:2], strict=True):
        values, pullback = jax.vjp(predictions.class_probabilities, row)
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(pullback(jnp.arange(3.0))[0], np.zeros(3))
    for undefined in ([np.inf, np.inf], [-np.inf, -np.inf], [np.nan, 0.0]):
        assert np.isnan(predictions.class_probabilities(jnp.array(undefined))).all()


@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.9])
def test_predictions_of_two_classes_are_probabilities_above_a_threshold(threshold):
    def reference(logits, *, threshold):
        return (scipy.special.expit(logits) > threshold).astype(int)

    properties.check(
        predictions.binary_predictions, example(), reference=reference, by="SciPy",
        threshold=threshold, grads=0,
    )  # fmt: skip


def test_a_threshold_next_to_one_is_told_from_it():
    logits = jnp.array([10.0, 22.0, 25.0])  # of probability 1 all in float32, but the first
    assert predictions.binary_predictions(logits, threshold=1 - 1e-10).tolist() == [0, 0, 1]


def test_a_probability_at_the_threshold_and_nan_are_no_prediction():
    assert predictions.binary_predictions(jnp.array([0.0, jnp.nan, 1e-30])).tolist() == [0, 0, 1]


def test_predictions_of_several_classes_take_the_first_of_equal_ones():
    def reference(logits):
        return np.array([row.tolist().index(max(row)) for row in logits])

    logits = np.round(example((40, 4)) / 3)
    properties.check(
        predictions.class_predictions, logits, reference=reference, by="NumPy float64", grads=0
    )
    assert predictions.class_predictions(jnp.asarray(logits)).dtype == jnp.int32


def test_the_highest_logits_and_their_classes():
    torch = pytest.importorskip("torch")

    def reference(logits, *, k):
        values, classes = torch.topk(torch.from_numpy(logits), k)
        return values.numpy(), classes.numpy()

    properties.check(predictions.top_k, example(), reference=reference, by="torch", grads=0, k=2)

    def stable(logits, *, k):
        classes = np.argsort(-logits, axis=-1, kind="stable")[..., :k]
        return np.take_along_axis(logits, classes, -1), classes

    logits = np.round(example((20, 4)) / 3) + 0.0  # no -0.0, which is below 0.0
    properties.check(predictions.top_k, logits, reference=stable, by="NumPy float64", grads=0, k=3)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan")])
def test_a_threshold_that_is_no_probability_is_an_error(threshold):
    message = f"`threshold` must be in (0, 1), got {threshold}"
    with pytest.raises(ValueError, match=re.escape(message)):
        predictions.binary_predictions(jnp.zeros(2), threshold=threshold)


@pytest.mark.parametrize("k", [0, 4])
def test_more_classes_than_there_are_is_an_error(k):
    message = f"`k` must be in [1, 3], the number of classes, got {k}"
    with pytest.raises(ValueError, match=re.escape(message)):
        predictions.top_k(jnp.zeros((2, 3)), k=k)


@pytest.mark.parametrize("name", predictions.__all__)
def test_logits_that_are_not_floating_point_or_have_no_classes_are_an_error(name):
    function = getattr(predictions, name)
    settings = {"k": 1} if name == "top_k" else {}
    with properties.unchecked():
        with pytest.raises(TypeError, match="`logits` must be floating-point, got int32"):
            function(jnp.zeros((2, 3), jnp.int32), **settings)
        if not name.startswith("binary"):
            message = "`logits` must have shape [..., classes] with at least one class, got (2, 0)"
            with pytest.raises(ValueError, match=re.escape(message)):
                function(jnp.zeros((2, 0)), **settings)
