"""Random changes of training images, on the device, inside the compiled step."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.types import Array, Key


def random_flip(key: Key, images: Array) -> Array:
    """Mirrors each image left to right with probability 1/2.

    Args:
      key: of this batch.
      images: `[batch, height, width, channels]`.

    Returns:
      The same shape and dtype.

    Example:
      >>> random_flip(jax.random.key(0), jnp.zeros((2, 4, 4, 1))).shape
      (2, 4, 4, 1)
    """
    flipped = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flipped, images[:, :, ::-1], images)


def random_crop(key: Key, images: Array, *, padding: int) -> Array:
    """Surrounds each image with zeros and cuts its own size out at a random place.

    Args:
      key: of this batch.
      images: `[batch, height, width, channels]`.
      padding: zeros on each side, at least 0.

    Returns:
      The same shape and dtype; each of the `(2 padding + 1)^2` places is equally likely.

    Example:
      >>> random_crop(jax.random.key(0), jnp.ones((2, 4, 4, 1)), padding=1).shape
      (2, 4, 4, 1)

    Source: the augmentation of He et al. 2015, section 4.2.
    """
    padded = jnp.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * padding + 1)

    def crop(image: Array, corner: Array) -> Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

    return jax.vmap(crop)(padded, corners)
