"""Gaussian blur against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxml.data import augment
from tests import properties
from tests.data.augment.pictures import assert_levels, pictures


def test_blur_is_that_of_scipy():
    images, sigmas = pictures(), (0.1, 0.7, 1.5, 3.0)
    blur = jax.jit(augment.gaussian_blur, static_argnames="radius")
    actual = blur(jnp.asarray(images), sigma=jnp.asarray(sigmas), radius=3)
    expected = [
        scipy.ndimage.gaussian_filter(
            image.astype(np.float64), sigma, mode="mirror", radius=3, axes=(0, 1)
        )
        for image, sigma in zip(images, sigmas, strict=True)
    ]
    expected = np.floor(np.stack(expected) + 0.5).astype(np.uint8)
    assert_levels(augment.gaussian_blur, actual, expected, by="SciPy", levels=1, differing=0.001)


@pytest.mark.slow
def test_a_filter_wider_than_the_image_mirrors_it_repeatedly():
    images = pictures(height=2, width=3).astype(np.float32)
    actual = augment.gaussian_blur(jnp.asarray(images), sigma=2.0, radius=8)
    expected = scipy.ndimage.gaussian_filter(
        images.astype(np.float64), 2.0, mode="mirror", radius=8, axes=(1, 2)
    )
    properties.agree(augment.gaussian_blur, actual, expected, by="SciPy")


def test_random_blur_draws_a_width_for_each_image():
    points = jnp.zeros((1000, 9, 9, 1)).at[:, 4, 4].set(255)
    blur = jax.jit(augment.random_gaussian_blur)
    peaks = np.asarray(blur(jax.random.key(0), points))[:, 4, 4, 0]
    sigmas = np.linspace(0.1, 2.0, 5)
    offsets = np.arange(-4, 5)
    taps = np.exp(-(offsets[None] ** 2) / (2 * sigmas[:, None] ** 2))
    expected = 255 * (taps[:, 4] / taps.sum(1)) ** 2
    # The width is uniform, and the peak falls with it.
    quantiles = np.quantile(peaks, [1, 0.75, 0.5, 0.25, 0])
    properties.agree(
        augment.random_gaussian_blur, quantiles.astype(np.float32), expected, by="NumPy float64",
        rtol=0.07,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"`min_sigma` must be in \(0, 2.0\], got 0"):
        augment.random_gaussian_blur(jax.random.key(0), points, min_sigma=0)


def test_a_small_image_is_not_sharpened():
    images = jnp.asarray(pictures(height=2, width=9))
    np.testing.assert_array_equal(augment.adjust_sharpness(images, factor=3.0), images)
