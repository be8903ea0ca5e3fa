"""Inception blocks as pure functions, at one resolution."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxml import activations, initializers, layers
from jaxml.types import Array, Key, PyTree


class Widths(NamedTuple):
    """Output channels of the four branches, and of the 1x1 convolutions that reduce two of them.

    A reduction to 0 channels means that there is none.
    """

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pool: int

    @property
    def total(self) -> int:
        """Number of output channels."""
        return self.one + self.three + self.five + self.pool


def conv_params(key: Key, window: int, channels: int, features: int) -> dict[str, Array]:
    """Draws the kernel and bias of a convolution."""
    shape = (window, window, channels, features)
    return {
        "kernel": initializers.he_normal()(key, shape, jnp.float32),
        "bias": jnp.zeros(features),
    }


def head_params(key: Key, channels: int) -> dict[str, Array]:
    """Draws the kernel and bias of a dense layer for ten classes."""
    kernel = jax.random.normal(key, (channels, 10)) / channels**0.5
    return {"kernel": kernel, "bias": jnp.zeros(10)}


def inception_params(key: Key, channels: int, widths: Widths) -> list[list[dict[str, Array]]]:
    """Draws the convolutions of each branch."""
    keys = iter(jax.random.split(key, 6))

    def branch(window: int, reduced: int, features: int) -> list[dict[str, Array]]:
        if not reduced:
            return [conv_params(next(keys), window, channels, features)]
        first = conv_params(next(keys), 1, channels, reduced)
        return [first, conv_params(next(keys), window, reduced, features)]

    return [
        branch(1, 0, widths.one),
        branch(3, widths.reduce3, widths.three),
        branch(5, widths.reduce5, widths.five),
        branch(1, 0, widths.pool),
    ]


def inception(params: Sequence[Sequence[dict[str, Array]]], x: Array) -> Array:
    """Applies the branches 1x1, 3x3, 5x5 and pooling to the same input, and concatenates them."""
    outputs = []
    for number, branch in enumerate(params):
        y = layers.average_pool(x, 3, strides=1, padding="SAME") if number == 3 else x
        for conv in branch:
            y = activations.relu(layers.conv(y, conv["kernel"], conv["bias"]))
        outputs.append(y)
    return jnp.concatenate(outputs, axis=-1)


def multiply_adds(params: PyTree) -> int:
    """Counts the multiply-adds for one pixel: each kernel weight is used once."""
    return sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim == 4)
