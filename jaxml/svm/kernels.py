"""Kernels: inner products of examples in a feature space.

A kernel is a function of two sets of examples, `[n, features]` and `[m, features]` of one dtype,
that returns the matrix `[n, m]` in that dtype. `bind` fixes the hyper-parameters of a kernel; other
values of `gamma` and `coef0` do not recompile functions of it:

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0, 1.0], [1.0, 1.0]])
    >>> [f"{product:.4f}" for product in bind("rbf", gamma=0.5)(x, x)[0]]
    ['1.0000', '0.6065']

Names and defaults are those of libsvm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxml.errors import InputError, choose
from jaxml.types import Array, Float

__all__ = [
    "KERNELS",
    "Kernel",
    "NamedKernel",
    "bind",
    "inner_products",
    "linear",
    "matrix",
    "polynomial",
    "precomputed",
    "rbf",
    "sigmoid",
    "squared_norms",
]

Kernel = Callable[[Array, Array], Array]


def linear(x: Float[Array, "n features"], z: Float[Array, "m features"]) -> Float[Array, "n m"]:
    r"""Computes the linear kernel :math:`x^\top z`."""
    return jnp.einsum("nf,mf->nm", x, z, precision=jax.lax.Precision.HIGHEST)


def polynomial(
    x: Float[Array, "n features"],
    z: Float[Array, "m features"],
    gamma: Float[Array, ""] | float = 1.0,
    coef0: Float[Array, ""] | float = 0.0,
    *,
    degree: int = 3,
) -> Float[Array, "n m"]:
    r"""Computes the kernel :math:`(\gamma x^\top z + c_0)^d` of non-negative integer degree d.

    Example:
      >>> polynomial(jnp.ones((1, 3)), jnp.ones((1, 3)), 1.0, 1.0, degree=2).item()
      16.0
    """
    return NamedKernel("poly", gamma, coef0, degree)(x, z)


def rbf(
    x: Float[Array, "n features"],
    z: Float[Array, "m features"],
    gamma: Float[Array, ""] | float = 1.0,
) -> Float[Array, "n m"]:
    r"""Computes the Gaussian (radial basis function) kernel :math:`\exp(-\gamma \|x - z\|^2)`.

    The squared distance is computed as `|x|^2 + |z|^2 - 2 x.z`, with an absolute error of about
    `4 eps max(|x|^2, |z|^2)`, which is 5e-7 of the largest squared norm in float32. If gamma times
    that is not small, subtract a common offset first or use float64.
    """
    return NamedKernel("rbf", gamma)(x, z)


def sigmoid(
    x: Float[Array, "n features"],
    z: Float[Array, "m features"],
    gamma: Float[Array, ""] | float = 1.0,
    coef0: Float[Array, ""] | float = 0.0,
) -> Float[Array, "n m"]:
    r"""Computes the kernel :math:`\tanh(\gamma x^\top z + c_0)`.

    It is not positive semidefinite in general.

    Reference: Lin and Lin, "A study on sigmoid kernels for SVM", 2003.
    """
    return NamedKernel("sigmoid", gamma, coef0)(x, z)


KERNELS = {"linear": linear, "poly": polynomial, "rbf": rbf, "sigmoid": sigmoid}


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["gamma", "coef0"],
    meta_fields=["name", "degree"],
)
@dataclass(frozen=True)
class NamedKernel:
    """A kernel of `KERNELS` with its hyper-parameters."""

    name: str
    gamma: Array | float = 1.0
    coef0: Array | float = 0.0
    degree: int = 3

    def __call__(self, x: Array, z: Array) -> Array:
        """Computes the matrix."""
        return self.from_products(linear(x, z), squared_norms(x), squared_norms(z))

    def from_products(self, products: Array, x_norms: Array, z_norms: Array) -> Array:
        """Computes the matrix from that of inner products and from squared norms."""
        if self.name == "linear":
            return products
        gamma = jnp.asarray(self.gamma, products.dtype)
        if self.name == "rbf":
            distances = jnp.maximum(x_norms[:, None] + z_norms[None, :] - 2 * products, 0)
            return jnp.exp(-gamma * distances)
        inner = gamma * products + jnp.asarray(self.coef0, products.dtype)
        if self.name == "sigmoid":
            return jnp.tanh(inner)
        return jax.lax.integer_pow(inner, self.degree)


def bind(
    kernel: str | Kernel, *, gamma: float = 1.0, coef0: float = 0.0, degree: int = 3
) -> Kernel:
    """Returns a kernel with fixed hyper-parameters.

    Args:
      kernel: A name in `KERNELS`, or a callable, which is returned as it is.
      gamma: Non-negative factor of poly, rbf and sigmoid.
      coef0: Constant of poly and sigmoid.
      degree: Degree of poly.

    Raises:
      InputError: The name is unknown, or a hyper-parameter is out of its range.
    """
    if callable(kernel):
        return kernel if isinstance(kernel, Partial | NamedKernel) else Partial(kernel)
    choose(KERNELS, kernel, "kernel")
    if gamma < 0:
        raise InputError(f"`gamma` must be non-negative, got {gamma}")
    if degree < 0:
        raise InputError(f"`degree` must be an int >= 0, got {degree}")
    return NamedKernel(kernel, jnp.asarray(gamma, float), jnp.asarray(coef0, float), degree)


def squared_norms(x: Float[Array, "n features"]) -> Float[Array, " n"]:
    """Computes the squared norm of each example."""
    return jnp.square(x).sum(1)


inner_products = jax.jit(linear)


def matrix(kernel: Kernel, x: Array, z: Array) -> Array:
    """Computes the matrix of a kernel from `bind` quickly, outside of `jit`.

    For named kernels the products and their function are separate programs. For 512 and 32,768
    examples of 128 features on 2 CPU cores these take 95 ms, while one fused program takes 200 ms.
    """
    if isinstance(kernel, NamedKernel):
        return _from_products(kernel, inner_products(x, z), x, z)
    return _call(kernel, x, z)


@partial(jax.jit, donate_argnums=1)
def _from_products(kernel: NamedKernel, products: Array, x: Array, z: Array) -> Array:
    return kernel.from_products(products, squared_norms(x), squared_norms(z))


@jax.jit
def _call(kernel: Kernel, x: Array, z: Array) -> Array:
    return kernel(x, z)


def precomputed(x: Float[Array, "n m"], z: Array) -> Float[Array, "n m"]:
    """Returns `x`: rows of a kernel matrix `z` that is given in place of the examples."""
    del z
    return x
