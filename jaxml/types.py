"""The few types that the leaves share."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Key = jax.Array
PyTree = Any


class Batch(NamedTuple):
    """Images `[batch, height, width, channels]` with their integer labels `[batch]`."""

    images: Array
    labels: Array


class Initializer(Protocol):
    """Draws an array of a shape from a key."""

    def __call__(self, key: Key, shape: Sequence[int], dtype: Any = ..., /) -> Array:
        """The array, from a key, a shape and a dtype."""
        ...
