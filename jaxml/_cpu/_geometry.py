"""Sizes of a convolution and of its gradients."""

from collections.abc import Sequence
from typing import NamedTuple, Self

Pads = tuple[tuple[int, int], tuple[int, int]]


class Geometry(NamedTuple):
    """Sizes of a convolution of images, except batch and channels."""

    image: tuple[int, int]
    window: tuple[int, int]
    strides: tuple[int, int]
    pads: Pads

    @property
    def result_size(self) -> int:
        """Number of pixels of the result."""
        height, width = self.spread_result
        return -(-height // self.strides[0]) * -(-width // self.strides[1])

    @property
    def spread_result(self) -> tuple[int, int]:
        """Height and width of the result with its pixels spread by the strides."""
        height, width = (
            max((size + sum(pad) - window) // step * step + 1, 0)
            for size, window, step, pad in zip(
                self.image, self.window, self.strides, self.pads, strict=True
            )
        )
        return height, width

    @property
    def gradient_pads(self) -> Pads:
        """Padding of the spread gradient of the result in the gradient of the image."""
        rows, columns = (
            (window - 1 - before, size + before - spread)
            for size, window, (before, _), spread in zip(
                self.image, self.window, self.pads, self.spread_result, strict=True
            )
        )
        return rows, columns

    @property
    def used_pads(self) -> Pads:
        """Padding that windows cover: `pads` without the remainder at the end; may be negative."""
        rows, columns = (
            (before, window - 1 + spread - size - before)
            for size, window, (before, _), spread in zip(
                self.image, self.window, self.pads, self.spread_result, strict=True
            )
        )
        return rows, columns


def result_shape(
    image: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> list[int]:
    """Returns the spatial shape of the result of a convolution with a dilated window."""
    return [
        (size + sum(pad) - (taps - 1) * spread - 1) // step + 1
        for size, taps, step, pad, spread in zip(
            image, window, strides, pads, dilation, strict=True
        )
    ]


class Tiles(NamedTuple):
    """One dimension of an image, cut into tiles as long as the stride.

    Pixel i of a tile contributes to the results `tile + last - t` for t from 0 to `reach - 1` by
    the taps `stride * t + i - zeros[0]`, where the kernel has them.

    Attributes:
      number: number of tiles, the last of which may extend beyond the image.
      reach: number of results that a tile contributes to.
      last: offset from a tile to the last of these results.
      zeros: number of zeros before and after the taps of the kernel.
    """

    number: int
    reach: int
    last: int
    zeros: tuple[int, int]

    @classmethod
    def of(cls, size: int, window: int, stride: int, pads: tuple[int, int]) -> Self:
        """Returns the tiles of a dimension of the given size."""
        last = -(-pads[0] // stride)
        front = stride * last - pads[0]
        reach = -(-(window + front) // stride)
        return cls(-(-size // stride), reach, last, (front, stride * reach - window - front))
