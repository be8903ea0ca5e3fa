"""Blur and sharpness."""

from typing import Any

import jax.numpy as jnp

from jaxml.data.augment import _pixels as pixels
from jaxml.types import Array, Key


def gaussian_blur(images: Array, *, sigma: Any, radius: int = 4) -> Array:
    """Convolves images with a truncated Gaussian.

    Args:
      images: the batch. It is mirrored at its border pixels.
      sigma: positive standard deviation in pixels, a scalar or `[batch]`.
      radius: the filter has `2 radius + 1` taps in each direction.

    Example:
      >>> point = jnp.zeros((1, 5, 5, 1), jnp.uint8).at[0, 2, 2, 0].set(100)
      >>> gaussian_blur(point, sigma=0.5, radius=1)[0, 2].ravel().tolist()
      [0, 8, 62, 8, 0]
    """
    pixels.check_images(images)
    if radius < 0:
        raise ValueError(f"`radius` must be non-negative, got {radius}")
    offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)[None]
    exponents = -jnp.square(offsets / pixels.per_image(sigma, images)[:, 0, 0]) / 2
    taps = jnp.exp(exponents)
    taps /= jnp.sum(taps, axis=1, keepdims=True)
    values = pixels.to_float(images)
    for axis in (1, 2):
        size = values.shape[axis]
        pads = [(radius, radius) if i == axis else (0, 0) for i in range(4)]
        padded = jnp.pad(values, pads, mode="reflect")
        values = sum(
            (
                taps[:, i, None, None, None] * jnp.take(padded, jnp.arange(i, i + size), axis=axis)
                for i in range(2 * radius + 1)
            ),
            start=jnp.zeros_like(values),
        )
    return pixels.to_dtype(values, images.dtype)


def random_gaussian_blur(
    key: Key, images: Array, *, min_sigma: float = 0.1, max_sigma: float = 2.0, radius: int = 4
) -> Array:
    """Blurs each image by a Gaussian with a uniform standard deviation.

    Args:
      key: a PRNG key.
      images: the batch.
      min_sigma: smallest standard deviation in pixels, positive.
      max_sigma: largest standard deviation.
      radius: see `gaussian_blur`.

    Example:
      >>> import jax
      >>> random_gaussian_blur(jax.random.key(0), jnp.ones((2, 4, 4, 1))).shape
      (2, 4, 4, 1)
    """
    if not 0 < min_sigma <= max_sigma:
        raise ValueError(f"`min_sigma` must be in (0, {max_sigma}], got {min_sigma}")
    sigma = pixels.uniform(key, images, min_sigma, max_sigma)
    return gaussian_blur(images, sigma=sigma, radius=radius)


def adjust_sharpness(images: Array, *, factor: Any) -> Array:
    """Moves images away from their smoothed version by a factor.

    The filter averages 3x3 pixels, the central one with weight 5. The outermost pixels, and images
    with fewer than three rows or columns, stay as they are. Equals `PIL.ImageEnhance.Sharpness`.

    Args:
      images: the batch.
      factor: non-negative, a scalar or `[batch]`; 0 smooths, 1 changes nothing, 2 sharpens.

    Example:
      >>> point = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(13)
      >>> adjust_sharpness(point, factor=0)[0, 1].ravel().tolist()
      [0.0, 5.0, 0.0]
    """
    pixels.check_images(images)
    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return images
    values = pixels.to_float(images)
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = pixels.to_levels((total + 4 * values[:, 1:-1, 1:-1]) / 13, images.dtype)
    changed = pixels.blend(images[:, 1:-1, 1:-1], smooth, factor)
    return images.at[:, 1:-1, 1:-1].set(changed)
