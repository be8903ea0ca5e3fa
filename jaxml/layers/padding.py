"""What windows share: numbers for each spatial dimension, and zeros around an image."""

import operator
from collections.abc import Sequence
from typing import Any

from jax import lax

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
