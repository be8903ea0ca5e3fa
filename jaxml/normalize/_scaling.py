"""Normalization of each channel by statistics of a set."""

from collections.abc import Callable
from typing import Self

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxml.normalize._images import to_unit_interval
from jaxml.normalize._sets import broadcast, check_set, pixels, widen
from jaxml.types import Array


class ChannelStandardization(struct.PyTreeNode):
    r"""Standardizes each channel (or feature) by its mean and deviation over a set.

    .. math:: y_c = (x_c - \mu_c) / \sigma_c

    Attributes:
      mean: `[channels]`, float32 (float64 under x64).
      std: biased standard deviation, `[channels]`; 1 for a channel that is constant over the set.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
      >>> y = ChannelStandardization.fit(images).apply(jnp.asarray(images))
      >>> bool(jnp.allclose(y.std((0, 1, 2)), 1.0, atol=1e-4))
      True

    Reference: scikit-learn's `StandardScaler`, for any number of dimensions.
    """

    mean: Array
    std: Array

    @classmethod
    def fit(cls, x: np.ndarray) -> Self:
        """Computes the statistics of a set; for uint8, from an exact histogram."""
        check_set(x)
        if x.dtype == np.uint8:
            mean, variance, constant = _histogram_moments(x)
        else:
            values = pixels(x).reshape(-1, x.shape[-1])
            mean, variance, constant = values.mean(0), values.var(0), np.ptp(values, 0) == 0
        std = np.where(constant, 1.0, np.sqrt(variance))
        return cls(mean=jnp.asarray(mean), std=jnp.asarray(std))

    def apply(self, x: Array) -> Array:
        """Returns `[..., channels]` with each channel standardized."""
        x = to_unit_interval(x)
        return _by_channel(lambda v, mean, std: (v - mean) / std, x, self.mean, self.std)

    def invert(self, y: Array) -> Array:
        """Inverts `apply`."""
        return _by_channel(lambda v, mean, std: v * std + mean, y, self.mean, self.std)


class MinMaxScaling(struct.PyTreeNode):
    r"""Maps the range of each channel (or feature) over a set to a given range.

    .. math:: y_c = l + (u - l) \frac{x_c - \min_c}{\max_c - \min_c}

    Values outside of the set's range are mapped outside of [l, u]. The divisor is 1 for a channel
    that is constant over the set.

    Attributes:
      minimum: `[channels]`, float32 (float64 under x64).
      maximum: `[channels]`, likewise.
      lower: l.
      upper: u.

    Example:
      >>> scaling = MinMaxScaling.fit(np.array([[1.0, 10.0], [3.0, 30.0]]), lower=-1.0)
      >>> scaling.apply(jnp.array([2.0, 30.0])).tolist()
      [0.0, 1.0]

    Reference: scikit-learn's `MinMaxScaler`, for any number of dimensions.
    """

    minimum: Array
    maximum: Array
    lower: float = struct.field(pytree_node=False, default=0.0)
    upper: float = struct.field(pytree_node=False, default=1.0)

    @classmethod
    def fit(cls, x: np.ndarray, *, lower: float = 0.0, upper: float = 1.0) -> Self:
        """Computes the range of each channel of a set, to be mapped to [lower, upper]."""
        check_set(x)
        if not lower < upper:
            raise ValueError(f"`upper` must be greater than lower={lower}, got {upper}")
        axes = tuple(range(x.ndim - 1))
        minimum, maximum = (jnp.asarray(pixels(v)) for v in (x.min(axes), x.max(axes)))
        return cls(minimum=minimum, maximum=maximum, lower=lower, upper=upper)

    def apply(self, x: Array) -> Array:
        """Returns `[..., channels]` with each channel scaled."""

        def scale(x: Array, minimum: Array, maximum: Array) -> Array:
            return (x - minimum) / _span(minimum, maximum) * (self.upper - self.lower) + self.lower

        return _by_channel(scale, to_unit_interval(x), self.minimum, self.maximum)

    def invert(self, y: Array) -> Array:
        """Inverts `apply`."""

        def unscale(y: Array, minimum: Array, maximum: Array) -> Array:
            return (y - self.lower) / (self.upper - self.lower) * _span(minimum, maximum) + minimum

        return _by_channel(unscale, y, self.minimum, self.maximum)


def _histogram_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the mean and variance of each channel of uint8 images, and whether it is constant."""
    channels = np.moveaxis(images, -1, 0)
    counts = np.stack([np.bincount(c.ravel(), minlength=256) for c in channels])
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = (counts * np.square(values - mean[:, None])).sum(1) / counts.sum(1)
    return mean, variance, (counts > 0).sum(1) == 1


def _span(minimum: Array, maximum: Array) -> Array:
    """Returns the length of a range, or 1 where the range is empty."""
    span = maximum - minimum
    return jnp.where(span == 0, jnp.ones_like(span), span)


def _by_channel(function: Callable[..., Array], x: Array, *fitted: Array) -> Array:
    """Applies a function of x and of one value for each channel, and rounds once."""
    if x.shape[-1:] != fitted[0].shape:
        raise ValueError(f"`x` must have {fitted[0].size} channels as the set, got shape {x.shape}")
    wide, *values = widen(x, *fitted)
    return function(wide, *(broadcast(value, wide) for value in values)).astype(x.dtype)
