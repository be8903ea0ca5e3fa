"""What windows share: numbers for each spatial dimension, and zeros around an image."""

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
    """One int for each spatial dimension, from one for all of them or from as many as there are."""
    try:
        values = value if isinstance(value, Sequence) else [value] * dimensions
        values = tuple(operator.index(entry) for entry in values)
    except TypeError:
        raise TypeError(f"{name}: an int or {dimensions} ints, not {value!r}") from None
    if len(values) != dimensions:
        raise ValueError(f"{name}: an int or {dimensions} ints, not {value}")
    if min(values) < least:
        raise ValueError(f"{name}: at least {least}, not {value}")
    return values


def explicit_padding(
    padding: Padding,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """How much is added before and after each spatial dimension.

    "SAME" is TensorFlow's: `ceil(size / stride)` windows, the odd one of an odd number last.
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
        raise ValueError(f"padding: {allowed}, not {padding!r}")
    if min(map(min, pads)) < 0:
        raise ValueError(f"padding: at least 0, not {padding}")
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
    reads uninitialised memory where the padding before a dimension is negative
    (https://github.com/openxla/xla/issues/48713). With a reach r of the window and a distance o
    from the first to the last result plus 1, the derived paddings before a dimension are

        before, r - 1 - before, o - 1 - before and size + before - r.

    Zeros are moved from the padding to the image until none of these is negative and the padding
    after it is at most r - 1, too. Nothing moves where the padding is less than the window and
    than the result, which is the common case (see `_aborts` for the exception).

    Args:
      x: images `[batch, *spatial, channels]`.
      window: of the convolution.
      strides: of the convolution.
      pads: the (before, after) padding of each spatial dimension, non-negative.
      dilation: of the convolution.

    Returns:
      The images with more zeros, and the padding that is left.
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

    XLA's simplifier exchanges images and kernel where the kernel is larger. A dimension without
    padding whose dilation of the images is the window w, and whose stride is w - 1, it takes for
    one of groups, and ends the process: "Window dimensions do not match RHS shape". The window is
    that of the convolution in the gradient of an image, and the image in the gradient of that.
    """
    return (taps == stride == 2 and spread == 1) or (size == stride and spread == size - 1)


def _with_zeros(x: Array, ahead: Sequence[tuple[int, int]]) -> Array:
    """Returns images with zeros around their spatial dimensions.

    The derivative of a concatenation is a slice. That of `lax.pad` is a negative padding, which XLA
    may merge wrongly with the padding of a convolution that follows
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
