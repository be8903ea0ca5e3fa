"""Pooling: one value for each window.

Images are `[..., *spatial, channels]` with any leading dimensions. An int as window means two
spatial dimensions, a tuple as many as it has entries.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.layers import _norms
from jaxml.layers._padding import Padding, each_dimension, explicit_padding
from jaxml.types import Array, Float, Num

Window = int | Sequence[int]


def max_pool(
    x: Num[Array, "*shape"],
    *,
    window: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> Num[Array, "*pooled"]:
    r"""The largest value in each window.

    .. math:: y_{i,c} = \max_u x_{s i + u - p,\ c}

    Padding is never the largest; a window holds at least one value of x.

    Args:
      x: `[..., *spatial, channels]`, floating-point or integers.
      window: size in every spatial dimension: an int for two of them, or one int for each.
      strides: s, the step between windows, at least 1; None for that of the window.
      padding: "VALID" (none), "SAME" (TensorFlow's: `ceil(size / strides)` windows, the odd one
        last), an int p for each side, or one (before, after) pair for each spatial dimension; less
        than the window.
      ceil_mode: whether a last window may reach past the padding, as long as it starts before x
        ends.

    Returns:
      `[..., *windows, channels]` in x's dtype. NaN where a window holds one. The gradient goes to
      the first of equal values.

    Raises:
      TypeError: x is neither floating-point nor integer.
      ValueError: ranks that do not fit, sizes below 1, a window larger than the padded x or wholly
        in the padding, an unknown padding.

    Example:
      >>> x = jnp.arange(5.0).reshape(5, 1)
      >>> max_pool(x, window=(2,)).tolist()
      [[1.0], [3.0]]
      >>> max_pool(x, window=(2,), ceil_mode=True).tolist()
      [[1.0], [3.0], [4.0]]

    Source: PyTorch's max_pool1d to 3d, which allow no more than half a window of padding; Keras'
    MaxPooling.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating) and not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"x: floating-point or integers, not {x.dtype}")
    grid = _grid(x, window, strides, padding, ceil_mode)
    least = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return _reduce(x, np.asarray(least, x.dtype), lax.max, grid)


def average_pool(
    x: Float[Array, "*shape"],
    *,
    window: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Float[Array, "*pooled"]:
    r"""The mean of each window.

    .. math:: y_{i,c} = \frac{1}{n_i} \sum_u x_{s i + u - p,\ c}

    Args:
      x: `[..., *spatial, channels]`.
      window: as in `max_pool`.
      strides: as in `max_pool`.
      padding: as in `max_pool`.
      ceil_mode: as in `max_pool`; what a last window holds past the padding is never counted.
      count_include_pad: whether n counts the zeros of the padding, or values of x alone.

    Returns:
      `[..., *windows, channels]` in x's dtype, summed in float32 at least.

    Raises:
      TypeError: x is not floating-point.
      ValueError: as in `max_pool`.

    Example:
      >>> average_pool(jnp.full((2, 1), 6.0), window=(2,), strides=1, padding=1).tolist()
      [[6.0], [6.0], [6.0]]

    Source: TensorFlow's `tf.nn.avg_pool` and Keras' AveragePooling, which never count the padding;
    PyTorch's avg_pool1d to 3d, whose `count_include_pad` is True unless told otherwise, as Flax's.
    """
    _check_floating(x)
    grid = _grid(x, window, strides, padding, ceil_mode)
    wide = np.promote_types(x.dtype, np.float32)
    sums = _reduce(x.astype(wide), np.zeros((), wide), lax.add, grid)
    counts = grid.counts(include_padding=count_include_pad).astype(wide)
    return (sums / jnp.broadcast_to(counts[..., None], sums.shape)).astype(x.dtype)


def lp_pool(
    x: Float[Array, "*shape"],
    *,
    p: float,
    window: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> Float[Array, "*pooled"]:
    r"""The p-norm of each window: between the sum of magnitudes (p = 1) and the largest (p large).

    .. math:: y_{i,c} = \Big(\sum_u |x_{s i + u - p,\ c}|^p\Big)^{1/p}

    Args:
      x: `[..., *spatial, channels]`. Powers are taken relative to the largest magnitude in each
        image and channel, so only windows that are far smaller underflow to 0: by a factor of about
        1e-38 to the power of 1 / p.
      p: the exponent, at least 1.
      window: as in `max_pool`.
      strides: as in `max_pool`.
      padding: as in `max_pool`; zeros.
      ceil_mode: as in `max_pool`.

    Returns:
      `[..., *windows, channels]` in x's dtype, summed in float32 at least. The gradient at a zero
      is 0, in a window of zeros and among others.

    Raises:
      TypeError: x is not floating-point.
      ValueError: p below 1, and as in `max_pool`.

    Example:
      >>> lp_pool(jnp.array([[-1.0], [2.0], [2.0]]), p=1.0, window=(3,)).tolist()
      [[5.0]]

    Source: Sermanet, Chintala, LeCun, "Convolutional neural networks applied to house numbers digit
    classification", 2012. PyTorch's lp_pool1d to 3d keep the sign where p is odd, and in ceil_mode
    scale a last window as if it were full; this takes magnitudes and sums what is there.
    """
    _check_floating(x)
    if not 1 <= p < math.inf:
        raise ValueError(f"p: at least 1 and finite, not {p}")
    grid = _grid(x, window, strides, padding, ceil_mode)
    wide = np.promote_types(x.dtype, np.float32)
    dtype, x = x.dtype, x.astype(wide)
    # Not by jnp.abs, whose gradient at 0 is 1.
    magnitudes = x * jnp.sign(x)
    axes = tuple(range(-1 - len(grid.window), -1))
    scale = _norms.power_of_two_near(jnp.max(magnitudes, axis=axes, keepdims=True))
    powers = jnp.power(magnitudes / scale, int(p) if p == int(p) else p)
    sums = _reduce(powers, np.zeros((), wide), lax.add, grid)
    # The root of 1 in place of the root of 0, whose gradient is infinite.
    roots = jnp.power(jnp.where(sums == 0, 1.0, sums), 1 / p)
    return (scale * jnp.where(sums == 0, 0.0, roots)).astype(dtype)


def l2_pool(
    x: Float[Array, "*shape"],
    *,
    window: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> Float[Array, "*pooled"]:
    r"""The Euclidean norm of each window: `lp_pool` at p = 2; a root of the sum, not of the mean.

    .. math:: y_{i,c} = \sqrt{\textstyle\sum_u x_{s i + u - p,\ c}^2}

    Args:
      x: `[..., *spatial, channels]`.
      window: as in `max_pool`.
      strides: as in `max_pool`.
      padding: as in `max_pool`; zeros.
      ceil_mode: as in `max_pool`.

    Returns:
      `[..., *windows, channels]` in x's dtype, summed in float32 at least.

    Raises:
      TypeError: x is not floating-point.
      ValueError: as in `max_pool`.

    Example:
      >>> l2_pool(jnp.array([[3.0], [4.0]]), window=(2,)).tolist()
      [[5.0]]

    Source: as of `lp_pool`.
    """
    return lp_pool(x, p=2.0, window=window, strides=strides, padding=padding, ceil_mode=ceil_mode)


class _Grid(NamedTuple):
    """Where the windows lie, a row of numbers for each spatial dimension."""

    sizes: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]

    def counts(self, *, include_padding: bool) -> np.ndarray:
        """How many values each window holds: `[*outputs]`."""
        counts = np.ones((), np.int64)
        for size, taps, stride, (low, high), outputs in zip(*self, strict=True):
            start = np.arange(outputs) * stride - low
            first, last = (-low, size + high) if include_padding else (0, size)
            held = np.minimum(start + taps, last) - np.maximum(start, first)
            counts = np.multiply.outer(counts, held)
        return counts


def _grid(
    x: Array, window: Window, strides: Window | None, padding: Padding, ceil_mode: bool
) -> _Grid:
    dims = len(window) if isinstance(window, Sequence) else 2
    window = each_dimension("window", window, dims)
    strides = window if strides is None else each_dimension("strides", strides, dims)
    if x.ndim < dims + 1:
        raise ValueError(f"x: {dims} spatial dimensions and channels, not shape {x.shape}")
    sizes = x.shape[-dims - 1 : -1]
    if 0 in sizes:
        raise ValueError(f"x: at least one pixel, not shape {x.shape}")
    pads = explicit_padding(padding, sizes, window, strides, (1,) * dims)
    outputs = []
    for size, taps, stride, (low, high) in zip(sizes, window, strides, pads, strict=True):
        room = low + size + high - taps
        if room < 0:
            raise ValueError(f"window: at most the padded size of x {x.shape}, not {window}")
        count = room // stride + 1
        if ceil_mode and room % stride and count * stride - low < size:
            count += 1
        if low >= taps or (count - 1) * stride - low >= size:
            raise ValueError(f"padding: less than the window {window}, not {padding}")
        outputs.append(count)
    return _Grid(sizes, window, strides, pads, tuple(outputs))


def _reduce(
    x: Array, start: np.ndarray, operation: Callable[[Any, Any], Any], grid: _Grid
) -> Array:
    """Windows over the spatial dimensions, which stand before the last one."""
    spans = []
    for size, taps, stride, (low, _), outputs in zip(*grid, strict=True):
        reach = (outputs - 1) * stride + taps
        spans.append((low, max(reach - low - size, 0)))
    lead = (1,) * (x.ndim - len(spans) - 1)
    return lax.reduce_window(
        x,
        start,
        operation,
        (*lead, *grid.window, 1),
        (*lead, *grid.strides, 1),
        [*((0, 0) for _ in lead), *spans, (0, 0)],
    )


def _check_floating(x: Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating-point, not {x.dtype}")
