"""The parameter-free shortcut against a copy pixel by pixel."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxml.layers import zero_pad_shortcut
from tests import references

jitted = jax.jit(zero_pad_shortcut, static_argnames=("strides", "features"))


def images_of(shape, dtype: Any = np.float32):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "features"),
    [((5, 4, 3), 6), ((2, 4, 4, 2), 4), ((2, 1, 2, 2), 2), ((2, 2, 3, 7, 1), 4)],
    ids=str,
)
def test_every_strided_pixel_is_kept_between_channels_of_zeros(shape, features, strides):
    x = images_of(shape)
    y = jitted(x, strides=strides, features=features)
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, references.zero_pad_shortcut(x, strides, features))


def test_the_shortcut_needs_no_jit():
    x = images_of((2, 5, 5, 3))
    y = zero_pad_shortcut(jnp.asarray(x), strides=2, features=6)
    np.testing.assert_array_equal(y, references.zero_pad_shortcut(x, 2, 6))


def test_an_odd_zero_comes_last():
    y = jitted(np.ones((1, 1, 1), np.float32), strides=1, features=4)
    assert np.ravel(y).tolist() == [0.0, 1.0, 0.0, 0.0]


def test_vmap_over_images_is_a_loop_over_images():
    shortcut = partial(zero_pad_shortcut, strides=2, features=6)
    references.assert_vmap_is_loop(shortcut, images_of((2, 5, 5, 3)), rtol=0)


def test_only_kept_pixels_have_a_gradient():
    x, cotangent = images_of((2, 5, 4, 3)), images_of((2, 3, 2, 6))
    shortcut = partial(zero_pad_shortcut, strides=2, features=6)
    (gradient,) = jax.jit(lambda x, c: jax.vjp(shortcut, x)[1](c))(x, cotangent)
    expected = np.zeros(x.shape)
    for i, j in np.ndindex(3, 2):
        expected[:, 2 * i, 2 * j] = cotangent[:, i, j, 1:4]
    np.testing.assert_array_equal(gradient, expected)


def test_gradients_fit_finite_differences():
    shortcut = jax.jit(partial(zero_pad_shortcut, strides=2, features=6))
    # A linear function has no truncation error, so that the step may be wide.
    check_grads(shortcut, (images_of((2, 5, 4, 3)),), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.int32, np.uint8])
def test_values_of_every_dtype_pass_bit_for_bit(dtype):
    x = (100 * np.abs(images_of((2, 5, 4, 3)))).astype(dtype)
    y = jitted(x, strides=2, features=5)
    assert y.dtype == dtype
    np.testing.assert_array_equal(
        np.asarray(y, np.float64), references.zero_pad_shortcut(x.astype(np.float64), 2, 5)
    )


def test_extreme_values_do_not_touch_their_neighbours():
    x = np.array([1e4, np.inf, np.nan, 3e38], np.float32).reshape(2, 2, 1)
    y = np.asarray(jitted(x, strides=1, features=3))
    np.testing.assert_array_equal(y[..., 1], x[..., 0])
    np.testing.assert_array_equal(y[..., [0, 2]], np.zeros((2, 2, 2)))


def test_fewer_features_than_channels_are_an_error():
    with pytest.raises(ValueError, match="features: at least the 3 channels of x, not 2"):
        zero_pad_shortcut(jnp.zeros((4, 4, 3)), strides=1, features=2)


@pytest.mark.parametrize("strides", [0, -1])
def test_strides_below_one_are_an_error(strides):
    with pytest.raises(ValueError, match=f"strides: at least 1, not {strides}"):
        zero_pad_shortcut(jnp.zeros((4, 4, 3)), strides=strides, features=3)
