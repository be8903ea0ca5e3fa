"""Input normalisation against loops and scikit-learn's StandardScaler."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.preprocessing import StandardScaler

from jaxml import normalize
from tests import references

to_unit_interval = jax.jit(normalize.to_unit_interval)
standardize = jax.jit(normalize.per_image_standardization)
apply = jax.jit(lambda fitted, images: fitted.apply(images))


def images_of(shape, dtype: Any = np.float32, seed=0):
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(np.iinfo(dtype).max, size=shape, dtype=dtype, endpoint=True)
    return rng.random(shape).astype(dtype)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_divided_by_the_largest_of_their_dtype(dtype, largest):
    images = images_of((2, 3, 4, 3), dtype)
    images.flat[:2] = 0, largest
    expected = np.reshape([pixel / largest for pixel in images.ravel().tolist()], images.shape)
    for scaled in (to_unit_interval(images), normalize.to_unit_interval(jnp.asarray(images))):
        assert scaled.dtype == jnp.float32
        references.assert_close(scaled, expected, 2 * references.ROUNDING["float32"])
        assert np.ravel(scaled)[:2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_floating_images_pass_unchanged(dtype):
    images = (images_of((2, 3, 3, 1)) * 7 - 3).astype(dtype)
    scaled = to_unit_interval(images)
    assert scaled.dtype == dtype
    np.testing.assert_array_equal(scaled, images)


@pytest.mark.parametrize("shape", [(5, 4, 3), (2, 5, 4, 3), (2, 3, 4, 4, 1)], ids=str)
def test_each_image_is_standardised_by_its_own_statistics(shape):
    images = images_of(shape)
    y = standardize(images)
    assert y.dtype == jnp.float32
    expected = references.per_image_standardization(images.astype(np.float64))
    references.assert_close(y, expected, 1e-6)


def test_standardisation_needs_no_jit():
    images = images_of((2, 5, 4, 3))
    expected = references.per_image_standardization(images.astype(np.float64))
    y = normalize.per_image_standardization(jnp.asarray(images))
    references.assert_close(y, expected, 1e-6)


def test_an_image_with_little_contrast_is_divided_by_one_over_the_root_of_its_size():
    images = np.stack([np.full((5, 4, 3), 0.5), 0.5 + 1e-3 * images_of((5, 4, 3))])
    images = images.astype(np.float32)
    y = standardize(images)
    np.testing.assert_array_equal(y[0], np.zeros((5, 4, 3)))
    expected = references.per_image_standardization(images.astype(np.float64))
    assert np.abs(expected[1]).max() > 1e-3
    # Half a rounding of the mean, 0.5, is 3e-8, and the divisor is 0.13.
    np.testing.assert_allclose(y, expected, atol=5e-7)


def test_standardisation_keeps_its_digits_where_the_mean_is_large():
    images = (1e4 + np.random.default_rng(0).normal(size=(2, 5, 4, 3))).astype(np.float32)
    expected = references.per_image_standardization(images.astype(np.float64))
    # The mean is rounded to a multiple of 2^-10, and so are the steps of its sum.
    np.testing.assert_allclose(standardize(images), expected, atol=2 * 2.0**-10)


def test_standardised_bfloat16_images_are_rounded_once():
    images = images_of((2, 5, 4, 3)).astype(jnp.bfloat16)
    y = standardize(images)
    assert y.dtype == jnp.bfloat16
    expected = references.per_image_standardization(images.astype(np.float64))
    np.testing.assert_allclose(
        np.asarray(y, np.float64), expected, rtol=1.01 * references.ROUNDING["bfloat16"], atol=1e-6
    )


def test_float64_images_are_standardised_in_float64():
    images = images_of((2, 5, 4, 3), np.float64)
    with jax.enable_x64(True):
        y = standardize(images)
    assert y.dtype == jnp.float64
    references.assert_close(y, references.per_image_standardization(images), 1e-14)


@pytest.mark.parametrize(
    "function", [normalize.to_unit_interval, normalize.per_image_standardization]
)
def test_vmap_over_images_is_a_loop_over_images(function):
    references.assert_vmap_is_loop(function, images_of((3, 4, 5, 2)))


@pytest.mark.parametrize("contrast", [1.0, 1e-2], ids=["contrast", "little contrast"])
def test_gradients_of_the_standardisation_fit_finite_differences(contrast):
    images = 0.5 + contrast * (images_of((2, 5, 4, 3), np.float64) - 0.5)
    with jax.enable_x64(True):
        check_grads(standardize, (images,), order=2, modes=["rev"])


def test_the_gradient_is_finite_at_a_constant_image():
    gradient = jax.jit(
        jax.grad(lambda x: jnp.square(normalize.per_image_standardization(x)).sum())
    )(np.full((3, 3, 1), 0.25, np.float32))
    np.testing.assert_array_equal(gradient, np.zeros((3, 3, 1)))


def test_fewer_than_three_dimensions_are_an_error():
    message = r"images: at least \[height, width, channels\], not shape \(4, 4\)"
    with pytest.raises(ValueError, match=message):
        normalize.per_image_standardization(jnp.zeros((4, 4)))


def test_standardising_integers_is_an_error_that_names_the_remedy():
    message = "images: floating point, not uint8; see to_unit_interval"
    with pytest.raises(ValueError, match=message):
        normalize.per_image_standardization(jnp.zeros((4, 4, 3), jnp.uint8))


def standard_scaler(fitted_on, images):
    channels = images.shape[-1]
    scaler: Any = StandardScaler().fit(fitted_on.reshape(-1, channels) / 255)
    return scaler, scaler.transform(images.reshape(-1, channels) / 255).reshape(images.shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_standardised_as_by_scikit_learn(channels):
    images = images_of((30, 5, 4, channels), np.uint8) // np.arange(1, channels + 1, dtype=np.uint8)
    others = images_of((4, 5, 4, channels), np.uint8, seed=1)
    scaler, expected = standard_scaler(images, others)
    fitted = normalize.ChannelStandardization.fit(images)
    assert fitted.mean.dtype == fitted.std.dtype == jnp.float32
    np.testing.assert_allclose(fitted.mean, scaler.mean_, rtol=1e-7)
    np.testing.assert_allclose(fitted.std, scaler.scale_, rtol=1e-7)
    y = apply(fitted, others)
    assert y.dtype == jnp.float32
    references.assert_close(y, expected, 1e-6)


@pytest.mark.parametrize("size", [1, 3, 11, 49, 60])
def test_a_channel_that_is_constant_has_a_standard_deviation_of_one(size):
    images = np.broadcast_to(np.arange(256, dtype=np.uint8), (size, 1, 1, 256))
    fitted = normalize.ChannelStandardization.fit(images)
    np.testing.assert_array_equal(fitted.std, np.ones(256))
    # A pixel and the mean are each at most a rounding off.
    np.testing.assert_allclose(apply(fitted, images[:1]), np.zeros((1, 1, 1, 256)), atol=2.0**-23)


def test_one_pixel_that_differs_makes_a_channel_vary():
    images = np.full((100, 10, 10, 1), 7, np.uint8)
    images[0, 0, 0, 0] = 8
    fitted = normalize.ChannelStandardization.fit(images)
    share = 1e-4
    assert np.ravel(fitted.std) == pytest.approx(np.sqrt(share * (1 - share)) / 255, rel=1e-6)


def test_channel_standardization_applies_to_any_leading_dimensions():
    images = images_of((4, 5, 4, 3), np.uint8)
    fitted = normalize.ChannelStandardization.fit(images)
    references.assert_vmap_is_loop(fitted.apply, images)
    stacked = images.reshape(2, 2, 5, 4, 3)
    _, expected = standard_scaler(images, stacked)
    references.assert_close(fitted.apply(jnp.asarray(stacked)), expected, 1e-6)


def test_channel_standardization_of_bfloat16_stays_bfloat16():
    images = images_of((10, 4, 4, 3), np.uint8)
    fitted = normalize.ChannelStandardization.fit(images)
    x = (images / 255).astype(jnp.bfloat16)
    y = apply(fitted, x)
    assert y.dtype == jnp.bfloat16
    _, expected = standard_scaler(images, x.astype(np.float64) * 255)
    # The mean, half a unit of the last digit off, then difference, deviation and quotient.
    mean_error = 0.25 * 2 * references.ROUNDING["bfloat16"] / 0.29
    atol = mean_error + 3 * np.abs(expected).max() * references.ROUNDING["bfloat16"]
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, atol=atol)


def test_the_gradient_through_channels_is_one_over_the_standard_deviation():
    images = images_of((10, 4, 4, 3), np.uint8)
    fitted = normalize.ChannelStandardization.fit(images)
    x = (images[:2] / 255).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda x: fitted.apply(x).sum()))(x)
    scaler, _ = standard_scaler(images, images)
    np.testing.assert_allclose(gradient, np.broadcast_to(1 / scaler.scale_, x.shape), rtol=1e-6)
    # A linear function has no truncation error, so that the step may be wide.
    check_grads(jax.jit(fitted.apply), (x,), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.zeros((2, 4, 4), np.uint8), r"uint8 of shape \(2, 4, 4\)"),
        (np.zeros((2, 4, 4, 3), np.float32), r"float32 of shape \(2, 4, 4, 3\)"),
    ],
)
def test_fitting_on_anything_but_uint8_images_is_an_error(images, found):
    with pytest.raises(ValueError, match=r"images: uint8 \[n, .*\], not " + found):
        normalize.ChannelStandardization.fit(images)


@pytest.mark.parametrize("name", ["unit", "per_image", "per_channel"])
def test_a_normalizer_by_name_does_to_raw_images_what_it_says(name):
    images = images_of((4, 5, 4, 3), np.uint8)
    fitted = normalize.NORMALIZERS[name].fit(images)
    expected = {
        "unit": images / 255,
        "per_image": references.per_image_standardization(images / 255),
        "per_channel": standard_scaler(images, images)[1],
    }[name]
    references.assert_close(apply(fitted, images), expected, 1e-6)
    assert len(jax.tree.leaves(fitted)) == (2 if name == "per_channel" else 0)
