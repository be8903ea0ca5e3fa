"""The parameter-free shortcut against a copy pixel by pixel."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import zero_pad_shortcut
from tests import properties, references

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


@pytest.mark.slow
def test_the_shortcut_has_the_properties_of_a_pure_function():
    def reference(x, *, strides, features):
        return references.zero_pad_shortcut(x, strides, features)

    by = "NumPy float64"
    x = images_of((2, 5, 5, 3))
    properties.check(
        zero_pad_shortcut, x, reference=reference, by=by, grads=2, strides=2, features=6
    )


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    x = images_of((2, 5, 4, 4))
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())[:, :, ::2, ::2]
    expected = torch.nn.functional.pad(images, (0, 0, 0, 0, 2, 2)).numpy()
    y = jitted(x, strides=2, features=8)
    properties.agree(zero_pad_shortcut, y, np.moveaxis(expected, 1, -1), by="torch", rtol=0)


def test_an_odd_zero_comes_last():
    y = jitted(np.ones((1, 1, 1), np.float32), strides=1, features=4)
    assert np.ravel(y).tolist() == [0.0, 1.0, 0.0, 0.0]


def test_only_kept_pixels_have_a_gradient():
    x, cotangent = images_of((2, 5, 4, 3)), images_of((2, 3, 2, 6))
    shortcut = partial(zero_pad_shortcut, strides=2, features=6)
    (gradient,) = jax.jit(lambda x, c: jax.vjp(shortcut, x)[1](c))(x, cotangent)
    expected = np.zeros(x.shape)
    for i, j in np.ndindex(3, 2):
        expected[:, 2 * i, 2 * j] = cotangent[:, i, j, 1:4]
    np.testing.assert_array_equal(gradient, expected)


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
    with pytest.raises(ValueError, match="`features` must be at least the 3 channels of x, got 2"):
        zero_pad_shortcut(jnp.zeros((4, 4, 3)), strides=1, features=2)


@pytest.mark.parametrize("strides", [0, -1])
def test_strides_below_one_are_an_error(strides):
    with pytest.raises(ValueError, match=f"`strides` must be at least 1, got {strides}"):
        zero_pad_shortcut(jnp.zeros((4, 4, 3)), strides=strides, features=3)


def test_fewer_than_three_dimensions_are_an_error():
    message = re.escape("`x` must be [..., height, width, channels], got shape (4, 3)")
    with properties.unchecked(), pytest.raises(ValueError, match=message):
        zero_pad_shortcut(jnp.zeros((4, 3)), strides=1, features=3)
