"""Flips, crops and resizing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.data.augment import _boxes as boxes
from jaxml.data.augment import _pixels as pixels
from jaxml.types import Array, Key

_UNROLLED = 8  # rows that are added up without an intermediate result
_PAD_MODES = {"zeros": "constant", "reflect": "reflect"}


def flip(images: Array) -> Array:
    """Flips images horizontally.

    >>> flip(jnp.arange(3.0).reshape(1, 1, 3, 1)).ravel().tolist()
    [2.0, 1.0, 0.0]
    """
    return images[:, :, ::-1]


def random_flip(key: Key, images: Array) -> Array:
    """Flips each image horizontally with probability 1/2.

    Example:
      >>> random_flip(jax.random.key(0), jnp.zeros((2, 4, 4, 1))).shape
      (2, 4, 4, 1)
    """
    flipped = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flipped, flip(images), images)


def alternating_flip(key: Key, images: Array, *, epoch: Array | int, indices: Array) -> Array:
    """Flips each image horizontally in every other epoch.

    Whether an image is flipped in even or in odd epochs is random, so that any two consecutive
    epochs show each image in both orientations.

    Args:
      key: a PRNG key, the same in every epoch.
      images: the batch.
      epoch: index of the epoch.
      indices: `[batch]` integers that identify the images, such as their indices in the training
        set.

    Example:
      >>> images, indices = jnp.arange(8.0).reshape(2, 1, 4, 1), jnp.arange(2)
      >>> first, second = (
      ...     alternating_flip(jax.random.key(0), images, epoch=epoch, indices=indices)
      ...     for epoch in (0, 1)
      ... )
      >>> bool(jnp.all(first == flip(second)))
      True

    References:
      Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3.6.
    """
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(indices)
    odd = jax.vmap(jax.random.bernoulli)(keys)
    flipped = odd != (jnp.asarray(epoch) % 2 == 1)
    return jnp.where(flipped[:, None, None, None], flip(images), images)


def flip_average(predict: Callable[[Array], Array], images: Array) -> Array:
    """Averages the outputs for images and for their mirror images, at test time.

    Args:
      predict: a function from images to outputs, such as logits or probabilities.
      images: the batch.

    Example:
      >>> flip_average(lambda x: x[:, 0, :1, 0], jnp.arange(3.0).reshape(1, 1, 3, 1))
      Array([[1.]], dtype=float32)
    """
    return (predict(images) + predict(flip(images))) / 2


def random_crop(key: Key, images: Array, *, padding: int, mode: str = "zeros") -> Array:
    """Pads each image and crops it to its original size at a random position.

    Args:
      key: a PRNG key.
      images: the batch.
      padding: pixels on each side, non-negative. All `(2 padding + 1)^2` positions are equally
        likely.
      mode: "zeros", or "reflect" to mirror the image at its border pixels.

    Example:
      >>> random_crop(jax.random.key(0), jnp.ones((2, 4, 4, 1)), padding=1).shape
      (2, 4, 4, 1)

    References:
      He et al., "Deep residual learning for image recognition", 2015, section 4.2.
    """
    if padding < 0:
        raise ValueError(f"`padding` must be non-negative, got {padding}")
    pixels.check_choice("mode", mode, tuple(_PAD_MODES))
    pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    padded = jnp.pad(images, pads, mode=_PAD_MODES[mode])
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * padding + 1)

    def crop(image: Array, corner: Array) -> Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

    return jax.vmap(crop)(padded, corners)


def resize(images: Array, *, size: tuple[int, int]) -> Array:
    """Resizes images bilinearly, with antialiasing where they become smaller.

    Equals `PIL.Image.Image.resize` with bilinear resampling up to its rounding of intermediate
    results. `jaxml.data.decode.center_crop` resizes and crops encoded images for evaluation.

    Args:
      images: the batch.
      size: height and width of the result.

    Example:
      >>> image = jnp.array([0, 10, 20, 30], jnp.uint8).reshape(1, 1, 4, 1)
      >>> resize(image, size=(1, 2)).ravel().tolist()
      [7, 23]
    """
    batch, height, width, _ = images.shape
    zeros = jnp.zeros(batch, jnp.int32)
    return _resized(images, boxes.Boxes(zeros, zeros, zeros + height, zeros + width), size)


def random_resized_crop(
    key: Key,
    images: Array,
    *,
    size: tuple[int, int] | None = None,
    min_area: float = 0.08,
    max_area: float = 1.0,
    max_aspect: float = 4 / 3,
) -> Array:
    """Crops a random part of each image and resizes it bilinearly, with antialiasing.

    Args:
      key: a PRNG key.
      images: the batch.
      size: height and width of the result; None keeps those of the images.
      min_area: smallest area of the crop, as a fraction of the image. The area is uniform.
      max_area: largest area of the crop.
      max_aspect: largest ratio of width to height. Its logarithm is uniform and symmetric. If ten
        draws do not fit into the image, the largest central crop of such a ratio is taken.

    Example:
      >>> random_resized_crop(jax.random.key(0), jnp.ones((2, 9, 9, 3)), size=(4, 5)).shape
      (2, 4, 5, 3)

    References:
      Szegedy et al., "Going deeper with convolutions", 2014, section 6.
    """
    pixels.check_images(images)
    height, width = images.shape[1:3]
    chosen = boxes.draw_boxes(
        key,
        images.shape,
        min_area=min_area,
        max_area=max_area,
        max_aspect=max_aspect,
        most=(height, width),
        otherwise=(
            min(height, max(round(width * max_aspect), 1)),
            min(width, max(round(height * max_aspect), 1)),
        ),
    )
    return _resized(images, chosen, size or (height, width))


def _resized(images: Array, chosen: boxes.Boxes, size: tuple[int, int]) -> Array:
    pixels.check_images(images)
    if min(size) < 1:
        raise ValueError(f"`size` must be positive, got {size}")
    values = _resample(pixels.to_float(images), chosen.top, chosen.height, size[0])
    values = _resample(values.swapaxes(1, 2), chosen.left, chosen.width, size[1])
    return pixels.to_dtype(values.swapaxes(1, 2), images.dtype)


def _resample(values: Array, start: Array, length: Array, resized: int) -> Array:
    """Resizes the rows from `start` on of `[batch, rows, ...]` arrays.

    Adding up the few rows under the filter takes, on a CPU, a fifth of the time of a product with a
    matrix of weights.
    """
    flat = values.reshape(*values.shape[:2], -1)
    taps, weights = _filter(start, length, values.shape[1], resized)

    def add(tap: Array, total: Array) -> Array:
        rows = jnp.take_along_axis(flat, taps[:, :, tap, None], axis=1, mode="clip")
        return total + rows * weights[:, :, tap, None]

    total = jnp.zeros((len(flat), resized, flat.shape[-1]), flat.dtype)
    total = lax.fori_loop(0, taps.shape[-1], add, total, unroll=_UNROLLED)
    return total.reshape(len(values), resized, *values.shape[2:])


def _filter(start: Array, length: Array, size: int, resized: int) -> tuple[Array, Array]:
    """Returns the rows under the filter of each resized row, and their weights, which add up to 1.

    The filter is a triangle, as wide as the distance of resized pixels but at least two pixels.

    Returns:
      Indices in `range(size)` and weights, `[batch, resized, taps]`.
    """
    first, length = (x.astype(jnp.float32)[:, None, None] for x in (start, length))
    scale = length / resized
    support = jnp.maximum(scale, 1)
    centers = first + (jnp.arange(resized, dtype=jnp.float32)[None, :, None] + 0.5) * scale
    num_taps = int(2 * max(size / resized, 1)) + 1
    offsets = jnp.arange(num_taps, dtype=jnp.float32)[None, None]
    taps = jnp.floor(centers - support + 0.5) + offsets
    positions = taps + 0.5
    weights = jnp.maximum(1 - jnp.abs(positions - centers) / support, 0)
    weights = jnp.where((positions > first) & (positions < first + length), weights, 0)
    taps = jnp.clip(taps, 0, size - 1).astype(jnp.int32)
    return taps, weights / jnp.sum(weights, axis=-1, keepdims=True)
