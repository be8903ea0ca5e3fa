"""The base class of metrics that are sums over examples, and the sums they share."""

import operator
from typing import Self

import jax
import jax.numpy as jnp
from flax import struct

from jaxml.losses import _inputs as inputs
from jaxml.losses._labels import check_hard, check_inside
from jaxml.types import Array


class Sums(struct.PyTreeNode):
    """Sums over examples, which merge by addition."""

    def merge(self, other: Self) -> Self:
        """Returns the metrics of the examples of both."""
        return jax.tree.map(operator.add, self, other)


def included(where: Array | None, shape: tuple[int, ...]) -> Array:
    """Returns the mask over examples as an array of booleans."""
    inputs.check_mask(where, shape)
    return jnp.ones(shape, bool) if where is None else where


def count(condition: Array) -> Array:
    """Returns the number of True entries, int32."""
    return jnp.sum(condition, dtype=jnp.int32)


def total(values: Array, where: Array) -> Array:
    """Returns the sum of the included values, float32."""
    return jnp.sum(jnp.where(where, values, jnp.zeros_like(values)), dtype=jnp.float32)


def binary(labels: Array, where: Array | None, name: str = "labels") -> tuple[Array, Array]:
    """Checks binary labels and returns them in int32, with the mask over examples."""
    check_hard(name, labels)
    mask = included(where, labels.shape)
    check_inside(name, labels, where, 2)
    return labels.astype(jnp.int32), mask


def scored(
    scores: Array, labels: Array, where: Array | None, *, names: tuple[str, str]
) -> tuple[Array, Array]:
    """Checks scores with binary labels; returns the labels and the mask as `binary` does."""
    inputs.check_real(names[0], scores)
    inputs.check_same_shape(names[0], scores, labels.shape, names[1])
    return binary(labels, where, names[1])
