"""The data order: the examples of a step are a pure function of the seed and the step."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.types import Array, Batch, Key

__all__ = ["balanced_order", "epoch_order", "take_batch"]


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


def balanced_order(key: Key, epoch: Array, *, labels: Array, num_classes: int) -> Array:
    """Returns an order in which an epoch visits all classes equally often.

    Every `num_classes` consecutive examples, counted from the first, are of different classes. The
    examples of a class are visited in random order, and again in this order if the class is rare:
    within an epoch, their numbers of visits differ by at most 1.

    Args:
      key: PRNG key of the run's data order.
      epoch: index of the epoch.
      labels: `[n]` int32, the classes of the training examples.
      num_classes: number of classes, each of which must have an example.

    Returns:
      `[n]` int32, indices in `range(n)`.

    Example:
      >>> labels = jnp.array([0, 0, 0, 0, 0, 1])
      >>> order = balanced_order(jax.random.key(0), jnp.int32(3), labels=labels, num_classes=2)
      >>> sorted(labels[order].tolist())
      [0, 0, 0, 1, 1, 1]
    """
    size = len(labels)
    example_key, class_key = jax.random.split(jax.random.fold_in(key, epoch))
    shuffled = jax.random.permutation(example_key, jnp.arange(size, dtype=jnp.int32))
    by_class = shuffled[jnp.argsort(labels[shuffled], stable=True)]
    counts = jnp.bincount(labels, length=num_classes)
    starts = jnp.cumsum(counts) - counts
    rounds = -(-size // num_classes)
    classes = jnp.argsort(jax.random.uniform(class_key, (rounds, num_classes)), axis=1)
    visits = jnp.arange(rounds, dtype=jnp.int32)[:, None] % counts[classes]
    return by_class[(starts[classes] + visits).reshape(-1)[:size]]


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
