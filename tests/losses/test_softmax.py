"""Losses of the softmax against SciPy, scikit-learn, torch and Keras."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from jax.test_util import check_grads

from jaxml.losses import softmax_cross_entropy, softmax_focal
from tests import properties, references
from tests.losses.examples import labels_of

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


def entropy(logits, labels, class_weights=None, *, label_smoothing=0.0, gamma=0.0):
    """The sum over the classes, each term in SciPy."""
    classes = logits.shape[-1]
    shares = np.eye(classes)[labels] if labels.ndim < logits.ndim else labels.astype(np.float64)
    shares = (1 - label_smoothing) * shares + label_smoothing / classes
    weights = np.ones(classes) if class_weights is None else class_weights
    surprise = -scipy.special.log_softmax(logits, axis=-1)
    focus = (1 - scipy.special.softmax(logits, axis=-1)) ** gamma
    return (weights * shares * focus * surprise).sum(-1)


@functools.wraps(softmax_cross_entropy)
def weighted(logits, labels, class_weights, **settings):
    return softmax_cross_entropy(logits, labels, class_weights=class_weights, **settings)


@functools.wraps(softmax_focal)
def weighted_focal(logits, labels, class_weights, **settings):
    return softmax_focal(logits, labels, class_weights=class_weights, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["integer", "one_hot", "boolean", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_of_every_kind_with_smoothing_and_without(kind, smoothing):
    logits, _ = example((2, 3), classes=4)
    properties.check(
        softmax_cross_entropy, logits, labels_of(kind), reference=entropy, by="SciPy",
        label_smoothing=smoothing, vmap=kind == "integer",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["integer", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_and_smoothing_are_those_of_torch(kind, smoothing):
    torch = pytest.importorskip("torch")
    logits, labels, weights = example((7,), 4)[0], labels_of(kind, (7,)), np.array([0.2, 1, 0.5, 3])

    def reference(logits, labels, weights, *, label_smoothing):
        return torch.nn.functional.cross_entropy(
            torch.from_numpy(logits),
            torch.from_numpy(labels.astype(np.int64 if kind == "integer" else np.float64)),
            torch.from_numpy(weights),
            reduction="none",
            label_smoothing=label_smoothing,
        ).numpy()

    properties.check(
        weighted, logits, labels, weights, reference=reference, by="torch",
        label_smoothing=smoothing, vmap=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("integer", {"gamma": 2.0}),
        ("integer", {"gamma": 0.5, "label_smoothing": 0.1}),
        ("soft", {"gamma": 0.0}),
        ("soft", {"gamma": 1.5}),
    ],
)
def test_the_focal_loss_has_less_weight_on_what_is_likely(kind, settings):
    logits, _ = example((2, 3), classes=4)
    weights = np.array([0.2, 1, 0.5, 3])
    properties.check(
        weighted_focal, logits, labels_of(kind), weights, reference=entropy, by="SciPy", **settings
    )


def test_the_focal_loss_is_that_of_keras(keras):
    logits, labels = example((7,), 4)[0], labels_of("one_hot", (7,))
    loss = keras.losses.CategoricalFocalCrossentropy(
        alpha=0.25, gamma=2.0, from_logits=True, reduction=None, dtype="float64"
    )
    actual = softmax_focal(jnp.asarray(logits), jnp.asarray(labels)) / 4
    expected = loss(labels.astype(np.float64), logits.astype(np.float64)).numpy()
    properties.agree(softmax_focal, actual, expected, by="Keras")


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_a_focal_loss_of_which_nothing_is_left_has_a_finite_gradient(gamma):
    def loss(logits):
        return softmax_focal(logits, jnp.array(0), gamma=gamma)

    value, gradient = references.plain_jit(jax.value_and_grad(loss))(jnp.array([40.0, 0, 0]))
    np.testing.assert_allclose(value, 0, atol=1e-7)
    np.testing.assert_allclose(gradient, np.zeros(3), atol=1e-7)


@pytest.mark.slow
def test_an_impossible_class_that_is_not_asked_for_adds_nothing():
    logits = np.array([[1.0, -np.inf, 0.0]], np.float32)
    shares = np.array([[0.25, 0.0, 0.75]], np.float32)
    expected = softmax_cross_entropy(jnp.array([[1.0, 0.0]]), jnp.array([[0.25, 0.75]]))
    np.testing.assert_allclose(jitted(logits, shares), expected, rtol=1e-6)
    assert np.isfinite(gradient(logits, shares)).all()


def test_one_class_has_no_focal_loss():
    with pytest.raises(ValueError, match="`logits` must have at least 2 classes, got 1"):
        softmax_focal(jnp.zeros((3, 1)), jnp.zeros(3, jnp.int32))


def test_confident_labels_of_any_kind_lose_no_digits():
    margins = np.arange(21.0)
    logits = np.stack([np.zeros(21), margins, np.full(21, -np.inf)], -1).astype(np.float32)
    shares = np.eye(3, dtype=np.float32)[np.ones(21, int)]
    np.testing.assert_allclose(jitted(logits, shares), np.log1p(np.exp(-margins)), rtol=1e-5)


def test_second_derivatives_are_those_of_the_softmax_at_ties_and_extremes():
    for row in ([1.0, 1.0, 1.0], [0.0, 15.0, 1.0], [1e4, -1e4, 1e4], [0.0, -np.inf, 2.0]):
        logits = np.array(row, np.float32)
        p = scipy.special.softmax(logits.astype(np.float64))
        hessian = references.plain_jit(jax.hessian(softmax_cross_entropy))(logits, np.int32(0))
        np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), rtol=1e-5, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("label", "value"), [(0, np.inf), (1, 0.0)])
def test_a_focal_loss_beside_an_impossible_class_has_no_gradient_of_nan(gamma, label, value):
    def loss(logits):
        return softmax_focal(logits, jnp.array(label), gamma=gamma)

    actual, gradient = jax.value_and_grad(loss)(jnp.array([-jnp.inf, 0.0]))
    assert float(actual) == value
    np.testing.assert_array_equal(gradient, [-1, 1] if label == 0 else [0, 0])
