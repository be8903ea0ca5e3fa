"""Input normalisation: pure functions of images, and the values that hold fitted statistics."""

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxml.types import Array


def to_unit_interval(images: Array) -> Array:
    """Scales integer images to [0, 1] in float32: `x / max(dtype)`; floats pass unchanged.

    Args:
      images: any shape; unsigned integers, or floats that are taken to be in [0, 1] already.

    Returns:
      The same shape, float32 where the input was an integer, else the input's dtype.

    Example:
      >>> to_unit_interval(jnp.array([0, 255], jnp.uint8)).tolist()
      [0.0, 1.0]

    Source: the scaling of `tf.image.convert_image_dtype`.
    """
    if not jnp.issubdtype(images.dtype, jnp.integer):
        return images
    return images.astype(jnp.float32) / np.float32(jnp.iinfo(images.dtype).max)


def per_image_standardization(images: Array) -> Array:
    r"""Scales each image linearly to mean 0 and variance 1.

    .. math:: y = \frac{x - \mu}{\max(\sigma, 1 / \sqrt{N})}

    with the mean and the (biased) standard deviation over the last three dimensions, which hold N
    values. The lower bound on the divisor keeps a constant image finite.

    Args:
      images: `[..., height, width, channels]`, floating point.

    Returns:
      The same shape and dtype; the statistics are taken in float32 at least.

    Raises:
      ValueError: fewer than three dimensions, or integers (see `to_unit_interval`).

    Example:
      >>> y = per_image_standardization(jnp.arange(12.0).reshape(2, 2, 3))
      >>> round(float(y.std()), 4)
      1.0

    Source: the meaning of `tf.image.per_image_standardization`.
    """
    if images.ndim < 3:
        raise ValueError(f"images: at least [height, width, channels], not shape {images.shape}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images: floating point, not {images.dtype}; see to_unit_interval")
    x = images.astype(np.promote_types(images.dtype, np.float32))
    size = int(np.prod(images.shape[-3:]))
    mean = jnp.mean(x, axis=(-3, -2, -1), keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axis=(-3, -2, -1), keepdims=True)
    scale = jax.lax.rsqrt(jnp.maximum(variance, np.asarray(1 / size, x.dtype)))
    return ((x - mean) * scale).astype(images.dtype)


class UnitInterval(struct.PyTreeNode):
    """Pixels in [0, 1]: `x / 255` for uint8. It has no statistics."""

    @classmethod
    def fit(cls, images: Any) -> Self:
        """Nothing is fitted."""
        del images
        return cls()

    def apply(self, images: Array) -> Array:
        """Images `[..., height, width, channels]` in [0, 1], floating point."""
        return to_unit_interval(images)


class PerImageStandardization(struct.PyTreeNode):
    """Every image by its own mean and standard deviation; it has no statistics of the set."""

    @classmethod
    def fit(cls, images: Any) -> Self:
        """Nothing is fitted."""
        del images
        return cls()

    def apply(self, images: Array) -> Array:
        """Images `[..., height, width, channels]` with mean 0 and variance 1 each."""
        return per_image_standardization(to_unit_interval(images))


class ChannelStandardization(struct.PyTreeNode):
    r"""Every channel by its mean and standard deviation over a set.

    .. math:: y_c = (x_c - \mu_c) / \sigma_c

    Attributes:
      mean: `[channels]` float32, on the scale of [0, 1].
      std: `[channels]` float32; a channel that is constant over the set has 1.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
      >>> y = ChannelStandardization.fit(images).apply(jnp.asarray(images))
      >>> bool(jnp.allclose(y.std((0, 1, 2)), 1.0, atol=1e-4))
      True
    """

    mean: Array
    std: Array

    @classmethod
    def fit(cls, images: np.ndarray) -> Self:
        """Takes the statistics of uint8 images `[n, height, width, channels]`, exactly.

        The sums are over a histogram of the 256 values, so nothing is rounded however large the
        set is.

        Raises:
          ValueError: images of another shape or dtype.
        """
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                "images: uint8 [n, height, width, channels], "
                f"not {images.dtype} of shape {images.shape}"
            )
        counts = np.stack(
            [np.bincount(c.ravel(), minlength=256) for c in np.moveaxis(images, 3, 0)]
        )
        values = np.arange(256) / 255
        mean = counts @ values / counts.sum(1)
        variance = (counts * np.square(values - mean[:, None])).sum(1) / counts.sum(1)
        std = np.where((counts > 0).sum(1) > 1, np.sqrt(variance), 1.0)
        return cls(mean=jnp.asarray(mean, jnp.float32), std=jnp.asarray(std, jnp.float32))

    def apply(self, images: Array) -> Array:
        """Images `[..., height, width, channels]`, each channel standardised."""
        x = to_unit_interval(images)
        mean, std = (jnp.broadcast_to(v.astype(x.dtype), x.shape) for v in (self.mean, self.std))
        return (x - mean) / std


Normalizer = UnitInterval | PerImageStandardization | ChannelStandardization

NORMALIZERS: dict[str, type[Normalizer]] = {
    "per_image": PerImageStandardization,
    "per_channel": ChannelStandardization,
    "unit": UnitInterval,
}
