"""The few types that the leaves share.

Shapes are part of the types: `Float[Array, "*batch in"]` is a floating-point array (bfloat16 to
float64) of any leading dimensions and a last one called `in`; a name that comes twice in a
signature is one size. They cost nothing when the program runs; the tests check every call against
them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Bool, Float, Integer, Num, Shaped

Array = jax.Array
Key = jax.Array
PyTree = Any

__all__ = [
    "Array", "Batch", "Bool", "Float", "Initializer", "Integer", "Key", "Num", "PyTree", "Shaped"
]  # fmt: skip


class Batch(NamedTuple):
    """Examples `[batch, ...]` with what is to be said of each.

    Attributes:
      inputs: images `[batch, height, width, channels]` or features `[batch, features]`, raw.
      targets: integer labels `[batch]`, or real values `[batch]`.
    """

    inputs: Array
    targets: Array


@runtime_checkable
class Initializer(Protocol):
    """Draws an array of a shape from a key."""

    def __call__(self, key: Key, shape: Sequence[int], dtype: Any = ..., /) -> Array:
        """The array, from a key, a shape and a dtype."""
        ...
