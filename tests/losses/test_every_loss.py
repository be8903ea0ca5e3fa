"""What all losses have in common: masks, extreme inputs, errors of dtype and shape, names."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import losses
from tests import properties, references

REAL = ["squared_error", "absolute_error", "huber"]
SOFT = ["sigmoid_cross_entropy", "sigmoid_focal"]
BINARY = [*SOFT, "hinge", "squared_hinge"]
SHARES = ["softmax_cross_entropy", "softmax_focal"]
SOFT_CLASSES = [*SHARES, "one_vs_rest_cross_entropy"]
HINGES = ["one_vs_rest_hinge", "crammer_singer_hinge", "weston_watkins_hinge"]
CLASSES = [*SOFT_CLASSES, *HINGES]
EVERY = [*REAL, *BINARY, *CLASSES, "kl_divergence"]


def example(name, scale=1.0):
    """Outputs and labels or targets of four examples."""
    rng = np.random.default_rng(0)
    outputs = (scale * rng.normal(size=(4, 3))).astype(np.float32)
    if name in REAL:
        return outputs[:, 0], (scale * rng.normal(size=4)).astype(np.float32)
    if name in BINARY:
        return outputs[:, 0], np.array([0, 1, 1, 0], np.int32)
    if name in CLASSES:
        return outputs, np.array([2, 0, 1, 2], np.int32)
    return outputs, rng.dirichlet(np.ones(3), 4).astype(np.float32)


@functools.cache
def values_and_gradients(name):
    loss = getattr(losses, name)

    def both(outputs, targets, where):
        total = lambda outputs: loss(outputs, targets, where=where).sum()  # noqa: E731
        return loss(outputs, targets, where=where), jax.grad(total)(outputs)

    return references.plain_jit(both)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_masked_examples_give_zero_whatever_they_hold(name):
    outputs, targets = example(name)
    where = np.array([True, False, True, False])
    expected, expected_gradient = values_and_gradients(name)(outputs, targets, np.ones(4, bool))
    expected, expected_gradient = np.array(expected), np.array(expected_gradient)
    assert np.abs(expected[~where]).max() > 0
    expected[~where], expected_gradient[~where] = 0, 0
    outputs[1], outputs[3] = np.nan, -np.inf
    targets[1], targets[3] = (np.nan, np.inf) if targets.dtype == np.float32 else (7, -7)
    actual, gradient = values_and_gradients(name)(outputs, targets, where)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(gradient, expected_gradient)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_extreme_outputs_have_finite_losses_and_gradients(name):
    outputs, targets = example(name)
    where = np.ones(4, bool)
    for extreme in (
        np.sign(outputs) * 1e4,
        np.full_like(outputs, 1e4),
        -1e4 * outputs,
        0 * outputs,
    ):
        for result in values_and_gradients(name)(extreme.astype(np.float32), targets, where):
            assert np.isfinite(result).all()


@pytest.mark.parametrize("name", [*BINARY, *CLASSES])
def test_a_label_outside_gives_nan_for_its_example_alone(name):
    outputs, labels = example(name)
    for outside in (-1, 3, 100):
        labels[1] = outside
        for result in values_and_gradients(name)(outputs, labels, np.ones(4, bool)):
            nan = np.isnan(np.asarray(result).reshape(4, -1))
            np.testing.assert_array_equal(nan.all(axis=1), [False, True, False, False])
            np.testing.assert_array_equal(nan.any(axis=1), [False, True, False, False])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BINARY, *CLASSES])
@pytest.mark.parametrize("outside", [-1, 3, 100])
def test_a_label_that_is_known_to_be_outside_is_an_error_unless_it_is_masked(name, outside):
    outputs, labels = map(jnp.asarray, example(name))
    labels, where = labels.at[1].set(outside), jnp.array([True, False, True, True])
    message = f"`labels` must be integers in [0, {2 if name in BINARY else 3}), got {outside}"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(losses, name)(outputs, labels)
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.jit(lambda outputs: getattr(losses, name)(outputs, labels))(outputs)
    assert np.isfinite(getattr(losses, name)(outputs, labels, where=where)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SOFT, *SHARES])
@pytest.mark.parametrize("label", [0, 1])
def test_confident_examples_have_losses_and_gradients_to_the_last_digits(name, label):
    margins = np.arange(21.0)  # by which the label is ahead
    entropy, miss = np.log1p(np.exp(-margins)), 1 / (1 + np.exp(margins))
    value, slope = entropy, -miss
    if name in ("sigmoid_focal", "softmax_focal"):
        value = miss**2 * entropy
        slope = -(miss**2) * (2 * (1 - miss) * entropy + miss)
    outputs = (margins if label else -margins).astype(np.float32)
    if name in SHARES:
        outputs = np.stack([np.zeros(21, np.float32), outputs], axis=-1)
    labels = np.full(21, label, np.int32)
    actual, gradient = values_and_gradients(name)(outputs, labels, np.ones(21, bool))
    np.testing.assert_allclose(actual, value, rtol=1e-5)
    gradient = np.asarray(gradient).reshape(21, -1)[:, -1]
    np.testing.assert_allclose(gradient, slope if label else -slope, rtol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_half_as_wide_is_computed_in_float32(name):
    outputs, targets = map(jnp.asarray, example(name))
    result = jax.eval_shape(getattr(losses, name), outputs.astype(jnp.bfloat16), targets)
    assert (result.dtype, result.shape) == (jnp.float32, (4,))
    result = jax.eval_shape(getattr(losses, name), outputs.astype(jnp.float16), targets)
    assert result.dtype == jnp.float32


@pytest.mark.parametrize("name", EVERY)
def test_a_mask_of_another_dtype_or_shape_is_an_error(name):
    outputs, targets = map(jnp.asarray, example(name))
    loss = getattr(losses, name)
    with properties.unchecked():
        with pytest.raises(TypeError, match="`where` must be boolean, got int32"):
            loss(outputs, targets, where=jnp.ones(4, jnp.int32))
        message = r"`where` must have shape \(4,\), one boolean per example, got \(4, 1\)"
        with pytest.raises(ValueError, match=message):
            loss(outputs, targets, where=jnp.ones((4, 1), bool))


@pytest.mark.parametrize("name", EVERY)
def test_outputs_that_are_not_floating_point_are_an_error(name):
    outputs, targets = map(jnp.asarray, example(name))
    message = f"`{'predictions' if name in REAL else 'logits'}` must be floating-point, got int32"
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        getattr(losses, name)(outputs.astype(jnp.int32), targets)


@pytest.mark.parametrize("name", [*REAL, "kl_divergence"])
def test_targets_that_are_not_floating_point_are_an_error(name):
    outputs, targets = map(jnp.asarray, example(name))
    with (
        properties.unchecked(),
        pytest.raises(TypeError, match="`targets` must be floating-point, got int32"),
    ):
        getattr(losses, name)(outputs, targets.astype(jnp.int32))


@pytest.mark.parametrize("name", [*REAL, *BINARY, "kl_divergence"])
def test_targets_of_another_shape_are_an_error(name):
    outputs, targets = map(jnp.asarray, example(name))
    message = f"` must have shape {outputs.shape} to match the "
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        getattr(losses, name)(outputs, targets[:, None])


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
def test_float_labels_of_a_binary_hinge_are_an_error(name):
    message = "`labels` must be integers 0 and 1, or booleans, got float32"
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        getattr(losses, name)(jnp.zeros(2), jnp.ones(2))


@pytest.mark.parametrize("name", CLASSES)
def test_float_labels_where_integers_are_meant_are_an_error(name):
    message = r"`labels` must be integers in \[0, 3\), got float32"
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        getattr(losses, name)(jnp.zeros((2, 3)), jnp.zeros(2))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 1)], ids=str)
def test_class_labels_of_another_shape_are_an_error(name, shape):
    allowed = "(2,) or (2, 3)" if name in SOFT_CLASSES else "(2,)"
    message = f"`labels` must have shape {allowed} for `logits` of shape (2, 3), got {shape}"
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        getattr(losses, name)(jnp.zeros((2, 3)), jnp.zeros(shape, jnp.int32))


@pytest.mark.parametrize("name", [*CLASSES, "kl_divergence"])
@pytest.mark.parametrize("shape", [(), (2, 0)], ids=str)
def test_no_classes_are_an_error(name, shape):
    message = f"`logits` must have shape [..., classes] with at least one class, got {shape}"
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        getattr(losses, name)(jnp.zeros(shape), jnp.zeros(shape[:-1], jnp.int32))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("huber", {"delta": 0.0}, "`delta` must be positive, got 0.0"),
        ("sigmoid_focal", {"gamma": -1.0}, "`gamma` must be non-negative, got -1.0"),
        ("softmax_focal", {"gamma": -1.0}, "`gamma` must be non-negative, got -1.0"),
        ("sigmoid_focal", {"alpha": 1.5}, "`alpha` must be in [0, 1] or None, got 1.5"),
        ("softmax_cross_entropy", {"label_smoothing": 1.0}, "must be in [0, 1), got 1.0"),
        (
            "sigmoid_cross_entropy",
            {"label_smoothing": -0.1},
            "`label_smoothing` must be in [0, 1), got -0.1",
        ),
    ],
)
def test_settings_out_of_range_are_an_error(name, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(losses, name)(*map(jnp.asarray, example(name)), **settings)


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", *SOFT_CLASSES])
def test_class_weights_that_do_not_fit_are_an_error(name):
    outputs, labels = map(jnp.asarray, example(name))
    classes = 2 if name in BINARY else 3
    loss = functools.partial(getattr(losses, name), outputs, labels)
    with properties.unchecked():
        message = f"`class_weights` must have shape ({classes},), got (4,)"
        with pytest.raises(ValueError, match=re.escape(message)):
            loss(class_weights=jnp.ones(4))
        with pytest.raises(ValueError, match=r"`class_weights` must be non-negative, got -1\.0"):
            loss(class_weights=-jnp.ones(classes))
        with pytest.raises(TypeError, match="`class_weights` must be floating-point, got int32"):
            loss(class_weights=jnp.ones(classes, jnp.int32))


def test_all_losses_of_labels_or_targets_are_found_by_name():
    assert sorted(losses.LOSSES) == sorted(set(EVERY) - {"kl_divergence"})
    assert all(loss is getattr(losses, name) for name, loss in losses.LOSSES.items())
