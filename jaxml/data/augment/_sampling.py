"""Sampling of images at other coordinates.

Coordinates are in pixels from the center of the image, x to the right and y down. Pixels outside of
the image are 0.
"""

import jax
import jax.numpy as jnp

from jaxml.data.augment import _pixels as pixels
from jaxml.types import Array

_INTERPOLATIONS = ("nearest", "bilinear")


def affine_by_matrix(images: Array, matrix: Array, *, interpolation: str) -> Array:
    """Transforms images by `[batch, 2, 3]` matrices from output to input coordinates."""
    pixels.check_images(images)
    x, y = _centers(images)
    entries = matrix.astype(jnp.float32)[..., None, None]
    source_x, source_y = (
        entries[:, row, 0] * x + entries[:, row, 1] * y + entries[:, row, 2] for row in range(2)
    )
    return sample(images, source_x, source_y, interpolation)


def sample(images: Array, x: Array, y: Array, interpolation: str) -> Array:
    """Samples images at coordinates `[batch, height, width]` from their center."""
    pixels.check_choice("interpolation", interpolation, _INTERPOLATIONS)
    height, width = images.shape[1:3]
    x, y = jnp.broadcast_arrays(x + (width - 1) / 2, y + (height - 1) / 2)
    if interpolation == "nearest":
        return _gather(images, jnp.floor(x + 0.5), jnp.floor(y + 0.5))
    left, top = jnp.floor(x), jnp.floor(y)
    total = jnp.zeros(images.shape, jnp.float32)
    for across, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
        for down, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
            values = pixels.to_float(_gather(images, across, down))
            total += (weight_x * weight_y)[..., None] * values
    return pixels.to_dtype(total, images.dtype)


def _gather(images: Array, x: Array, y: Array) -> Array:
    """Takes the pixels at columns x and rows y, whole numbers; those outside are 0."""
    batch, height, width, channels = images.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = jnp.where(inside, y * width + x, 0).astype(jnp.int32)
    flat = images.reshape(batch, height * width, channels)
    taken = jax.vmap(lambda image, i: jnp.take(image, i, axis=0, mode="clip"))(flat, index)
    return jnp.where(inside[..., None], taken, jnp.zeros_like(taken))


def _centers(images: Array) -> tuple[Array, Array]:
    """Returns x `[1, 1, width]` and y `[1, height, 1]` of the centers of the pixels."""
    height, width = images.shape[1:3]
    x, y = (jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2 for size in (width, height))
    return x[None, None, :], y[None, :, None]
