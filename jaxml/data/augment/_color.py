"""Operations on colors.

Images with one channel are grayscale, those with three are RGB. Grayscale images have no hue and
saturation, and stay as they are. uint8 results equal those of Pillow, except that hues are shifted
without its rounding to 256 hues.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.data.augment import _pixels as pixels
from jaxml.types import Array, Key

_LUMA = (19595 / 65536, 38470 / 65536, 7471 / 65536)  # 0.299, 0.587, 0.114 as Pillow rounds them


def grayscale(images: Array) -> Array:
    """Replaces every channel of RGB images by the luma 0.299 R + 0.587 G + 0.114 B.

    >>> grayscale(jnp.array([255, 0, 0], jnp.uint8).reshape(1, 1, 1, 3)).ravel().tolist()
    [76, 76, 76]
    """
    return jnp.broadcast_to(_luma(images), images.shape).astype(images.dtype)


def adjust_brightness(images: Array, *, factor: Any) -> Array:
    """Multiplies images by a factor.

    Args:
      images: the batch.
      factor: non-negative, a scalar or `[batch]`; 1 changes nothing, 0 gives black.

    Example:
      >>> adjust_brightness(jnp.array([3.0, 200.0]).reshape(1, 1, 2, 1), factor=2).ravel().tolist()
      [6.0, 255.0]
    """
    return pixels.blend(images, 0.0, factor)


def adjust_contrast(images: Array, *, factor: Any) -> Array:
    """Moves images away from their mean luma by a factor.

    Args:
      images: the batch.
      factor: non-negative, a scalar or `[batch]`; 1 changes nothing, 0 gives gray images.

    Example:
      >>> adjust_contrast(jnp.array([3.0, 5.0]).reshape(1, 1, 2, 1), factor=2).ravel().tolist()
      [2.0, 6.0]
    """
    mean = jnp.mean(_luma(images), axis=(1, 2, 3), keepdims=True)
    return pixels.blend(images, pixels.to_levels(mean, images.dtype), factor)


def adjust_saturation(images: Array, *, factor: Any) -> Array:
    """Moves the colors of images away from gray by a factor.

    Args:
      images: the batch.
      factor: non-negative, a scalar or `[batch]`; 1 changes nothing, 0 gives grayscale images.

    Example:
      >>> image = jnp.array([9, 9, 0], jnp.uint8).reshape(1, 1, 1, 3)
      >>> adjust_saturation(image, factor=0).ravel().tolist()
      [8, 8, 8]
    """
    return pixels.blend(images, _luma(images), factor)


def adjust_hue(images: Array, *, shift: Any) -> Array:
    """Shifts the hue of images, and keeps saturation and value of the HSV color space.

    Args:
      images: the batch.
      shift: in [-1/2, 1/2], a scalar or `[batch]`; 1 is the whole circle of hues.

    Example:
      >>> red = jnp.array([255, 0, 0], jnp.uint8).reshape(1, 1, 1, 3)
      >>> adjust_hue(red, shift=1 / 3).ravel().tolist()
      [0, 255, 0]
    """
    pixels.check_images(images, channels=(1, 3))
    if images.shape[-1] == 1:
        return images
    values = pixels.to_float(images)
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    largest = jnp.max(values, axis=-1)
    chroma = largest - jnp.min(values, axis=-1)
    divisor = jnp.where(chroma == 0, 1, chroma)
    sixths = jnp.where(
        largest == red,
        (green - blue) / divisor,
        jnp.where(largest == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths += 6 * pixels.per_image(shift, images)[..., 0]
    offsets = jnp.asarray([5, 3, 1], jnp.float32)[None, None, None]
    distance = (offsets + sixths[..., None]) % 6
    below = jnp.clip(jnp.minimum(distance, 4 - distance), 0, 1)
    return pixels.to_dtype(largest[..., None] - chroma[..., None] * below, images.dtype)


def color_jitter(
    key: Key,
    images: Array,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Array:
    """Changes brightness, contrast, saturation and hue at random.

    Args:
      key: a PRNG key.
      images: the batch.
      brightness: the factor of `adjust_brightness` is uniform in
        [max(0, 1 - brightness), 1 + brightness].
      contrast: likewise for `adjust_contrast`.
      saturation: likewise for `adjust_saturation`.
      hue: the shift of `adjust_hue` is uniform in [-hue, hue].

    Returns:
      Images of the same shape and dtype. The four changes are made in an order that is random but
      the same for all images of the batch.

    Example:
      >>> color_jitter(jax.random.key(0), jnp.ones((2, 4, 4, 3)), brightness=0.4).shape
      (2, 4, 4, 3)
    """
    pixels.check_range("hue", hue, 0, 0.5)
    order_key, *keys = jax.random.split(key, 5)
    changes: list[Callable[[Array], Array]] = []
    adjustments = {
        "brightness": (adjust_brightness, brightness),
        "contrast": (adjust_contrast, contrast),
        "saturation": (adjust_saturation, saturation),
    }
    for (name, (adjust, most)), its_key in zip(adjustments.items(), keys, strict=False):
        if most < 0:
            raise ValueError(f"`{name}` must be non-negative, got {most}")
        if most:
            factor = pixels.uniform(its_key, images, max(0.0, 1 - most), 1 + most)
            changes.append(_bound(adjust, factor=factor))
    if hue:
        changes.append(_bound(adjust_hue, shift=pixels.uniform(keys[3], images, -hue, hue)))
    if not changes:
        return images
    order = jax.random.permutation(order_key, np.arange(len(changes), dtype=np.int32))
    return lax.fori_loop(
        0, len(changes), lambda i, images: lax.switch(order[i], changes, images), images
    )


def invert(images: Array) -> Array:
    """Returns the negatives `255 - x`.

    >>> invert(jnp.array([0, 100], jnp.uint8).reshape(1, 1, 2, 1)).ravel().tolist()
    [255, 155]
    """
    pixels.check_images(images)
    return (255 - images).astype(images.dtype)


def posterize(images: Array, *, bits: Any) -> Array:
    """Keeps the highest bits of each value.

    Args:
      images: the batch.
      bits: integers from 0 to 8, a scalar or `[batch]`; 8 changes nothing.

    Example:
      >>> posterize(jnp.array([64, 200], jnp.uint8).reshape(1, 1, 2, 1), bits=1).ravel().tolist()
      [0, 128]
    """
    pixels.check_images(images)
    bits = pixels.per_image(bits, images).astype(jnp.int32)
    step = jnp.left_shift(1, 8 - bits).astype(jnp.float32)
    values = jnp.floor(pixels.to_float(images) / step) * step
    return values.astype(images.dtype)


def solarize(images: Array, *, threshold: Any) -> Array:
    """Inverts the values from a threshold on.

    Args:
      images: the batch.
      threshold: a scalar or `[batch]`; 0 inverts everything.

    Example:
      >>> image = jnp.array([9, 200], jnp.uint8).reshape(1, 1, 2, 1)
      >>> solarize(image, threshold=128).ravel().tolist()
      [9, 55]
    """
    bright = pixels.to_float(images) >= pixels.per_image(threshold, images)
    return jnp.where(bright, invert(images), images)


def autocontrast(images: Array) -> Array:
    """Stretches each channel of each image to the range 0 to 255; constant channels stay.

    >>> autocontrast(jnp.array([3, 4, 5], jnp.uint8).reshape(1, 1, 3, 1)).ravel().tolist()
    [0, 127, 255]
    """
    pixels.check_images(images)
    values = pixels.to_float(images)
    least = jnp.min(values, axis=(1, 2), keepdims=True)
    extent = jnp.max(values, axis=(1, 2), keepdims=True) - least
    stretched = (values - least) * pixels.LARGEST / jnp.where(extent > 0, extent, 1)
    return jnp.where(extent > 0, pixels.to_dtype(stretched, images.dtype, truncate=True), images)


def equalize(images: Array) -> Array:
    """Equalizes the histogram of each channel of each image, as `PIL.ImageOps.equalize` does.

    Float images are rounded to 256 levels.

    >>> equalize(jnp.arange(0, 256, 64, jnp.uint8).reshape(1, 2, 2, 1)).ravel().tolist()
    [0, 64, 128, 192]
    """
    pixels.check_images(images)
    batch, height, width, channels = images.shape
    levels = images
    if images.dtype != jnp.uint8:
        levels = pixels.to_dtype(pixels.to_float(images), jnp.uint8)
    flat = jnp.moveaxis(levels, -1, 1).reshape(batch * channels, height * width)
    mapped = jax.vmap(_equalize_channel)(flat)
    equalized = jnp.moveaxis(mapped.reshape(batch, channels, height, width), 1, -1)
    return equalized.astype(images.dtype)


def _equalize_channel(levels: Array) -> Array:
    index = levels.astype(jnp.int32)
    counts = jnp.zeros(256, jnp.int32).at[index].add(1)
    highest = counts[jnp.max(index)]
    step = (index.size - highest) // 255
    below = jnp.cumsum(counts) - counts
    table = jnp.minimum((below + step // 2) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, table[index], index).astype(jnp.uint8)


def _luma(images: Array) -> Array:
    """Returns `[batch, height, width, 1]` float32, rounded if the images are uint8."""
    pixels.check_images(images, channels=(1, 3))
    values = pixels.to_float(images)
    if images.shape[-1] == 1:
        return values
    red, green, blue = (values[..., i : i + 1] * _LUMA[i] for i in range(3))
    return pixels.to_levels(red + green + blue, images.dtype)


def _bound(function: Callable[..., Array], **settings: Any) -> Callable[[Array], Array]:
    return lambda images: function(images, **settings)
