"""Global pooling against exactly rounded sums, NumPy and torch."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import global_average_pool, global_max_pool
from tests import properties, references

POOLS = [global_average_pool, global_max_pool]
pools = pytest.mark.parametrize("pool", POOLS)


def images_of(shape, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=shape)


def spatial_axes(spatial_dims):
    return tuple(range(-spatial_dims - 1, -1))


def reference_average(x, *, spatial_dims=2):
    """The oracle of images, whose one long row holds all the pixels."""
    lead = x.shape[: x.ndim - spatial_dims - 1]
    return references.global_average_pool(x.reshape(*lead, 1, -1, x.shape[-1]))


def reference_max(x, *, spatial_dims=2):
    return x.max(axis=spatial_axes(spatial_dims))


REFERENCES = {global_average_pool: reference_average, global_max_pool: reference_max}


@pytest.mark.slow
@pools
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 5, 3, 4), (2, 3, 1, 1, 2)], ids=str)
def test_every_channel_is_pooled_over_height_and_width(pool, shape, scale):
    x = images_of(shape, scale)
    properties.check(
        pool, x, reference=REFERENCES[pool], by="NumPy float64", grads=2 if scale == 1 else 0
    )


@pytest.mark.slow
@pools
@pytest.mark.parametrize("spatial_dims", [1, 3])
def test_other_numbers_of_spatial_dimensions(pool, spatial_dims):
    settings = {"spatial_dims": spatial_dims}
    x = images_of((2, 2, 3, 4, 2))
    properties.check(pool, x, reference=REFERENCES[pool], by="NumPy float64", grads=0, **settings)


@pools
def test_torch_agrees(pool):
    torch = pytest.importorskip("torch")
    name = {global_average_pool: "adaptive_avg_pool2d", global_max_pool: "adaptive_max_pool2d"}

    def adaptive(x):
        images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
        return getattr(torch.nn.functional, name[pool])(images, 1)[..., 0, 0].numpy()

    properties.check(pool, images_of((2, 5, 3, 4)), reference=adaptive, by="torch", grads=0)


def test_equal_values_share_the_gradient():
    x = jnp.array([[2.0, 2.0], [1.0, 2.0]])[..., None]
    gradient = jax.grad(lambda x: global_max_pool(x).sum())(x)
    np.testing.assert_allclose(gradient[..., 0], [[1 / 3, 1 / 3], [0, 1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_summed_in_float32_and_rounded_once(dtype):
    x = (1 + images_of((2, 64, 64, 3))).astype(dtype)
    y = references.plain_jit(global_average_pool)(x)
    assert y.dtype == dtype
    expected = references.global_average_pool(np.asarray(x, np.float64))
    rounding = 2.0 ** -{jnp.bfloat16: 8, jnp.float16: 11}[dtype]
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=1.01 * rounding)


def test_the_largest_float16_images_do_not_overflow():
    x = jnp.full((8, 8, 1), np.finfo(np.float16).max, jnp.float16)
    np.testing.assert_array_equal(global_average_pool(x), x[0, 0])


def test_a_large_mean_keeps_its_relative_precision():
    x = (1e4 + images_of((2, 5, 3, 4))).astype(np.float32)
    y = global_average_pool(jnp.asarray(x))
    references.assert_close(y, references.global_average_pool(x.astype(np.float64)), 1e-6)


def test_the_largest_of_integers_is_an_integer():
    x = np.random.default_rng(0).integers(-99, 99, (2, 4, 5, 3), np.int32)
    y = global_max_pool(jnp.asarray(x))
    assert y.dtype == jnp.int32
    np.testing.assert_array_equal(y, x.max((1, 2)))


@pools
@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((4, 4), {}, "must have 2 spatial dimensions and channels, got shape (4, 4)"),
        (
            (4, 4),
            {"spatial_dims": 3},
            "`x` must have 3 spatial dimensions and channels, got shape (4, 4)",
        ),
        ((4, 4, 2), {"spatial_dims": 0}, "`spatial_dims` must be at least 1, got 0"),
        ((2, 4, 0, 2), {}, "`x` must have at least one pixel, got shape (2, 4, 0, 2)"),
    ],
)
def test_shapes_that_do_not_fit_raise(pool, shape, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        functools.partial(pool, **settings)(jnp.zeros(shape))


def test_integers_have_no_mean_in_their_dtype():
    message = "`x` must be floating-point, got int32"
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        global_average_pool(jnp.ones((4, 4, 2), jnp.int32))
