"""Pooling: one value for each window.

`x` is `[..., *spatial, channels]`. The functions take the arguments of `flax.linen.max_pool`,
except that `window_shape` and `strides` may be ints and `padding` too:

- `window_shape`: the sizes of the window; an int stands for two spatial dimensions of that size.
- `strides`: steps between windows; None for 1, whereas PyTorch and Keras default to the window.
- `padding`: "VALID" for none; "SAME", as in TensorFlow, for `ceil(size / strides)` windows with the
  odd padding at the end; an int for each side; or a (before, after) pair for each dimension. It
  must be smaller than the window.
- `ceil_mode`: whether a last window may reach beyond the padding if it starts within x, as in
  PyTorch.
"""

import functools
import itertools
import math
import operator
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.layers import _norms
from jaxml.layers._dtypes import check_floating, wide
from jaxml.layers._padding import Padding, each_dimension, explicit_padding
from jaxml.types import Array, Float, Num

Window = int | Sequence[int]


def max_pool(
    x: Num[Array, "*shape"],
    window_shape: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    *,
    ceil_mode: bool = False,
    deterministic: bool | None = None,
) -> Num[Array, "*pooled"]:
    r"""Computes the maximum of each window.

    .. math:: y_{i,c} = \max_u x_{s i + u - p,\ c}

    Padding is never the maximum. The gradient goes to the first of equal values. For finite inputs
    the values are those of `flax.linen.max_pool`, which rejects integers.

    Args:
      x: `[..., *spatial, channels]`, integer or floating-point.
      window_shape: sizes of the window.
      strides: s, steps between windows; None for 1.
      padding: p, smaller than the window.
      ceil_mode: whether to keep a last, partial window.
      deterministic: whether the gradient is summed in a fixed order on every backend, without
        XLA's select-and-scatter, whose order varies on a GPU. It has the bits of
        select-and-scatter on a CPU, and is slower there. None selects it on a GPU if `XLA_FLAGS`
        has `--xla_gpu_deterministic_ops` or `--xla_gpu_exclude_nondeterministic_ops`.

    Returns:
      `[..., *windows, channels]`, NaN where a window contains NaN.

    Example:
      >>> x = jnp.arange(5.0).reshape(5, 1)
      >>> max_pool(x, (2,), strides=(2,)).tolist()
      [[1.0], [3.0]]
      >>> max_pool(x, (2,), strides=(2,), ceil_mode=True).tolist()
      [[1.0], [3.0], [4.0]]

    Reference: PyTorch's `max_pool1d` to `3d`, which allow a padding of half the window at most.
    """
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    if not floating and not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"`x` must be integer or floating-point, got {x.dtype}")
    grid = _grid(x, window_shape, strides, padding, ceil_mode)
    if not floating:
        return _reduce(x, np.asarray(jnp.iinfo(x.dtype).min, x.dtype), lax.max, grid)
    if deterministic is None:
        deterministic = _is_determinism_required(os.environ.get("XLA_FLAGS", ""))
    return _deterministic_max(x, grid) if deterministic else _max(x, grid)


def _is_determinism_required(xla_flags: str) -> bool:
    """Returns whether XLA flags exclude nondeterministic operations on the default backend.

    >>> _is_determinism_required("--xla_gpu_deterministic_ops=false")
    False
    """
    names = "xla_gpu_deterministic_ops|xla_gpu_exclude_nondeterministic_ops"
    values = re.findall(rf"--(?:{names})(?:=(\S*))?(?=\s|$)", xla_flags)
    required = any(value.lower() not in ("false", "0") for value in values)
    return required and jax.default_backend() == "gpu"


def _max(x: Array, grid: "_Grid") -> Array:
    return _reduce(x, np.asarray(-jnp.inf, x.dtype), lax.max, grid)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _deterministic_max(x: Array, grid: "_Grid") -> Array:
    """Computes `_max`, with derivatives that consist of slices, comparisons and selections."""
    return _max(x, grid)


@_deterministic_max.defjvp
def _deterministic_max_jvp(
    grid: "_Grid", primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (x,), (direction,) = primals, tangents
    best, *others = _taps(lax.stop_gradient(x), -np.inf, grid)
    first = jnp.zeros(best.shape, jnp.int32)
    for i, tap in enumerate(others, start=1):
        keeps = best >= tap  # the comparison of select-and-scatter, also for NaN
        best, first = jnp.where(keeps, best, tap), jnp.where(keeps, first, i)
    # The transpose adds the last tap first: for each pixel, in the order of the windows.
    chosen = [
        jnp.where(first == i, tap, jnp.zeros_like(tap))
        for i, tap in enumerate(_taps(direction, 0.0, grid))
    ]
    return _deterministic_max(x, grid), functools.reduce(operator.add, chosen)


def _taps(x: Array, fill: float, grid: "_Grid") -> Iterator[Array]:
    """Yields the values at each position of the windows, in row-major order."""
    lead = (0,) * (x.ndim - len(grid.window) - 1)
    widths = [(0, 0, 0) for _ in lead], [(*span, 0) for span in grid.spans()], [(0, 0, 0)]
    padded = lax.pad(x, np.asarray(fill, x.dtype), [*itertools.chain(*widths)])
    for offset in itertools.product(*map(range, grid.window)):
        ends = [
            first + (outputs - 1) * stride + 1
            for first, outputs, stride in zip(offset, grid.outputs, grid.strides, strict=True)
        ]
        limits = (*x.shape[: len(lead)], *ends, x.shape[-1])
        strides = (*(1 for _ in lead), *grid.strides, 1)
        yield lax.slice(padded, (*lead, *offset, 0), limits, strides)


def average_pool(
    x: Float[Array, "*shape"],
    window_shape: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Float[Array, "*pooled"]:
    r"""Computes the mean of each window.

    .. math:: y_{i,c} = \frac{1}{n_i} \sum_u x_{s i + u - p,\ c}

    Args:
      x: `[..., *spatial, channels]`.
      window_shape: as in `max_pool`.
      strides: as in `max_pool`.
      padding: as in `max_pool`.
      ceil_mode: as in `max_pool`; the part of a window beyond the padding never counts.
      count_include_pad: whether n counts the zeros of the padding. TensorFlow and Keras never count
        them; PyTorch and `flax.linen.avg_pool` do by default.

    Returns:
      `[..., *windows, channels]`.

    Example:
      >>> average_pool(jnp.full((2, 1), 6.0), (2,), padding=1).tolist()
      [[6.0], [6.0], [6.0]]
    """
    check_floating(x)
    grid = _grid(x, window_shape, strides, padding, ceil_mode)
    sums = _reduce(x.astype(wide(x)), np.zeros((), wide(x)), lax.add, grid)
    counts = grid.counts(include_padding=count_include_pad).astype(sums.dtype)
    return (sums / jnp.broadcast_to(counts[..., None], sums.shape)).astype(x.dtype)


def lp_pool(
    x: Float[Array, "*shape"],
    window_shape: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    *,
    p: float,
    ceil_mode: bool = False,
) -> Float[Array, "*pooled"]:
    r"""Computes the p-norm of each window, between the sum (p = 1) and the maximum of magnitudes.

    .. math:: y_{i,c} = \Big(\sum_u |x_{s i + u - p,\ c}|^p\Big)^{1/p}

    Powers are relative to the largest magnitude of each image and channel, so a window underflows
    to 0 only where it is smaller by a factor of about `1e-38 ** (1 / p)`.

    Args:
      x: `[..., *spatial, channels]`.
      window_shape: as in `max_pool`.
      strides: as in `max_pool`.
      padding: as in `max_pool`, with zeros.
      p: the exponent, at least 1 and finite.
      ceil_mode: as in `max_pool`.

    Returns:
      `[..., *windows, channels]`, with a gradient of 0 at zeros.

    Example:
      >>> lp_pool(jnp.array([[-1.0], [2.0], [2.0]]), (3,), p=1.0).tolist()
      [[5.0]]

    Reference: Sermanet, Chintala, LeCun, "Convolutional neural networks applied to house numbers
    digit classification", 2012. PyTorch's `lp_pool1d` to `3d` keep the sign where p is odd, and in
    ceil_mode scale a partial last window as if it were full.
    """
    check_floating(x)
    if not 1 <= p < math.inf:
        raise ValueError(f"`p` must be at least 1 and finite, got {p}")
    grid = _grid(x, window_shape, strides, padding, ceil_mode)
    dtype, x = x.dtype, x.astype(wide(x))
    # Unlike that of jnp.abs, this gradient is 0 at 0.
    magnitudes = x * jnp.sign(x)
    axes = tuple(range(-1 - len(grid.window), -1))
    scale = _norms.power_of_two_near(jnp.max(magnitudes, axis=axes, keepdims=True))
    powers = jnp.power(magnitudes / scale, int(p) if p == int(p) else p)
    sums = _reduce(powers, np.zeros((), x.dtype), lax.add, grid)
    # Never take the root of 0, whose gradient is infinite.
    roots = jnp.power(jnp.where(sums == 0, 1.0, sums), 1 / p)
    return (scale * jnp.where(sums == 0, 0.0, roots)).astype(dtype)


def l2_pool(
    x: Float[Array, "*shape"],
    window_shape: Window,
    strides: Window | None = None,
    padding: Padding = "VALID",
    *,
    ceil_mode: bool = False,
) -> Float[Array, "*pooled"]:
    r"""Computes the Euclidean norm of each window: `lp_pool` with p = 2, a sum rather than a mean.

    .. math:: y_{i,c} = \sqrt{\textstyle\sum_u x_{s i + u - p,\ c}^2}

    Args:
      x: `[..., *spatial, channels]`.
      window_shape: as in `max_pool`.
      strides: as in `max_pool`.
      padding: as in `max_pool`, with zeros.
      ceil_mode: as in `max_pool`.

    Returns:
      `[..., *windows, channels]`.

    Example:
      >>> l2_pool(jnp.array([[3.0], [4.0]]), (2,)).tolist()
      [[5.0]]
    """
    return lp_pool(x, window_shape, strides, padding, p=2.0, ceil_mode=ceil_mode)


class _Grid(NamedTuple):
    """Positions of the windows, as one number for each spatial dimension."""

    sizes: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]

    def spans(self) -> list[tuple[int, int]]:
        """Returns the padding before and after x that the windows reach."""
        spans = []
        for size, taps, stride, (low, _), outputs in zip(*self, strict=True):
            reach = (outputs - 1) * stride + taps
            spans.append((low, max(reach - low - size, 0)))
        return spans

    def counts(self, *, include_padding: bool) -> np.ndarray:
        """Returns the number of values in each window, `[*outputs]`."""
        counts = np.ones((), np.int64)
        for size, taps, stride, (low, high), outputs in zip(*self, strict=True):
            start = np.arange(outputs) * stride - low
            first, last = (-low, size + high) if include_padding else (0, size)
            held = np.minimum(start + taps, last) - np.maximum(start, first)
            counts = np.multiply.outer(counts, held)
        return counts


def _grid(
    x: Array, window_shape: Window, strides: Window | None, padding: Padding, ceil_mode: bool
) -> _Grid:
    dims = len(window_shape) if isinstance(window_shape, Sequence) else 2
    window = each_dimension("window_shape", window_shape, dims)
    strides = each_dimension("strides", 1 if strides is None else strides, dims)
    if x.ndim < dims + 1:
        raise ValueError(
            f"`x` must have {dims} spatial dimensions and channels, got shape {x.shape}"
        )
    sizes = x.shape[-dims - 1 : -1]
    if 0 in sizes:
        raise ValueError(f"`x` must have at least one pixel, got shape {x.shape}")
    pads = explicit_padding(padding, sizes, window, strides, (1,) * dims)
    outputs = []
    for size, taps, stride, (low, high) in zip(sizes, window, strides, pads, strict=True):
        room = low + size + high - taps
        if room < 0:
            raise ValueError(
                f"`window_shape` must be at most the padded size of x of shape {x.shape}, "
                f"got {window}"
            )
        count = room // stride + 1
        if ceil_mode and room % stride and count * stride - low < size:
            count += 1
        if low >= taps or (count - 1) * stride - low >= size:
            raise ValueError(f"`padding` must be smaller than the window {window}, got {padding}")
        outputs.append(count)
    return _Grid(sizes, window, strides, pads, tuple(outputs))


def _reduce(
    x: Array, start: np.ndarray, operation: Callable[[Any, Any], Any], grid: _Grid
) -> Array:
    """Reduces windows over the spatial dimensions, which precede the last one."""
    lead = (1,) * (x.ndim - len(grid.window) - 1)
    return lax.reduce_window(
        x,
        start,
        operation,
        (*lead, *grid.window, 1),
        (*lead, *grid.strides, 1),
        [*((0, 0) for _ in lead), *grid.spans(), (0, 0)],
    )
