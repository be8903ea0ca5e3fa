"""Mean and variance over some axes, with an optional mask."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.layers._dtypes import check_floating, wide
from jaxml.types import Array, Bool, Float


def moments(
    x: Float[Array, "..."],
    axes: Sequence[int],
    *,
    keepdims: bool = False,
    where: Bool[Array, "..."] | None = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    r"""Computes the mean and the biased variance over some axes.

    .. math:: \mu = \frac1N \sum x, \qquad \sigma^2 = \frac1N \sum (x - \mu)^2

    Both are computed in one pass over x, shifted by the mean s of a sample: every 16th slice along
    the longest of the axes.

    .. math:: \mu = s + E(x - s), \qquad \sigma^2 = E(x - s)^2 - (\mu - s)^2

    Unlike the difference of the mean square and the squared mean, this keeps the digits of the
    variance where the mean is large compared with the deviation. The sample holds at least a
    sixteenth of the values, so :math:`(\mu - s)^2 \le 16 \sigma^2`, and the relative error is at
    most 50 times that of a sum; for a typical sample it is that of a sum. Under a mask, which may
    hide the whole sample, s is the mean itself and takes another pass.

    Args:
      x: array of any shape.
      axes: one or more axes to reduce.
      keepdims: whether to keep those axes with size 1.
      where: mask that broadcasts to the shape of x, or None. Values where it is false do not count,
        even if they are NaN.

    Returns:
      Mean and variance in float32 at least. Both are 0 where no value counts, and the variance is
      infinite or NaN where the squared distances from the mean overflow.

    Example:
      >>> mean, variance = moments(jnp.array([[1.0, 2.0], [3.0, 6.0]]), axes=[0])
      >>> mean.tolist(), variance.tolist()
      ([2.0, 4.0], [1.0, 4.0])

    Reference: `tf.nn.moments`, with NumPy's `where`. Keras, Flax and `torch.var(correction=0)`
    compute the same variance.
    """
    centered = center(x, axes, where=where)
    mean, variance = centered.shift + centered.mean, centered.variance
    if keepdims:
        return mean, variance
    axes = tuple(axis % x.ndim for axis in axes)
    return jnp.squeeze(mean, axes), jnp.squeeze(variance, axes)


class Centered(NamedTuple):
    """An array minus an approximate mean, and the moments of the difference.

    Attributes:
      values: x - shift, in float32 at least. Where the deviation is small compared with the mean,
        this keeps every digit of x, unlike x minus the rounded mean.
      shift: approximate mean, a constant to the gradient, with the reduced axes of size 1.
      mean: mean of the values.
      variance: variance of the values, and so of x.
    """

    values: Array
    shift: Array
    mean: Array
    variance: Array


def center(x: Array, axes: Sequence[int], *, where: Array | None = None) -> Centered:
    """Shifts x by the mean of a sample; the arguments are those of `moments`."""
    _check(x, axes, where)
    axes = tuple(axis % x.ndim for axis in axes)
    x = x.astype(wide(x))
    if where is None:
        shift = _mean_of_a_sample(x, axes)
    else:
        where = jnp.broadcast_to(where, x.shape)
        # Mask before the arithmetic, so that NaN reaches neither the sums nor the gradient.
        x = jnp.where(where, x, jnp.zeros_like(x))
        shift = _average(x, axes, where)
    # The result does not depend on the shift, so no gradient flows through it. Shifting by the
    # mean itself would take a second pass over x.
    shift = lax.stop_gradient(shift)
    values = x - _spread(shift, x.shape, axes)
    mean = _average(values, axes, where)
    variance = _average(jnp.square(values), axes, where) - jnp.square(mean)
    # Clip negative rounding errors by a constant, which preserves the derivatives.
    variance = variance + lax.stop_gradient(jax.nn.relu(-variance))
    return Centered(values, *(jnp.expand_dims(each, axes) for each in (shift, mean, variance)))


def broadcast(x: Array, shape: Sequence[Any]) -> Array:
    """Broadcasts an array with as many axes, each of size 1 or that of `shape`.

    Arithmetic on arrays of different shapes would do so, too. But programs for several devices
    would shard the axes of size 1, and communicate to compute with them.
    """
    axes = tuple(axis for axis, size in enumerate(x.shape) if size == 1)
    return _spread(lax.squeeze(x, axes), shape, axes)


def _spread(x: Array, shape: Sequence[Any], axes: tuple[int, ...]) -> Array:
    """Broadcasts an array that lacks the axes; sizes may be symbolic, as in exports."""
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    return lax.broadcast_in_dim(x, tuple(shape), kept)


def _mean_of_a_sample(x: Array, axes: tuple[int, ...]) -> Array:
    """Averages every 16th slice along the longest axis."""
    longest = max(axes, key=lambda axis: x.shape[axis])
    strides = [16 if axis == longest else 1 for axis in range(x.ndim)]
    first = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    # Relative to the first value, so that the mean of a constant is exact.
    origin = lax.squeeze(lax.slice(x, [0] * x.ndim, first), axes)
    sample = lax.slice(x, [0] * x.ndim, x.shape, strides)
    return origin + _average(sample - _spread(origin, sample.shape, axes), axes, None)


def _average(values: Array, axes: tuple[int, ...], where: Array | None) -> Array:
    """Averages over the axes; 0 where no value counts."""
    if where is None:
        return jnp.mean(values, axes)
    count = jnp.sum(where, axes, dtype=np.int32)
    total = jnp.sum(values, axes, where=where)
    return total / jnp.maximum(count, 1).astype(values.dtype)


def _check(x: Array, axes: Sequence[int], where: Array | None) -> None:
    check_floating(x)
    if not axes or not all(-x.ndim <= axis < x.ndim for axis in axes):
        raise ValueError(f"`axes` must be in [{-x.ndim}, {x.ndim - 1}], got {tuple(axes)}")
    if len({axis % x.ndim for axis in axes}) < len(axes):
        raise ValueError(f"`axes` must be distinct, got {tuple(axes)} for x of shape {x.shape}")
    if not math.prod(x.shape[axis] for axis in axes):
        raise ValueError(
            f"`x` must have at least one value along the axes {tuple(axes)}, got shape {x.shape}"
        )
    if where is None:
        return
    if where.dtype != np.bool_:
        raise TypeError(f"`where` must be boolean, got {where.dtype}")
    pairs = zip(reversed(where.shape), reversed(x.shape), strict=False)
    if where.ndim > x.ndim or not all(size in (1, full) for size, full in pairs):
        raise ValueError(f"`where` must broadcast to x of shape {x.shape}, got shape {where.shape}")
