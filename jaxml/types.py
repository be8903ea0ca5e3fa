"""Shared types.

Array types carry dtype and shape: `Float[Array, "*batch in"]` is a floating-point array with any
leading dimensions and a last dimension `in`, and a dimension name that occurs twice in a signature
has one size. They cost nothing at run time; the test suite checks every call against them.
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
    """A batch of examples.

    Attributes:
      inputs: raw images `[batch, height, width, channels]` or features `[batch, features]`.
      targets: integer labels or real values, `[batch]`, or probabilities `[batch, classes]`.
    """

    inputs: Array
    targets: Array


@runtime_checkable
class Initializer(Protocol):
    """A function that draws an initial array, as in `jax.nn.initializers`."""

    def __call__(self, key: Key, shape: Sequence[int], dtype: Any = ..., /) -> Array:
        """Returns an array of the given shape and dtype."""
        ...
