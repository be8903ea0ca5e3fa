"""Gram matrices: a plain array, or what multiplies like one without being made."""

from typing import Any, Protocol, runtime_checkable

from flax import struct

from jaxml.types import Array


@runtime_checkable
class Gram(Protocol):
    """The inner products `K_ij = <phi(x_i), phi(x_j)>` of all rows, known by what it multiplies.

    An array `[rows, rows]` is one; so are `LinearGram` and `KnownProducts`.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """`(rows, rows)`."""
        ...

    @property
    def dtype(self) -> Any:
        """A floating dtype."""
        ...

    def __matmul__(self, coefficients: Any, /) -> Any:
        """`K c` for coefficients `[rows]` or `[rows, classes]`."""
        ...


@struct.dataclass
class LinearGram:
    """The Gram matrix `x x^T` of a linear problem, multiplied as `x (x^T c)` and never made.

    Attributes:
      x: `[rows, features]`: an array, or anything with `@`, `T`, `shape` and `dtype`, such as a
        sparse matrix of `jax.experimental.sparse`.

    Example:
      >>> import jax.numpy as jnp
      >>> (LinearGram(jnp.array([[1.0, 2.0], [0.0, 1.0]])) @ jnp.array([1.0, -1.0])).tolist()
      [3.0, 1.0]
    """

    x: Any

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, rows)`."""
        return self.x.shape[0], self.x.shape[0]

    @property
    def dtype(self) -> Any:
        """That of x."""
        return self.x.dtype

    def __matmul__(self, coefficients: Array) -> Array:
        """`x (x^T c)`."""
        return self.x @ (self.x.T @ coefficients)


@struct.dataclass
class KnownProducts:
    """A Gram matrix of which one product is known: for solvers that keep it up to date.

    It makes primal, dual, gap and residual cost a few sums over the rows. As the product is
    taken as a constant, gradients with respect to the dual variables are not those of the
    functions it is given to.

    Attributes:
      products: `K c`, `[rows]` or `[rows, classes]`, for the coefficients c at hand.

    Example:
      >>> import jax.numpy as jnp
      >>> (KnownProducts(jnp.array([3.0, 1.0])) @ jnp.array([1.0, -1.0])).tolist()
      [3.0, 1.0]
    """

    products: Array

    @property
    def shape(self) -> tuple[int, int]:
        """`(rows, rows)`."""
        return self.products.shape[0], self.products.shape[0]

    @property
    def dtype(self) -> Any:
        """That of the products."""
        return self.products.dtype

    def __matmul__(self, coefficients: Array) -> Array:
        """The product that is known."""
        del coefficients
        return self.products
