"""Mean and variance over some axes, of all values or of those that a mask keeps."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.types import Array, Bool, Float


def moments(
    x: Float[Array, "..."],
    axes: Sequence[int],
    *,
    keepdims: bool = False,
    where: Bool[Array, "..."] | None = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    r"""Mean and biased variance over some axes.

    .. math:: \mu = \frac1N \sum x, \qquad \sigma^2 = \frac1N \sum (x - \mu)^2

    Both come from one pass over x, around the mean s of a sample of the values, every 16th slice
    along the longest of the axes:

    .. math:: \mu = s + E(x - s), \qquad \sigma^2 = E(x - s)^2 - (\mu - s)^2

    So the variance keeps its digits where the mean is large against the deviation, which the
    difference of the mean square and the squared mean does not. The sample is a sixteenth of the
    values or more, so that whatever they are :math:`(\mu - s)^2 \le 16 \sigma^2`, and the relative
    error is at most 50 times that of a sum; where the sample is typical, it is that of a sum. Under
    a mask s is the mean itself, from a pass of its own, for all of the sample may be masked.

    Args:
      x: any shape and floating dtype.
      axes: the axes that are summed over, at least one.
      keepdims: whether those axes stay, with size 1.
      where: None, or booleans that broadcast to the shape of x: only the values where it is true
        count, and the others may be anything, NaN too.

    Returns:
      Mean and variance without those axes, in float32 at least; both 0 where no value counts. The
      squares of the distances from the mean must not overflow: the variance is infinite or NaN
      then.

    Raises:
      ValueError: no axes, one that x does not have, nothing to average, a mask of another shape.
      TypeError: x is not floating point, or the mask is not boolean.

    Example:
      >>> mean, variance = moments(jnp.array([[1.0, 2.0], [3.0, 6.0]]), axes=[0])
      >>> mean.tolist(), variance.tolist()
      ([2.0, 4.0], [1.0, 4.0])

    Source: the meaning of `tf.nn.moments`, and of NumPy's `where`. The variance is that of Keras,
    Flax and `torch.var(correction=0)`.
    """
    centred = center(x, axes, where=where)
    mean, variance = centred.shift + centred.mean, centred.variance
    if keepdims:
        return mean, variance
    axes = tuple(axis % x.ndim for axis in axes)
    return jnp.squeeze(mean, axes), jnp.squeeze(variance, axes)


class Centred(NamedTuple):
    """An array less an approximate mean, and the moments of the difference.

    Attributes:
      values: x - shift, in float32 at least. It keeps every digit of x where the deviation is small
        against the mean, which x less the mean itself, once that is rounded, does not.
      shift: the approximate mean, a constant to the gradient; the axes stay, with size 1.
      mean: of the values.
      variance: of the values, which is that of x.
    """

    values: Array
    shift: Array
    mean: Array
    variance: Array


def center(x: Array, axes: Sequence[int], *, where: Array | None = None) -> Centred:
    """Returns x around the mean of a sample; arguments and errors are those of `moments`."""
    _check(x, axes, where)
    axes = tuple(axis % x.ndim for axis in axes)
    x = x.astype(np.promote_types(x.dtype, np.float32))
    if where is None:
        shift = _mean_of_a_sample(x, axes)
    else:
        where = jnp.broadcast_to(where, x.shape)
        # Before the arithmetic, so that NaN reaches neither the sums nor the gradient.
        x = jnp.where(where, x, jnp.zeros_like(x))
        shift = _average(x, axes, where)
    # The result is the same for any shift, so no gradient flows through it. Around the mean the
    # variance would need x a second time.
    shift = lax.stop_gradient(shift)
    values = x - shift
    mean = _average(values, axes, where)
    variance = _average(jnp.square(values), axes, where) - jnp.square(mean)
    # What rounding leaves below 0 is taken off as a constant: the derivatives stay those of the
    # variance.
    return Centred(values, shift, mean, variance + lax.stop_gradient(jax.nn.relu(-variance)))


def _mean_of_a_sample(x: Array, axes: tuple[int, ...]) -> Array:
    """The mean over every 16th slice along the longest axis, around the first value."""
    longest = max(axes, key=lambda axis: x.shape[axis])
    strides = [16 if axis == longest else 1 for axis in range(x.ndim)]
    first = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    # Around the first value, for then the mean of a constant is that constant, without a rounding.
    origin = lax.slice(x, [0] * x.ndim, first)
    sample = lax.slice(x, [0] * x.ndim, x.shape, strides)
    return origin + _average(sample - origin, axes, None)


def _average(values: Array, axes: tuple[int, ...], where: Array | None) -> Array:
    """The mean over the axes, which stay; 0 where no value counts."""
    if where is None:
        return jnp.mean(values, axes, keepdims=True)
    count = jnp.sum(where, axes, keepdims=True, dtype=np.int32)
    total = jnp.sum(values, axes, keepdims=True, where=where)
    return total / jnp.maximum(count, 1).astype(values.dtype)


def _check(x: Array, axes: Sequence[int], where: Array | None) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating point, not {x.dtype}")
    if not axes or not all(-x.ndim <= axis < x.ndim for axis in axes):
        raise ValueError(f"axes: one or more of {-x.ndim} to {x.ndim - 1}, not {tuple(axes)}")
    if len({axis % x.ndim for axis in axes}) < len(axes):
        raise ValueError(f"axes: each axis of x {x.shape} once, not {tuple(axes)}")
    if not math.prod(x.shape[axis] for axis in axes):
        raise ValueError(f"x: at least one value along the axes {tuple(axes)}, not shape {x.shape}")
    if where is None:
        return
    if where.dtype != np.bool_:
        raise TypeError(f"where: booleans, not {where.dtype}")
    pairs = zip(reversed(where.shape), reversed(x.shape), strict=False)
    if where.ndim > x.ndim or not all(size in (1, full) for size, full in pairs):
        raise ValueError(f"where: a shape that broadcasts to x {x.shape}, not {where.shape}")
