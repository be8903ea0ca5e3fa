"""The data order: the examples of a step are a pure function of the seed and the step."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.types import Array, Batch, Key

__all__ = ["epoch_order", "take_batch"]


def epoch_order(key: Key, epoch: Array, *, size: int) -> Array:
    """Returns the order in which an epoch visits the training set.

    Args:
      key: PRNG key of the run's data order.
      epoch: index of the epoch.
      size: number of training examples.

    Returns:
      `[size]` int32, a permutation of `range(size)`.

    Example:
      >>> sorted(epoch_order(jax.random.key(0), jnp.int32(3), size=4).tolist())
      [0, 1, 2, 3]
    """
    return jax.random.permutation(jax.random.fold_in(key, epoch), jnp.arange(size, dtype=jnp.int32))


def take_batch(data: Batch, order: Array, index: Array, *, batch_size: int) -> Batch:
    """Gathers one batch of an epoch on the device.

    Args:
      data: the whole set.
      order: the order of the epoch.
      index: index of the batch within the epoch.
      batch_size: number of examples in a batch.

    Returns:
      The examples `order[index * batch_size:][:batch_size]`.
    """
    chosen = lax.dynamic_slice_in_dim(order, index * batch_size, batch_size)
    return Batch(*(jnp.take(array, chosen, axis=0, mode="clip") for array in data))
