"""Binary hinges against scikit-learn, Keras and the formula."""

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxml.losses import hinge, squared_hinge
from tests import properties


def example():
    rng = np.random.default_rng(0)
    return rng.normal(scale=2, size=(2, 5)), rng.integers(2, size=(2, 5), dtype=np.int32)


def reference(logits, labels):
    signs = np.where(labels == 1, 1.0, -1.0)
    return np.where(signs * logits < 1, 1 - signs * logits, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_a_hinge_is_what_is_missing_to_a_margin_of_one(dtype):
    logits, labels = example()
    arrays = logits, labels.astype(dtype)
    properties.check(hinge, *arrays, reference=reference, by="NumPy float64")


@pytest.mark.slow
def test_a_squared_hinge_is_its_square():
    def squared(logits, labels):
        return reference(logits, labels) ** 2

    properties.check(squared_hinge, *example(), reference=squared, by="NumPy float64")


@pytest.mark.slow
def test_the_mean_is_that_of_scikit_learn():
    logits, labels = (array.ravel() for array in example())
    actual = hinge(jnp.asarray(logits, jnp.float32), jnp.asarray(labels)).mean()
    properties.agree(hinge, actual, sklearn.metrics.hinge_loss(labels, logits), by="scikit-learn")


def test_keras_agrees(keras):
    logits, labels = (array.reshape(-1, 1) for array in example())
    arrays = jnp.asarray(logits, jnp.float32)[:, 0], jnp.asarray(labels)[:, 0]
    for loss, oracle in ((hinge, keras.losses.Hinge), (squared_hinge, keras.losses.SquaredHinge)):
        expected = oracle(reduction=None, dtype="float64")(labels.astype(np.float64), logits)
        properties.agree(loss, loss(*arrays), expected.numpy(), by="Keras")
