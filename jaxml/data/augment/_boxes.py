"""Rectangles of pixels, one for each image."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxml.data.augment import _pixels as pixels
from jaxml.types import Array, Key

TRIES = 10


class Boxes(NamedTuple):
    """Rectangles of pixels.

    Attributes:
      top: `[batch]`, first row.
      left: `[batch]`, first column.
      height: `[batch]`, number of rows.
      width: `[batch]`, number of columns.
    """

    top: Array
    left: Array
    height: Array
    width: Array


def draw_boxes(
    key: Key,
    shape: tuple[int, ...],
    *,
    min_area: float,
    max_area: float,
    max_aspect: float,
    most: tuple[int, int],
    otherwise: tuple[int, int],
) -> Boxes:
    """Draws rectangles of random area, aspect ratio and position.

    Areas and aspect ratios are drawn ten times for each image, and the first rectangle that fits is
    taken.

    Args:
      key: a PRNG key.
      shape: shape of the images.
      min_area: smallest area, as a fraction of the image. The area is uniform.
      max_area: largest area.
      max_aspect: largest ratio of width to height. Its logarithm is uniform and symmetric.
      most: largest height and width.
      otherwise: height and width of the box, in the center, if no rectangle fits.
    """
    pixels.check_range("min_area", min_area, 0, max_area)
    pixels.check_range("max_area", max_area, 0, 1)
    if max_aspect < 1:
        raise ValueError(f"`max_aspect` must be at least 1, got {max_aspect}")
    batch, height, width, _ = shape
    area_key, aspect_key, top_key, left_key = jax.random.split(key, 4)
    areas = height * width * _uniform(area_key, (batch, TRIES), min_area, max_area)
    low, high = jnp.log(jnp.asarray([1 / max_aspect, max_aspect], jnp.float32))
    ratios = jnp.exp(low + (high - low) * _uniform(aspect_key, (batch, TRIES), 0, 1))
    heights, widths = jnp.round(jnp.sqrt(areas / ratios)), jnp.round(jnp.sqrt(areas * ratios))
    fits = (heights >= 1) & (widths >= 1) & (heights <= most[0]) & (widths <= most[1])
    first = jnp.argmax(fits, axis=1)[:, None]
    found = jnp.any(fits, axis=1)

    def choose(sizes: Array, instead: int) -> Array:
        sizes = jnp.take_along_axis(sizes, first, axis=1)[:, 0].astype(jnp.int32)
        return jnp.where(found, sizes, instead)

    def place(key: Key, sizes: Array, size: int) -> Array:
        room = size - sizes
        start = jnp.floor(_uniform(key, (batch,), 0, 1) * (room + 1).astype(jnp.float32))
        return jnp.where(found, jnp.minimum(start.astype(jnp.int32), room), room // 2)

    box_height, box_width = choose(heights, otherwise[0]), choose(widths, otherwise[1])
    top, left = place(top_key, box_height, height), place(left_key, box_width, width)
    return Boxes(top, left, box_height, box_width)


def inside(boxes: Boxes, shape: tuple[int, ...]) -> Array:
    """Returns `[batch, height, width, 1]` booleans that are True inside the boxes."""
    _, height, width, _ = shape
    rows = _between(boxes.top, boxes.height, height)
    columns = _between(boxes.left, boxes.width, width)
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _between(start: Array, length: Array, size: int) -> Array:
    positions = jnp.arange(size, dtype=jnp.int32)[None]
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])


def _uniform(key: Key, shape: tuple[int, ...], low: float, high: float) -> Array:
    return jax.random.uniform(key, shape, jnp.float32, low, high)
