"""Random augmentation of image batches `[batch, height, width, channels]`.

The functions run on the device, inside the compiled training step, and keep shape and dtype.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.types import Array, Key

__all__ = ["random_crop", "random_flip"]


def random_flip(key: Key, images: Array) -> Array:
    """Flips each image horizontally with probability 1/2.

    Example:
      >>> random_flip(jax.random.key(0), jnp.zeros((2, 4, 4, 1))).shape
      (2, 4, 4, 1)
    """
    flipped = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flipped, images[:, :, ::-1], images)


def random_crop(key: Key, images: Array, *, padding: int) -> Array:
    """Pads each image with zeros and crops it to its original size at a random position.

    Args:
      key: a PRNG key.
      images: the batch.
      padding: zeros on each side, non-negative. All `(2 padding + 1)^2` positions are equally
        likely.

    Example:
      >>> random_crop(jax.random.key(0), jnp.ones((2, 4, 4, 1)), padding=1).shape
      (2, 4, 4, 1)

    References:
      He et al., "Deep residual learning for image recognition", 2015, section 4.2.
    """
    padded = jnp.pad(images, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * padding + 1)

    def crop(image: Array, corner: Array) -> Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

    return jax.vmap(crop)(padded, corners)
