"""Losses of the sigmoid against SciPy, torch and Keras."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxml.losses import sigmoid_cross_entropy, sigmoid_focal
from tests import properties

WEIGHTS = np.array([0.5, 3.0])


def example(kind):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(2, 4))
    labels = {
        "integer": rng.integers(2, size=(2, 4), dtype=np.int32),
        "boolean": rng.random((2, 4)) < 0.5,
        "soft": rng.uniform(0.1, 0.9, size=(2, 4)),
    }
    return logits, labels[kind]


def cross_entropy(logits, labels, class_weights=None, *, label_smoothing=0.0):
    shares = (1 - label_smoothing) * labels.astype(np.float64) + label_smoothing * 0.5
    zero, one = (1.0, 1.0) if class_weights is None else class_weights
    p, rest = scipy.special.expit(logits), scipy.special.expit(-logits)
    return -zero * scipy.special.xlogy(1 - shares, rest) - one * scipy.special.xlogy(shares, p)


@functools.wraps(sigmoid_cross_entropy)
def weighted(logits, labels, class_weights, **settings):
    return sigmoid_cross_entropy(logits, labels, class_weights=class_weights, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["integer", "boolean", "soft"])
def test_cross_entropy_of_the_sigmoid(kind):
    settings: Any = {"label_smoothing": 0.2} if kind != "integer" else {}
    arrays = example(kind)
    properties.check(
        sigmoid_cross_entropy, *arrays, reference=cross_entropy, by="SciPy", grads=1, **settings
    )


@pytest.mark.slow
def test_class_weights_multiply_the_terms_of_their_classes():
    properties.check(
        weighted, *example("integer"), WEIGHTS, reference=cross_entropy, by="SciPy",
        label_smoothing=0.1,
    )  # fmt: skip


def test_a_class_weight_of_class_1_is_the_pos_weight_of_torch():
    torch = pytest.importorskip("torch")

    def reference(logits, labels):
        return torch.nn.functional.binary_cross_entropy_with_logits(
            torch.from_numpy(logits),
            torch.from_numpy(labels.astype(np.float64)),
            pos_weight=torch.tensor(3.0, dtype=torch.float64),
            reduction="none",
        ).numpy()

    @functools.wraps(sigmoid_cross_entropy)
    def ours(logits, labels):
        return weighted(logits, labels, jnp.array([1.0, 3.0], logits.dtype))

    properties.check(ours, *example("integer"), reference=reference, by="torch", grads=0)


@pytest.mark.slow
def test_smoothing_and_the_focal_loss_are_those_of_keras(keras):
    logits, labels = (a.reshape(8, 1) for a in example("integer"))
    settings = {"from_logits": True, "reduction": None, "dtype": "float64"}
    smooth = keras.losses.BinaryCrossentropy(label_smoothing=0.3, **settings)
    focused = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.3, gamma=1.5, **settings
    )
    arrays = jnp.asarray(logits, jnp.float32)[:, 0], jnp.asarray(labels)[:, 0]
    actual = sigmoid_cross_entropy(*arrays, label_smoothing=0.3)
    expected = smooth(labels.astype(np.float64), logits).numpy()
    properties.agree(sigmoid_cross_entropy, actual, expected, by="Keras")
    actual = sigmoid_focal(*arrays, gamma=1.5, alpha=0.3)
    expected = focused(labels.astype(np.float64), logits).numpy()
    properties.agree(sigmoid_focal, actual, expected, by="Keras")


def focal(logits, labels, *, gamma, alpha=None):
    y, p = labels.astype(np.float64), scipy.special.expit(logits)
    miss = y * scipy.special.expit(-logits) + (1 - y) * p
    weight = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    return weight * miss**gamma * cross_entropy(logits, labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("integer", {"gamma": 2.0, "alpha": 0.25}),
        ("boolean", {"gamma": 0.5}),
        ("soft", {"gamma": 2.0}),
    ],
)
def test_focal_loss(kind, settings):
    arrays = example(kind)
    properties.check(sigmoid_focal, *arrays, reference=focal, by="NumPy float64", **settings)


def test_focal_loss_composed_in_torch():
    torch = pytest.importorskip("torch")

    def reference(logits, labels, *, gamma, alpha):
        z, y = torch.from_numpy(logits), torch.from_numpy(labels.astype(np.float64))
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        weight = alpha * y + (1 - alpha) * (1 - y)
        return (weight * (1 - torch.exp(-entropy)) ** gamma * entropy).numpy()

    arrays = example("integer")
    settings: Any = {"gamma": 2.0, "alpha": 0.25}
    properties.check(sigmoid_focal, *arrays, reference=reference, by="torch", grads=0, **settings)


def test_a_focus_of_zero_is_cross_entropy():
    logits, labels = (jnp.asarray(a) for a in example("integer"))
    actual = sigmoid_focal(logits, labels, gamma=0.0)
    np.testing.assert_allclose(actual, sigmoid_cross_entropy(logits, labels), rtol=1e-6)
