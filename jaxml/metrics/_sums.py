"""What metrics are made of: sums over examples, so that ragged batches stay exact."""

import operator
from typing import Self

import jax
import jax.numpy as jnp
from flax import struct

from jaxml.losses import _inputs as inputs
from jaxml.losses._labels import check_hard, check_inside
from jaxml.types import Array


class Sums(struct.PyTreeNode):
    """Sums over examples: those of stacked batches or devices are their sum over the first axis."""

    def merge(self, other: Self) -> Self:
        """The metrics of both sets of examples."""
        return jax.tree.map(operator.add, self, other)


def counted(mask: Array | None, shape: tuple[int, ...]) -> Array:
    """Which examples count: booleans of that shape."""
    inputs.check_mask(mask, shape, "mask")
    return jnp.ones(shape, bool) if mask is None else mask


def count(condition: Array) -> Array:
    """How many are True, int32."""
    return jnp.sum(condition, dtype=jnp.int32)


def total(values: Array, mask: Array) -> Array:
    """The sum under the mask, float32."""
    return jnp.sum(jnp.where(mask, values, jnp.zeros_like(values)), dtype=jnp.float32)


def binary(labels: Array, mask: Array | None, name: str = "labels") -> tuple[Array, Array]:
    """The labels in int32 and which of them count; raises for what is not 0, 1 or a boolean."""
    check_hard(name, labels)
    counts = counted(mask, labels.shape)
    check_inside(name, labels, mask, 2)
    return labels.astype(jnp.int32), counts
