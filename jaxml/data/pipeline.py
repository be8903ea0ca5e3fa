"""Which images a step sees: a pure function of the seed and the step."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.types import Array, Batch, Key


def epoch_order(key: Key, epoch: Array, *, size: int) -> Array:
    """The order in which an epoch visits the training set.

    Args:
      key: of the run's data order.
      epoch: number of the epoch, from 0.
      size: images in the set.

    Returns:
      `[size]` int32, a permutation of 0 to size - 1.

    Example:
      >>> sorted(epoch_order(jax.random.key(0), jnp.int32(3), size=4).tolist())
      [0, 1, 2, 3]
    """
    return jax.random.permutation(jax.random.fold_in(key, epoch), jnp.arange(size, dtype=jnp.int32))


def take_batch(data: Batch, order: Array, index: Array, *, batch_size: int) -> Batch:
    """The batch at one place of an epoch, gathered on the device.

    Args:
      data: the whole set.
      order: of the epoch.
      index: number of the batch in the epoch, from 0.
      batch_size: images in a batch.

    Returns:
      The images and labels at `order[index * batch_size:][:batch_size]`.
    """
    chosen = lax.dynamic_slice_in_dim(order, index * batch_size, batch_size)
    return Batch(*(jnp.take(array, chosen, axis=0, mode="clip") for array in data))
