"""What metrics are made of: sums over examples, so that ragged batches stay exact."""

import operator
from typing import Self

import jax
import jax.numpy as jnp
from flax import struct

from jaxml.types import Array


class Sums(struct.PyTreeNode):
    """Sums over examples: those of stacked batches or devices are their sum over the first axis."""

    def merge(self, other: Self) -> Self:
        """The metrics of both sets of examples."""
        return jax.tree.map(operator.add, self, other)


def counted(mask: Array | None, shape: tuple[int, ...]) -> Array:
    """Which examples count: booleans of that shape."""
    if mask is None:
        return jnp.ones(shape, bool)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"mask: booleans, not {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(f"mask: shape {shape}, one boolean an example, not {mask.shape}")
    return mask


def count(condition: Array) -> Array:
    """How many are True, int32."""
    return jnp.sum(condition, dtype=jnp.int32)


def total(values: Array, mask: Array) -> Array:
    """The sum under the mask, float32."""
    return jnp.sum(jnp.where(mask, values, jnp.zeros_like(values)), dtype=jnp.float32)


def check_same_shape(name: str, x: Array, shape: tuple[int, ...]) -> None:
    """Raises ValueError for another shape: nothing is broadcast."""
    if x.shape != shape:
        raise ValueError(f"{name}: shape {shape}, one value an example, not {x.shape}")


def binary(labels: Array, name: str = "labels") -> Array:
    """The labels in int32; raises TypeError for what is not integers or booleans."""
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_):
        raise TypeError(f"{name}: integers 0 and 1, or booleans, not {labels.dtype}")
    return labels.astype(jnp.int32)
