"""Arguments of windows: one number for each spatial dimension, and zeros around an image."""

import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxml.types import Array

Padding = str | int | Sequence[tuple[int, int]]


def each_dimension(
    name: str, value: int | Sequence[int], dimensions: int, least: int = 1
) -> tuple[int, ...]:
    """Returns one int for each spatial dimension, given one for all of them or one for each."""
    try:
        values = value if isinstance(value, Sequence) else [value] * dimensions
        values = tuple(operator.index(entry) for entry in values)
    except TypeError:
        raise TypeError(f"`{name}` must be an int or {dimensions} ints, got {value!r}") from None
    if len(values) != dimensions:
        raise ValueError(f"`{name}` must be an int or {dimensions} ints, got {value}")
    if min(values) < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")
    return values


def explicit_padding(
    padding: Padding,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Returns the numbers of zeros before and after each spatial dimension.

    "SAME" is TensorFlow's: `ceil(size / stride)` windows, with the odd zero at the end.
    """
    if isinstance(padding, str) and padding in ("SAME", "VALID"):
        reach = [(taps - 1) * step + 1 for taps, step in zip(window, dilation, strict=True)]
        padding = lax.padtype_to_pads(sizes, reach, strides, padding)
    pairs: Any = padding if isinstance(padding, Sequence) else [(padding, padding)] * len(sizes)
    try:
        pads = tuple((operator.index(low), operator.index(high)) for low, high in pairs)
    except (TypeError, ValueError):
        pads = ()
    if len(pads) != len(sizes):
        allowed = f"'SAME', 'VALID', an int or {len(sizes)} pairs of ints"
        raise ValueError(f"`padding` must be {allowed}, got {padding!r}")
    if min(map(min, pads)) < 0:
        raise ValueError(f"`padding` must be non-negative, got {padding}")
    return pads


def move_excess_padding(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> tuple[Array, list[tuple[int, int]]]:
    """Adds the zeros to images that a convolution must not add itself.

    The derivatives of a convolution, of any order, are convolutions as well. JAX derives their
    padding from the original padding, and the result can be negative. XLA's convolution on a CPU
    reads uninitialized memory where the padding before a dimension is negative
    (https://github.com/openxla/xla/issues/48713). With a reach r of the window and a distance o
    from the first to the last result plus 1, the derived paddings before a dimension are

        before, r - 1 - before, o - 1 - before and size + before - r.

    Zeros are moved from the padding to the image until none of these is negative and the padding
    after it is at most r - 1, too. Nothing moves where the padding is less than the window and
    than the result, which is the common case (see `_aborts` for the exception).

    Args:
      x: images `[batch, *spatial, channels]`.
      window: window of the convolution.
      strides: strides of the convolution.
      pads: the (before, after) padding of each spatial dimension, non-negative.
      dilation: dilation of the convolution.

    Returns:
      The images with additional zeros, and the remaining padding.
    """
    ahead = []
    dimensions = zip(x.shape[1:-1], window, strides, pads, dilation, strict=True)
    for size, taps, stride, (before, after), spread in dimensions:
        reach = (taps - 1) * spread + 1
        room = size + before + after - reach
        if room < 0:  # no result, so no derivative
            ahead.append((0, 0))
            continue
        low = max(before + 1 - min(reach, room // stride * stride + 1), 0)
        high = max(after + 1 - reach, reach - size - before, 0)
        if before - low == reach - 1 and _aborts(low + size + high, taps, stride, spread):
            low = min(low + 1, before)
        ahead.append((low, high))
    left = [
        (before - low, after - high)
        for (before, after), (low, high) in zip(pads, ahead, strict=True)
    ]
    return _with_zeros(x, ahead), left


def _aborts(size: int, taps: int, stride: int, spread: int) -> bool:
    """Returns whether XLA may abort at a derivative that needs no padding before this dimension.

    XLA's simplifier swaps images and kernel where the kernel is larger. If a dimension without
    padding dilates the images by the window w and has a stride of w - 1, the simplifier mistakes it
    for a grouped one and ends the process: "Window dimensions do not match RHS shape". In the
    gradient with respect to an image, that window is the convolution's own; in the gradient of that
    gradient, it is the image.
    """
    return (taps == stride == 2 and spread == 1) or (size == stride and spread == size - 1)


def _with_zeros(x: Array, ahead: Sequence[tuple[int, int]]) -> Array:
    """Returns images with zeros around their spatial dimensions.

    The derivative of a concatenation is a slice. The derivative of `lax.pad` is a negative padding,
    which XLA may merge incorrectly with the padding of a following convolution
    (https://github.com/openxla/xla/issues/48715).
    """
    for axis, counts in enumerate(ahead, start=1):
        if any(counts):
            low, high = (
                jnp.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
                for count in counts
            )
            x = jnp.concatenate([low, x, high], axis)
    return x
