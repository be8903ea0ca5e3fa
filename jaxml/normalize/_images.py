"""Normalization of single images, without statistics of a set."""

import math
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from jaxml.layers._moments import center
from jaxml.types import Array, Float, Integer, Num


def to_unit_interval(images: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scales integer images to [0, 1] in float32: `x / max(dtype)`.

    Floating-point images are returned unchanged, and negative integers become negative.

    Args:
      images: array of any shape; integers, or floats that are in [0, 1] already.

    Raises:
      TypeError: `images` is neither integer nor floating-point.

    Example:
      >>> to_unit_interval(jnp.array([0, 255], jnp.uint8)).tolist()
      [0.0, 1.0]

    Reference: the scaling of `tf.image.convert_image_dtype`.
    """
    _check_dtype(images)
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    return images.astype(jnp.float32) / np.float32(jnp.iinfo(images.dtype).max)


def from_unit_interval(
    images: Float[Array, "*shape"], dtype: Any = jnp.uint8
) -> Integer[Array, "*shape"]:
    r"""Scales images in [0, 1] to integers with saturation; inverts `to_unit_interval`.

    .. math:: y = \mathrm{clip}(\mathrm{trunc}(x (m + 1/2)))

    where m is the largest number of the dtype, so that every integer except the first and the last
    has an interval of the same length. The inverse is exact up to 16 bits; of 32 bits, float32
    keeps the leading 24.

    Args:
      images: floating-point array of any shape.
      dtype: an integer dtype.

    Raises:
      TypeError: `images` is not floating-point, or `dtype` is not an integer dtype.

    Example:
      >>> from_unit_interval(jnp.array([-0.5, 0.5, 1.0, 7.0])).tolist()
      [0, 127, 255, 255]

    Reference: `tf.image.convert_image_dtype(images, dtype, saturate=True)`.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"`images` must be floating-point, got {images.dtype}")
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"`dtype` must be an integer dtype, got {np.dtype(dtype)}")
    limits = jnp.iinfo(dtype)
    x = images.astype(np.promote_types(images.dtype, np.float32))
    largest = np.asarray(limits.max, x.dtype)
    if int(largest) > limits.max:  # 32 bits have more digits than float32
        largest = np.nextafter(largest, np.zeros_like(largest))
    scaled = x * (limits.max + 0.5)
    return jnp.clip(scaled, np.asarray(limits.min, x.dtype), largest).astype(dtype)


def per_image_standardization(
    images: Num[Array, "*batch height width channels"],
) -> Num[Array, "*batch height width channels"]:
    r"""Scales each image linearly to mean 0 and variance 1.

    .. math:: y = \frac{x - \mu}{\max(\sigma, 1 / \sqrt{N})}

    with the mean and the biased standard deviation over the last three dimensions, which hold N
    values. The lower bound of the divisor keeps a constant image finite.

    Integer images are scaled to [0, 1] first, and the result is scaled back with saturation, which
    clips unsigned integers at the mean. For training, convert the images to floats:
    `per_image_standardization(to_unit_interval(images))`.

    Args:
      images: `[..., height, width, channels]`, floating-point or integer.

    Returns:
      An array of the shape and dtype of `images`, from statistics in float32 at least.

    Raises:
      ValueError: `images` has fewer than three dimensions, or images without a value.
      TypeError: `images` is neither integer nor floating-point.

    Example:
      >>> y = per_image_standardization(jnp.arange(12.0).reshape(2, 2, 3))
      >>> round(float(y.std()), 4)
      1.0

    Reference: `tf.image.per_image_standardization`, which computes the statistics of float16 in
    float16, and those of float64 in float32.
    """
    if images.ndim < 3:
        raise ValueError(f"`images` must be [..., height, width, channels], got {images.shape}")
    if 0 in images.shape[-3:]:
        raise ValueError(f"`images` must have at least one value each, got shape {images.shape}")
    _check_dtype(images)
    if jnp.issubdtype(images.dtype, jnp.integer):
        return from_unit_interval(per_image_standardization(to_unit_interval(images)), images.dtype)
    values, _, mean, variance = center(images, (-3, -2, -1))
    least = np.asarray(1 / math.prod(images.shape[-3:]), values.dtype)
    # NaN rather than zeros where the variance overflows.
    variance = jnp.where(jnp.isinf(variance), jnp.nan, variance)
    scale = lax.rsqrt(jnp.maximum(variance, least))
    return ((values - mean) * scale).astype(images.dtype)


class _WithoutStatistics(struct.PyTreeNode):
    @classmethod
    def fit(cls, x: Any) -> Self:
        """Returns the normalizer; nothing is fitted."""
        del x
        return cls()


class UnitInterval(_WithoutStatistics):
    """Scales pixels to [0, 1], such as `x / 255` for uint8. It has no statistics."""

    def apply(self, x: Array) -> Array:
        """Returns images of any shape in [0, 1]; see `to_unit_interval`."""
        return to_unit_interval(x)

    def invert(self, y: Array) -> Array:
        """Returns the images in [0, 1]; `from_unit_interval` converts them to integers."""
        return y


class PerImageStandardization(_WithoutStatistics):
    """Standardizes each image by its own mean and deviation. It has no statistics of the set."""

    def apply(self, x: Array) -> Array:
        """Returns images `[..., height, width, channels]` with mean 0 and variance 1 each."""
        return per_image_standardization(to_unit_interval(x))

    def invert(self, y: Array) -> Array:
        """Raises `TypeError`, because `apply` loses the mean and deviation of each image."""
        del y
        raise TypeError(
            f"{type(self).__name__} has no inverse: apply loses each image's statistics"
        )


def _check_dtype(images: Array) -> None:
    floating, integer = (jnp.issubdtype(images.dtype, kind) for kind in (jnp.floating, jnp.integer))
    if not floating and not integer:
        raise TypeError(f"`images` must be integer or floating-point, got {images.dtype}")
