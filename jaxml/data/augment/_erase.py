"""Erasing of rectangles."""

import jax
import jax.numpy as jnp

from jaxml.data.augment import _boxes as boxes
from jaxml.data.augment import _pixels as pixels
from jaxml.types import Array, Key

_FILLS = ("mean", "zeros", "noise")


def random_erasing(
    key: Key,
    images: Array,
    *,
    probability: float = 0.5,
    min_area: float = 0.02,
    max_area: float = 1 / 3,
    max_aspect: float = 10 / 3,
    fill: str = "mean",
) -> Array:
    """Erases a random rectangle of each image with a probability.

    Args:
      key: a PRNG key.
      images: the batch.
      probability: the probability.
      min_area: smallest area of the rectangle, as a fraction of the image. The area is uniform.
      max_area: largest area of the rectangle.
      max_aspect: largest ratio of width to height. Its logarithm is uniform and symmetric. If ten
        draws are not smaller than the image, nothing is erased.
      fill: "mean", the mean color of the image, which normalization takes to about 0; "zeros"; or
        "noise", uniform in each pixel.

    Example:
      >>> random_erasing(jax.random.key(0), jnp.ones((2, 4, 4, 1))).shape
      (2, 4, 4, 1)

    References:
      Zhong et al., "Random erasing data augmentation", 2017.
    """
    pixels.check_images(images)
    box_key, choice_key, fill_key = jax.random.split(key, 3)
    chosen = boxes.draw_boxes(
        box_key,
        images.shape,
        min_area=min_area,
        max_area=max_area,
        max_aspect=max_aspect,
        most=(images.shape[1] - 1, images.shape[2] - 1),
        otherwise=(0, 0),
    )
    applies = pixels.choose(choice_key, images, probability)
    erased = boxes.inside(chosen, images.shape) & applies
    return jnp.where(erased, _filling(fill_key, images, fill), images)


def cutout(key: Key, images: Array, *, size: int, fill: str = "mean") -> Array:
    """Erases a square around a random pixel of each image; it may extend beyond the image.

    Args:
      key: a PRNG key.
      images: the batch.
      size: height and width of the square.
      fill: see `random_erasing`.

    Example:
      >>> cutout(jax.random.key(0), jnp.ones((2, 4, 4, 1)), size=2).shape
      (2, 4, 4, 1)

    References:
      DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout",
      2017.
    """
    pixels.check_images(images)
    if size < 0:
        raise ValueError(f"`size` must be non-negative, got {size}")
    batch, height, width, _ = images.shape
    row_key, column_key, fill_key = jax.random.split(key, 3)
    top = jax.random.randint(row_key, (batch,), 0, height) - size // 2
    left = jax.random.randint(column_key, (batch,), 0, width) - size // 2
    sizes = jnp.full_like(top, size)
    erased = boxes.inside(boxes.Boxes(top, left, sizes, sizes), images.shape)
    return jnp.where(erased, _filling(fill_key, images, fill), images)


def _filling(key: Key, images: Array, fill: str) -> Array:
    pixels.check_choice("fill", fill, _FILLS)
    if fill == "zeros":
        return jnp.zeros_like(images)
    if fill == "mean":
        mean = jnp.mean(pixels.to_float(images), axis=(1, 2), keepdims=True)
        return pixels.to_dtype(jnp.broadcast_to(mean, images.shape), images.dtype)
    if images.dtype == jnp.uint8:
        return jax.random.bits(key, images.shape, jnp.uint8)
    noise = jax.random.uniform(key, images.shape, jnp.float32, 0, pixels.LARGEST)
    return noise.astype(images.dtype)
