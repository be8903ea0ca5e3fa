"""Norms of large offsets, small deviations and overflowing squares, against NumPy float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import layers
from jaxml.normalize import per_image_standardization
from tests import references

pytestmark = pytest.mark.slow

EPSILON = 1e-5
NORMS = {
    "layer": (layers.layer_norm, (-1,)),
    "layer over the pixels": (partial(layers.layer_norm, axes=(1, 2)), (1, 2)),
    "group": (partial(layers.group_norm, groups=1), (1, 2, 3)),
    "instance": (layers.instance_norm, (1, 2)),
    "weights": (partial(layers.weight_standardization, epsilon=EPSILON), (0, 1, 2)),
    "image": (per_image_standardization, (1, 2, 3)),
}


def by_formula(x, cotangent, axes, floor):
    """The normalized array and the gradient; `floor` replaces epsilon where it is not None."""
    mean = partial(np.mean, axis=axes, keepdims=True)
    centred = x - mean(x)
    variance = mean(centred**2)
    square = variance + EPSILON if floor is None else np.maximum(variance, floor)
    y = centred / np.sqrt(square)
    # Where the floor holds, the divisor is a constant.
    moves = 1.0 if floor is None else variance > floor
    slope = cotangent - mean(cotangent) - moves * y * mean(cotangent * y)
    return y, slope / np.sqrt(square)


@partial(references.optimized_jit, static_argnums=0)
def value_and_pull(function, x, cotangent):
    y, pull = jax.vjp(function, x)
    return y, pull(cotangent)[0]


def check(norm, x, rng, rtol=2e-6):
    function, axes = NORMS[norm]
    cotangent = rng.normal(size=x.shape).astype(np.float32)
    floor = 1 / x[0].size if norm == "image" else None
    y, gradient = value_and_pull(function, x, cotangent)
    expected = by_formula(np.float64(x), np.float64(cotangent), axes, floor)
    references.assert_trees_close((y, gradient), expected, rtol)


@pytest.mark.parametrize("offset", [1e6, -3e4])
@pytest.mark.parametrize("norm", NORMS)
def test_no_digit_of_a_small_deviation_from_a_large_mean_is_lost(norm, offset):
    rng = np.random.default_rng(0)
    for deviation in (1.0, 0.25):
        x = (offset + deviation * rng.normal(size=(2, 4, 5, 6))).astype(np.float32)
        check(norm, x, rng)


@pytest.mark.parametrize("norm", NORMS)
def test_any_offset_and_deviation(norm):
    rng = np.random.default_rng(0)
    shapes = [(3, 4, 4, 5), (2, 7, 3, 16), (2, 1, 17, 3), (1, 33, 2, 8)]
    for case in range(300):
        offset = rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 7)
        deviation = 10 ** rng.uniform(-5, 3)
        x = (offset + deviation * rng.normal(size=shapes[case % 4])).astype(np.float32)
        check(norm, x, rng, rtol=1e-5)


def test_a_batch_is_normalized_up_to_the_rounding_of_its_mean():
    rng = np.random.default_rng(0)
    for _ in range(300):
        offset = rng.choice([-1, 1]) * 10 ** rng.uniform(-2, 7)
        x = (offset + 10 ** rng.uniform(-5, 3) * rng.normal(size=(3, 4, 5, 2))).astype(np.float32)
        expected, _ = by_formula(np.float64(x), np.zeros(x.shape), (0, 1, 2), None)
        rounding = 2**-24 * abs(offset) / np.sqrt(np.float64(x).var((0, 1, 2)) + EPSILON)
        error = np.abs(batch_norm(x) - expected) - 2 * rounding
        assert error.max() < 1e-5 * np.abs(expected).max()


@references.optimized_jit
def batch_norm(x):
    mean, variance = layers.moments(x, (0, 1, 2))
    return layers.batch_normalization(x, mean, variance, None, None, EPSILON)


@pytest.mark.parametrize("norm", [*NORMS, "rms", "batch"])
def test_squares_that_overflow_are_not_normalized_to_zeros(norm):
    function = {"rms": layers.rms_norm, "batch": batch_norm}.get(norm) or NORMS[norm][0]
    x = 1e20 * np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32)
    assert np.isnan(function(jnp.asarray(x))).all()


def test_the_curvature_of_the_variance_where_it_is_zero():
    curvature = jax.hessian(lambda x: layers.moments(x, [0])[1])(jnp.full(4, 0.1))
    np.testing.assert_allclose(curvature, 2 / 4 * (np.eye(4) - 1 / 4), rtol=1e-6)
