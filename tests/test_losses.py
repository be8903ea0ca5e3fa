"""Losses against SciPy's log-softmax and scikit-learn's log loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from jax.test_util import check_grads

from jaxml.losses import softmax_cross_entropy
from tests import references

jitted = jax.jit(softmax_cross_entropy)
gradient = jax.jit(jax.grad(lambda logits, labels: softmax_cross_entropy(logits, labels).sum()))


def example(shape=(6,), classes=5, scale=3.0):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=scale, size=(*shape, classes)).astype(np.float32)
    return logits, rng.integers(classes, size=shape, dtype=np.int32)


@pytest.mark.parametrize("shape", [(), (6,), (2, 3)], ids=str)
def test_cross_entropy_is_minus_the_log_softmax_at_the_label(shape):
    logits, labels = example(shape)
    losses = jitted(logits, labels)
    assert losses.dtype == jnp.float32
    expected = references.softmax_cross_entropy(logits.astype(np.float64), labels)
    references.assert_close(losses, expected, 1e-6)


def test_the_mean_over_a_batch_is_the_log_loss_of_the_softmax():
    logits, labels = example()
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=-1)
    expected = sklearn.metrics.log_loss(labels, probabilities, labels=range(5))
    assert np.mean(jitted(logits, labels)) == pytest.approx(expected, rel=1e-6)


def test_vmap_over_a_batch_is_a_loop_over_examples():
    references.assert_vmap_is_loop(softmax_cross_entropy, *example((4, 3)))


def test_the_gradient_is_softmax_minus_one_at_the_label():
    logits, labels = example()
    expected = scipy.special.softmax(logits.astype(np.float64), axis=-1)
    for n, label in enumerate(labels):
        expected[n, label] -= 1
    references.assert_close(gradient(logits, labels), expected, 1e-6)


def test_gradients_of_both_orders_fit_finite_differences():
    logits, labels = example((3,), scale=1.0)
    with jax.enable_x64(True):
        function = jax.jit(lambda z: softmax_cross_entropy(z, jnp.asarray(labels)))
        check_grads(function, (logits.astype(np.float64),), order=2, modes=["rev"])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    logits, labels = example()
    rounded = logits.astype(dtype)
    losses = jitted(rounded, labels)
    assert losses.dtype == jnp.float32
    expected = references.softmax_cross_entropy(rounded.astype(np.float64), labels)
    references.assert_close(losses, expected, 1e-6)


def test_float64_logits_are_computed_in_float64():
    logits, labels = example()
    logits = logits.astype(np.float64) / 3
    with jax.enable_x64(True):
        losses = jitted(logits, labels)
    assert losses.dtype == jnp.float64
    references.assert_close(losses, references.softmax_cross_entropy(logits, labels), 1e-14)


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int16, jnp.uint32])
def test_labels_of_any_integer_dtype_give_the_same_losses(dtype):
    logits, labels = example()
    expected = references.softmax_cross_entropy(logits.astype(np.float64), labels)
    references.assert_close(jitted(logits, labels.astype(dtype)), expected, 1e-6)


def test_a_label_reaches_every_class_that_its_dtype_can_name():
    logits = np.linspace(-1, 1, 256, dtype=np.float32)
    labels = np.array([127, 128, 255], np.uint8)
    expected = references.softmax_cross_entropy(np.stack([logits.astype(np.float64)] * 3), labels)
    references.assert_close(jitted(np.stack([logits] * 3), labels), expected, 1e-6)


def test_huge_logits_give_finite_losses_and_gradients():
    logits = np.array([[1e4, -1e4, 0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    labels = np.array([1, 0, 2], np.int32)
    np.testing.assert_allclose(jitted(logits, labels), [2e4, np.log(2), np.log(3)], rtol=1e-6)
    third = 1 / 3
    expected = [[1, -1, 0], [-0.5, 0.5, 0], [third, third, third - 1]]
    np.testing.assert_allclose(gradient(logits, labels), expected, atol=1e-6)


def test_a_class_of_logit_minus_infinity_takes_no_part():
    logits, labels = example((3,), classes=2)
    masked = np.concatenate([logits, np.full((3, 1), -np.inf, np.float32)], axis=-1)
    expected = references.softmax_cross_entropy(logits.astype(np.float64), labels)
    references.assert_close(jitted(masked, labels), expected, 1e-6)
    assert np.isfinite(gradient(masked, labels)).all()
    np.testing.assert_array_equal(gradient(masked, labels)[:, 2], np.zeros(3))


def test_a_loss_is_never_negative():
    logits, _ = example((200,), classes=3, scale=30.0)
    assert np.min(jitted(logits, logits.argmax(-1).astype(np.int32))) >= 0


@pytest.mark.parametrize("label", [3, 100, -1, -3, -4])
def test_a_label_outside_the_classes_gives_nan(label):
    logits, _ = example((3,), classes=3)
    losses = jitted(logits, np.array([label, 0, 2], np.int32))
    np.testing.assert_array_equal(np.isnan(losses), [True, False, False])


def test_labels_that_are_not_integers_are_an_error():
    with pytest.raises(TypeError, match=r"labels: integers in \[0, 3\), not float32"):
        softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(2))


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (2, 3)], ids=str)
def test_labels_of_another_shape_than_the_batch_are_an_error(shape):
    with pytest.raises(ValueError, match=r"labels: shape \(2,\) for logits \(2, 3\), not \("):
        softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(shape, jnp.int32))
