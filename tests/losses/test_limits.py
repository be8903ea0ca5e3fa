"""Values, gradients and second derivatives at infinite and nearly infinite margins."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import losses
from tests import references

FOCAL: list[dict[str, Any]] = [{"gamma": gamma} for gamma in (0.0, 0.5, 1.0, 2.0, 3.0)]
SIGMOID = [(losses.sigmoid_cross_entropy, {}), *((losses.sigmoid_focal, k) for k in FOCAL)]
SOFTMAX = [(losses.softmax_cross_entropy, {}), *((losses.softmax_focal, k) for k in FOCAL)]
SIGMOID.append((losses.sigmoid_focal, {"alpha": 0.5}))
BOTH_LABELS = [0, 1]
MARGINS = np.array([np.inf, 3e38, 1e20, 1e4], np.float32)


def binary(loss, label, margin, **settings):
    """The loss where the label is ahead by a margin."""
    return loss(margin if label else -margin, jnp.asarray(label), **settings)


def of_two_classes(loss, label, margin, **settings):
    logits = jnp.stack([margin, jnp.zeros(())])
    return loss(logits if label == 0 else logits[::-1], jnp.asarray(label), **settings)


def divergence(loss, label, margin, **settings):
    return of_two_classes(lambda z, y: loss(z, jnp.eye(2)[y], **settings), label, margin)


CASES = [
    *((binary, *case) for case in SIGMOID),
    *((of_two_classes, *case) for case in SOFTMAX),
    (divergence, losses.kl_divergence, {}),
]


def derivatives(function, points):
    """The value and the first two derivatives, `[points, 3]`."""
    slope = jax.grad(function)
    every = jax.vmap(lambda z: jnp.stack([function(z), slope(z), jax.grad(slope)(z)]))
    return references.plain_jit(every)(np.asarray(points, np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("label", BOTH_LABELS)
@pytest.mark.parametrize(("of", "loss", "settings"), CASES)
def test_what_is_certain_and_right_costs_nothing(of, loss, settings, label):
    function = partial(of, loss, label, **settings)
    np.testing.assert_array_equal(derivatives(function, MARGINS), np.zeros((len(MARGINS), 3)))


@pytest.mark.slow
@pytest.mark.parametrize("label", BOTH_LABELS)
@pytest.mark.parametrize(("of", "loss", "settings"), CASES)
def test_what_is_certain_and_wrong_costs_its_margin(of, loss, settings, label):
    scale = settings.get("alpha", 1.0)
    function = partial(of, loss, label, **settings)
    expected = [[scale * margin, -scale, 0] for margin in MARGINS]
    np.testing.assert_array_equal(derivatives(function, -MARGINS), expected)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.25, 0.75])
@pytest.mark.parametrize(("loss", "settings"), SIGMOID)
def test_a_soft_label_costs_its_smaller_part(loss, settings, share):
    # As z grows, 1 - p_y becomes 1 - y, and the cross-entropy (1 - y) z.
    def function(z):
        return loss(z, jnp.float32(share), **settings)

    points, expected = (np.inf, -np.inf, 1e20, -1e20), []
    for z in points:
        wrong = 1 - share if z > 0 else share
        power = 2.0 if "alpha" in settings else settings.get("gamma", 0.0)
        slope = wrong ** (1 + power) * settings.get("alpha", 1.0)
        expected.append([slope * np.abs(np.float32(z)), np.copysign(slope, z), 0])
    np.testing.assert_allclose(derivatives(function, points), expected, 1e-6, 0)


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("label", BOTH_LABELS)
def test_the_focal_loss_is_precise_where_the_rest_is_nothing(gamma, label):
    margins = np.array([1.0, 15.0, 20.0, 40.0, 80.0, 100.0])
    margins = margins[(1 + gamma) * margins < 85]  # the others underflow
    function = partial(binary, losses.sigmoid_focal, label, gamma=gamma)
    got = jax.vmap(jax.value_and_grad(function))(margins.astype(np.float32))
    miss, entropy = np.exp(-np.logaddexp(0, margins)), np.logaddexp(0, -margins)
    np.testing.assert_allclose(got[0], miss**gamma * entropy, 1e-5)
    slope = -(miss**gamma) * (gamma * (1 - miss) * entropy + miss)
    np.testing.assert_allclose(got[1], slope, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_class_without_weight_costs_nothing_even_where_it_is_impossible(alpha):
    label = jnp.asarray(int(alpha == 0))
    z = jnp.where(label, -jnp.inf, jnp.inf)
    weights = jnp.array([alpha, 1 - alpha])[::-1]
    pairs = jnp.stack([jnp.zeros(()), z])
    for function, at in [
        (lambda z: losses.sigmoid_focal(z, label, alpha=alpha), z),
        (lambda z: losses.sigmoid_cross_entropy(z, label, class_weights=weights), z),
        (lambda z: losses.softmax_cross_entropy(z, label, class_weights=weights), pairs),
        (lambda z: losses.softmax_focal(z, label, class_weights=weights), pairs),
    ]:
        np.testing.assert_array_equal(function(at), 0)
        np.testing.assert_array_equal(jax.grad(function)(at), np.zeros(at.shape))


def test_a_divergence_from_a_certain_class_is_0_or_infinite():
    logits = jnp.array([[jnp.inf, 0.0], [-jnp.inf, 0.0]])
    for row, (right, wrong) in zip(logits, [(0, 1), (1, 0)], strict=True):
        for targets, expected in [(jnp.eye(2)[right], 0), (jnp.eye(2)[wrong], np.inf)]:
            np.testing.assert_array_equal(losses.kl_divergence(row, targets), expected)


@pytest.mark.parametrize("top", [np.inf, 3e38])
def test_the_square_of_an_infinite_hinge_has_infinite_slopes_for_two_classes_alone(top):
    def function(z):
        return losses.crammer_singer_hinge(z, jnp.asarray(2), squared=True)

    z = jnp.array([top, -top, 0.0], jnp.float32)
    value, slopes = jax.value_and_grad(function)(z)
    with np.errstate(over="ignore"):
        slope = 2 * (1 + np.float32(top))
    np.testing.assert_array_equal(value, np.inf)
    np.testing.assert_array_equal(slopes, [slope, 0, -slope])
