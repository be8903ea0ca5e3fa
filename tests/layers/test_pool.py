"""Pooling against an exactly rounded sum."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxml.layers import global_average_pool
from tests import references

jitted = jax.jit(global_average_pool)


def images_of(shape, dtype: Any = np.float32):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 5, 3, 4), (2, 3, 1, 1, 2)], ids=str)
def test_every_channel_is_averaged_over_height_and_width(shape):
    x = images_of(shape)
    y = jitted(x)
    assert y.dtype == jnp.float32
    references.assert_close(y, references.global_average_pool(x.astype(np.float64)), 1e-6)


def test_pooling_needs_no_jit():
    x = images_of((2, 5, 3, 4))
    expected = references.global_average_pool(x.astype(np.float64))
    references.assert_close(global_average_pool(jnp.asarray(x)), expected, 1e-6)


def test_vmap_over_images_is_a_loop_over_images():
    references.assert_vmap_is_loop(global_average_pool, images_of((2, 5, 3, 4)))


def test_the_gradient_is_spread_evenly():
    gradient = jax.jit(jax.grad(lambda x: jitted(x)[:, 1].sum()))(images_of((2, 5, 3, 4)))
    expected = np.zeros((2, 5, 3, 4))
    expected[..., 1] = 1 / 15
    references.assert_close(gradient, expected, 1e-6)


def test_gradients_fit_finite_differences():
    # A linear function has no truncation error, so that the step may be wide.
    check_grads(jitted, (images_of((2, 5, 3, 4)),), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_summed_in_float32_and_rounded_once(dtype):
    x = (1 + images_of((2, 64, 64, 3))).astype(dtype)
    y = jitted(x)
    assert y.dtype == dtype
    expected = references.global_average_pool(x.astype(np.float64))
    rounding = 2.0 ** -{jnp.bfloat16: 8, jnp.float16: 11}[dtype]
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=1.01 * rounding)


def test_the_largest_float16_images_do_not_overflow():
    x = np.full((8, 8, 1), np.finfo(np.float16).max)
    np.testing.assert_array_equal(jitted(x), x[0, 0])


def test_float64_images_are_averaged_in_float64():
    x = images_of((2, 5, 3, 4), np.float64)
    with jax.enable_x64(True):
        y = jitted(x)
    assert y.dtype == jnp.float64
    references.assert_close(y, references.global_average_pool(x), 1e-15)


def test_a_large_mean_keeps_its_relative_precision():
    x = 1e4 + images_of((2, 5, 3, 4))
    references.assert_close(jitted(x), references.global_average_pool(x.astype(np.float64)), 1e-6)


def test_fewer_than_three_dimensions_are_an_error():
    message = r"x: at least \[height, width, channels\], not shape \(4, 4\)"
    with pytest.raises(ValueError, match=message):
        global_average_pool(jnp.zeros((4, 4)))
