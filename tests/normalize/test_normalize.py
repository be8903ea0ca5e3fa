"""Input normalisation against loops, scikit-learn and SciPy."""

import functools
import math
import re
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads
from sklearn.decomposition import PCA
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from jaxml import normalize
from tests import properties, references

to_unit_interval = jax.jit(normalize.to_unit_interval)
standardize = jax.jit(normalize.per_image_standardization)
apply = jax.jit(lambda fitted, x: fitted.apply(x))
invert = jax.jit(lambda fitted, y: fitted.invert(y))


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
        properties.agree(normalize.to_unit_interval, scaled, expected, by="NumPy float64")


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


@pytest.mark.parametrize(
    "function", [normalize.to_unit_interval, normalize.per_image_standardization]
)
def test_vmap_over_images_is_a_loop_over_images(function):
    references.assert_vmap_is_loop(function, images_of((3, 4, 5, 2)))


@pytest.mark.slow
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
    message = r"`images` must be \[..., height, width, channels\], got \(4, 4\)"
    with properties.unchecked(), pytest.raises(ValueError, match=message):
        normalize.per_image_standardization(jnp.zeros((4, 4)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.uint8])
@pytest.mark.parametrize("shape", [(2, 0, 8, 3), (8, 0, 3), (2, 8, 8, 0)], ids=str)
def test_an_image_without_a_value_is_an_error(shape, dtype):
    message = re.escape(f"`images` must have at least one value each, got shape {shape}")
    with pytest.raises(ValueError, match=message):
        normalize.per_image_standardization(jnp.ones(shape, dtype))


def test_no_images_are_standardised_to_none():
    assert normalize.per_image_standardization(jnp.ones((0, 8, 8, 3))).shape == (0, 8, 8, 3)


def test_per_image_standardization_obeys():
    properties.check(
        normalize.per_image_standardization,
        images_of((2, 3, 2, 2), np.float64),
        reference=references.per_image_standardization,
        by="NumPy float64",
        grads=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32])
def test_integers_are_standardised_in_the_unit_interval_and_saturate(dtype):
    images = images_of((2, 4, 4, 3), dtype)
    limits = np.iinfo(dtype)
    scaled = references.per_image_standardization(images / limits.max) * (limits.max + 0.5)
    exact = np.trunc(np.clip(scaled, limits.min, limits.max))
    y = standardize(images)
    assert y.dtype == dtype
    # The digits of float32, where the integers have as many, and a truncation the other way.
    off = 1 + 1e-6 * limits.max if limits.max > 2**15 else 1 if limits.max > 255 else 0
    np.testing.assert_allclose(np.asarray(y, np.float64), exact, rtol=0, atol=off)
    assert limits.min in np.asarray(y) or limits.min < 0
    assert exact.max() == limits.max


def test_a_constant_integer_image_becomes_zero():
    y = standardize(np.full((3, 3, 1), 200, np.uint8))
    np.testing.assert_array_equal(y, np.zeros((3, 3, 1), np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_from_unit_interval_undoes_to_unit_interval(dtype):
    limits = np.iinfo(dtype)
    integers = np.arange(limits.min, limits.max + 1, dtype=dtype)
    back = normalize.from_unit_interval(normalize.to_unit_interval(jnp.asarray(integers)), dtype)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, integers)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.uint32])
def test_from_unit_interval_multiplies_truncates_and_saturates(dtype):
    limits = np.iinfo(dtype)
    x = np.array([-1e4, -1.25, -0.3, 0.0, 0.3, 0.5, 0.999, 1.0, 1.25, 1e4], np.float32)
    scaled = [Fraction(float(v)) * (limits.max + Fraction(1, 2)) for v in x]
    expected = [min(max(math.trunc(v), limits.min), limits.max) for v in scaled]
    y = normalize.from_unit_interval(jnp.asarray(x), dtype)
    assert y.dtype == dtype
    if limits.max < 2**24:
        assert y.tolist() == expected
    properties.agree(
        normalize.from_unit_interval, y, np.array(expected, np.float64), by="NumPy float64"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: normalize.to_unit_interval(jnp.ones(3, bool)),
            "`images` must be integer or floating-point, got b",
        ),
        (
            lambda: normalize.per_image_standardization(jnp.ones((3, 3, 3), bool)),
            "`images` must be integer or floating-point, got bool",
        ),
        (
            lambda: normalize.from_unit_interval(jnp.ones(3, int)),
            "`images` must be floating-point, got int32",
        ),
        (
            lambda: normalize.from_unit_interval(jnp.ones(3), jnp.float32),
            "`dtype` must be an integer dtype, got float32",
        ),
        (
            lambda: normalize.PerImageStandardization().invert(jnp.ones((3, 3, 3))),
            "PerImageStandardization has no inverse",
        ),
    ],
)
def test_other_dtypes_and_missing_inverses_raise(call, message):
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        call()


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


def features():
    """A set of correlated features, and others of the same kind."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(4, 4))
    return rng.normal(size=(30, 4)) @ mix + 3, rng.normal(size=(5, 4)) @ mix + 3


def scikit_learn(transformer):
    """Its `transform` after a fit on the set of features."""
    return transformer.fit(features()[0]).transform


FITTED: dict[str, Any] = {
    "standardization": (normalize.ChannelStandardization, {}, StandardScaler()),
    "min_max": (normalize.MinMaxScaling, {}, MinMaxScaler()),
    "range": (
        normalize.MinMaxScaling,
        {"lower": -1.0, "upper": 3.0},
        MinMaxScaler(feature_range=(-1, 3)),
    ),
    "pca": (normalize.PCAWhitening, {"epsilon": 0.0}, PCA(whiten=True)),
    "components": (
        normalize.PCAWhitening,
        {"epsilon": 0.0, "components": 2},
        PCA(2, whiten=True),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FITTED)
def test_features_are_transformed_as_by_scikit_learn(name):
    kind, choice, transformer = FITTED[name]

    @functools.wraps(kind.apply)
    def fit_and_apply(x):
        return kind.fit(features()[0], **choice).apply(x)

    properties.check(
        fit_and_apply, features()[1], reference=scikit_learn(transformer), by="scikit-learn"
    )


def zca(x, data, epsilon):
    """`(C + epsilon)^(-1/2) (x - mu)`, the root by SciPy."""
    covariance = np.cov(data.T) + epsilon * np.eye(data.shape[1])
    return (x - data.mean(0)) @ np.linalg.inv(scipy.linalg.sqrtm(covariance)).real


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_zca_is_the_inverse_root_of_the_covariance(epsilon):
    @functools.wraps(normalize.ZCAWhitening.apply)
    def fit_and_apply(x):
        return normalize.ZCAWhitening.fit(features()[0], epsilon=epsilon).apply(x)

    properties.check(
        fit_and_apply,
        features()[1],
        reference=lambda x: zca(x, features()[0], epsilon),
        by="SciPy",
        vmap=not epsilon,
        grads=0,
    )


def test_epsilon_is_added_to_each_eigenvalue():
    data, x = features()
    values, vectors = np.linalg.eigh(np.cov(data.T))
    expected = np.abs((x - data.mean(0)) @ vectors[:, ::-1] / np.sqrt(values[::-1] + 0.5))
    y = normalize.PCAWhitening.fit(data, epsilon=0.5).apply(jnp.float32(x))
    properties.agree(normalize.PCAWhitening.apply, np.abs(y), expected, by="NumPy float64")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["min_max", "per_channel", "pca", "zca", "unit"])
def test_invert_undoes_apply(name):
    kind = normalize.NORMALIZERS[name]
    for data in (images_of((20, 2, 2, 3), np.uint8), images_of((20, 2, 3)) * 9 - 4):
        fitted = kind.fit(data)
        expected = data / 255.0 if data.dtype == np.uint8 else data
        back = invert(fitted, apply(fitted, data))
        properties.agree(kind.invert, back, expected.astype(np.float64), by="theory")
        if data.dtype == np.uint8:
            np.testing.assert_array_equal(normalize.from_unit_interval(back), data)
        references.assert_vmap_is_loop(fitted.apply, data[:3], rtol=1e-5)
        references.assert_vmap_is_loop(fitted.invert, apply(fitted, data[:3]), rtol=1e-5)


@pytest.mark.parametrize("name", ["pca", "zca"])
def test_invert_after_fewer_components_is_the_projection(name):
    data, x = features()
    fitted: Any = normalize.NORMALIZERS[name]
    fitted = fitted.fit(data, components=2)
    pca = PCA(2).fit(data)
    expected = pca.inverse_transform(pca.transform(x))
    actual = fitted.invert(fitted.apply(jnp.float32(x)))
    properties.agree(type(fitted).invert, actual, expected, by="scikit-learn")


def smooth_images(count, seed=0):
    """Images whose neighboring pixels are alike."""
    noise = np.random.default_rng(seed).normal(size=(count, 9, 8, 3))
    return np.cumsum(np.cumsum(noise, 1), 2).astype(np.float32)


def patches_of(images, size):
    found = [extract_patches_2d(image, (size, size)) for image in images.astype(np.float64)]
    return np.reshape(found, (-1, size * size * images.shape[3]))


def whitened_patches(x, data, epsilon):
    """Whitened 2x2 patches of x; the largest entry of each eigenvector is positive."""
    patches, rows = patches_of(data, 2), patches_of(x, 2)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    vectors = vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(0), range(len(values))]
    z = (rows - patches.mean(0)) @ (vectors * np.sign(largest)) / np.sqrt(values[::-1] + epsilon)
    return z.reshape(len(x), x.shape[1] - 1, x.shape[2] - 1, -1)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_patches_are_whitened_as_by_scikit_learn(size):
    data, x = smooth_images(20), smooth_images(5, seed=1)
    components = min(size * size * 3, 8)
    pca = PCA(components, whiten=True).fit(patches_of(data, size))
    expected = pca.transform(patches_of(x, size))
    fitted = normalize.PatchWhitening.fit(data, epsilon=0.0, size=size, components=components)
    y = apply(fitted, x)
    assert y.shape == (5, 10 - size, 9 - size, components)
    expected = np.abs(expected.reshape(y.shape))
    properties.agree(normalize.PatchWhitening.apply, np.abs(y), expected, by="scikit-learn")


def test_whitened_patches_are_correct_in_every_dtype():
    @functools.wraps(normalize.PatchWhitening.apply)
    def fit_and_apply(x):
        return normalize.PatchWhitening.fit(smooth_images(20), epsilon=0.5).apply(x)

    images = smooth_images(3, seed=1)[:, :4, :5].astype(np.float64)
    properties.check(
        fit_and_apply,
        images,
        reference=lambda x: whitened_patches(x, smooth_images(20), 0.5),
        by="NumPy float64",
    )


@pytest.mark.parametrize("shape", [(4, 9, 8, 3), (2, 3, 2, 5, 1)], ids=str)
@pytest.mark.parametrize("size", [1, 2])
def test_whitened_patches_give_the_image_back(shape, size):
    data = images_of(shape, np.uint8)
    fitted = normalize.PatchWhitening.fit(data.reshape(-1, *shape[-3:]), size=size)
    y = apply(fitted, data)
    assert y.shape[:-3] == shape[:-3]
    properties.agree(normalize.PatchWhitening.invert, invert(fitted, y), data / 255, by="theory")
    references.assert_vmap_is_loop(fitted.invert, y, rtol=1e-5)


def test_overlapping_patches_are_averaged():
    fitted = normalize.PatchWhitening.fit(images_of((9, 4, 4, 1)), epsilon=0.0, size=2)
    patches = images_of((2, 3, 4))  # 2x3 patches of an image of 3x4 pixels
    total, count = np.zeros((3, 4)), np.zeros((3, 4))
    for row, column in np.ndindex(2, 3):
        total[row : row + 2, column : column + 2] += patches[row, column].reshape(2, 2)
        count[row : row + 2, column : column + 2] += 1
    mean, basis, deviation = map(np.asarray, (fitted.mean, fitted.basis, fitted.deviation))
    z = jnp.asarray((patches - mean) @ basis / deviation)
    references.assert_close(fitted.invert(z)[..., 0], total / count, 1e-5)


def test_patches_of_a_few_images_are_enough():
    data = images_of((7, 4, 4, 1))
    few = normalize.PatchWhitening.fit(data, max_patches=9 * 3 + 1)
    same = normalize.PatchWhitening.fit(data[[0, 3, 6]])
    jax.tree.map(np.testing.assert_array_equal, few, same)


@pytest.mark.parametrize("kind", [normalize.PCAWhitening, normalize.ZCAWhitening])
def test_a_set_of_low_rank_is_whitened_where_it_varies(kind):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 4)) + 1
    fitted = kind.fit(data, epsilon=0.0)
    assert fitted.deviation.shape == (2,)
    back = fitted.invert(fitted.apply(jnp.float32(data)))
    references.assert_close(back, data)
    with pytest.raises(ValueError, match=r"`components` must be in \[1, 2\] for this set, got 3"):
        kind.fit(data, epsilon=0.0, components=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", normalize.NORMALIZERS)
def test_constant_and_extreme_data_stay_finite(name):
    data = np.zeros((4, 2, 2, 3), np.float32)
    data[..., 1], data[:2, ..., 2], data[2:, ..., 2] = 7.7, 1e4, -1e4
    fitted = normalize.NORMALIZERS[name].fit(data)
    assert np.isfinite(apply(fitted, data)).all()
    assert np.isfinite(jax.grad(lambda x: apply(fitted, x).sum())(jnp.asarray(data))).all()


@pytest.mark.parametrize("mean", [1e4, -1e4])
def test_statistics_of_floats_keep_their_digits_where_the_mean_is_large(mean):
    data = (mean + np.random.default_rng(0).normal(size=(50, 2, 3))).astype(np.float32)
    fitted = normalize.ChannelStandardization.fit(data)
    np.testing.assert_allclose(fitted.std, data.astype(np.float64).std((0, 1)), rtol=1e-7)


def test_a_large_set_is_taken_in_parts():
    data = images_of((2500, 1, 1, 3), np.uint16)
    fitted = normalize.PCAWhitening.fit(data, epsilon=0.0)
    expected = PCA(whiten=True).fit(data.reshape(-1, 3) / 65535)
    np.testing.assert_allclose(fitted.mean, expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(np.square(fitted.deviation), expected.explained_variance_, rtol=1e-6)


@pytest.mark.parametrize("kind", ["per_channel", "min_max", "pca", "zca"])
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            np.zeros((2, 4, 4), np.uint8),
            ValueError,
            "`x` of dtype uint8 must be [n, height, width, channels], got",
        ),
        (np.zeros(4), ValueError, "`x` must be [n, ..., channels], got shape (4,)"),
        (np.zeros((0, 4)), ValueError, "examples and no empty dimension, got shape (0, 4)"),
        (np.full((2, 4), np.nan), ValueError, "`x` must be finite, got NaN or infinity"),
        (
            np.zeros((2, 4), int),
            TypeError,
            "`x` must be uint8, uint16 or floating-point, got int64",
        ),
    ],
)
def test_invalid_sets_raise(kind, data, error, message):
    with pytest.raises(error, match=re.escape(message)):
        normalize.NORMALIZERS[kind].fit(data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: normalize.MinMaxScaling.fit(x, lower=1.0),
            "`upper` must be greater than lower=1.0, got 1.0",
        ),
        (
            lambda x: normalize.PCAWhitening.fit(x, epsilon=-1.0),
            "`epsilon` must be non-negative, got -1.0",
        ),
        (
            lambda x: normalize.PCAWhitening.fit(x[:1]),
            "`x` must have at least 2 examples and no empty",
        ),
        (
            lambda x: normalize.PCAWhitening.fit(x, components=5),
            "`components` must be in [1, 4] for this set",
        ),
        (lambda x: normalize.PCAWhitening.fit(x, components=0), "this set, got 0"),
        (
            lambda x: normalize.PCAWhitening.fit(np.ones((3, 2)), epsilon=0.0),
            "`epsilon` must be positive for a constant set, got 0",
        ),
        (
            lambda x: normalize.MinMaxScaling.fit(x).apply(jnp.ones((2, 3))),
            "`x` must have 4 channels as the set, got shape (2, 3)",
        ),
        (
            lambda x: normalize.PCAWhitening.fit(x).apply(jnp.ones((2, 3))),
            "`x` must be [..., 4], got shape (2, 3)",
        ),
        (
            lambda x: normalize.PCAWhitening.fit(x, components=2).invert(jnp.ones((2, 3))),
            "`y` must be [..., 2], got shape (2, 3)",
        ),
        (
            lambda x: normalize.ZCAWhitening.fit(x).invert(jnp.ones(())),
            "`y` must be [..., 4], got shape ()",
        ),
        (
            lambda x: normalize.PatchWhitening.fit(x),
            "`x` must be [n, height, width, channels], got shape (30, 4)",
        ),
        (
            lambda _: normalize.PatchWhitening.fit(np.zeros((5, 2, 1, 3), np.uint8)),
            "`x` must be [..., height, width, channels] of at least 2x2 pixels, got shape "
            "(5, 2, 1, 3)",
        ),
        (
            lambda _: normalize.PatchWhitening.fit(smooth_images(2)).invert(jnp.ones((2, 12))),
            "`y` must be [..., height, width, 12], got shape (2, 12)",
        ),
        (
            lambda _: normalize.PatchWhitening.fit(smooth_images(2)).apply(jnp.ones((9, 3))),
            "`x` must be [..., height, width, channels] of at least 2x2 pixels, got shape (9, 3)",
        ),
        (
            lambda _: normalize.PatchWhitening.fit(smooth_images(2), size=0),
            "`size` and `max_patches` must be positive, got 0 and 5000000",
        ),
        (
            lambda _: normalize.PatchWhitening.fit(np.zeros((1, 2, 2, 3), np.uint8)),
            "`x` must have at least 2 patches, got shape (1, 2, 2, 3)",
        ),
        (
            lambda _: normalize.PatchWhitening.fit(smooth_images(2)).apply(jnp.ones((2, 5, 5, 1))),
            "`x` must be [..., height, width, 3], got shape (2, 5, 5, 1)",
        ),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(features()[0])


@pytest.mark.parametrize("name", normalize.NORMALIZERS)
def test_a_normalizer_by_name_does_to_raw_images_what_it_says(name):
    images = images_of((30, 2, 3, 3), np.uint8)
    fitted = normalize.NORMALIZERS[name].fit(images)
    rows = images.reshape(30, -1) / 255
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    expected = {
        "unit": lambda: images / 255,
        "per_image": lambda: references.per_image_standardization(images / 255),
        "per_channel": lambda: standard_scaler(images, images)[1],
        "min_max": lambda: (images - images.min((0, 1, 2))) / np.ptp(images, (0, 1, 2)),
        "pca": lambda: (rows - rows.mean(0)) @ vectors[:, ::-1] / np.sqrt(values[::-1] + 0.01),
        "zca": lambda: zca(rows, rows, 0.01).reshape(images.shape),
        "patch_pca": lambda: whitened_patches(images / 255, images / 255, 3e-5),
    }[name]()
    y = apply(fitted, images)
    if name in ("pca", "patch_pca"):  # an eigenvector has no sign of its own
        y, expected = np.abs(y), np.abs(expected)
    properties.agree(type(fitted).apply, y, expected, by="NumPy float64")
    leaves = {"per_channel": 2, "min_max": 2, "pca": 3, "zca": 3, "patch_pca": 3}
    assert len(jax.tree.leaves(fitted)) == leaves.get(name, 0)
