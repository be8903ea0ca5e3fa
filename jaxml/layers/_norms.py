"""Euclidean norms that neither underflow nor overflow when values are squared.

Values are divided by a power of two near the largest magnitude first, which rounds nothing, so
norms of ordinary size are those of the plain formula. Norms are computed in float32 at least.
Infinities and NaN propagate to the norm and to the direction. Arguments are floating-point.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.layers._dtypes import wide
from jaxml.types import Array, Float, PyTree

Axis = int | tuple[int, ...] | None


def euclidean_norm(x: Float[Array, "*shape"], axis: Axis = None) -> Float[Array, "*ones"]:
    r"""Computes :math:`\sqrt{\sum_i x_i^2}` with a gradient of 0 where all x are 0.

    The reduced axes, or all of them if `axis` is None, are kept with size 1.

    >>> [f"{norm:.1e}" for norm in euclidean_norm(jnp.array([[3e-25], [4e-25]]), 0)[0].tolist()]
    ['5.0e-25']
    """
    x = _widened(x)
    scale = power_of_two_near(jnp.abs(x).max(axis=axis, keepdims=True, initial=0.0))
    return scale * _root(jnp.square(x / scale).sum(axis=axis, keepdims=True))


def direction(x: Float[Array, "*shape"], axis: Axis = None) -> Array:
    """Divides by the Euclidean norm over the axes, even if the norm itself overflows the dtype.

    The result has length 1, or 0 where all x are 0.

    >>> direction(jnp.array([3e-25, 4e-25])).round(3).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    x = _widened(x)
    scaled = x / power_of_two_near(jnp.abs(x).max(axis=axis, keepdims=True, initial=0.0))
    root = _root(jnp.square(scaled).sum(axis=axis, keepdims=True))
    # XLA would merge a second division into one by the product, which may be infinite.
    return scaled * (1 / jnp.where(root == 0, 1.0, root))


def tree_norm(tree: PyTree) -> Float[Array, ""]:
    """Computes the Euclidean norm of all leaves of a tree together.

    >>> float(tree_norm({"kernel": jnp.array([3.0]), "bias": jnp.array([4.0])}))
    5.0
    """
    scale, root = _of_tree(tree)
    return scale * root


def tree_direction(tree: PyTree) -> PyTree:
    """Divides a tree by its Euclidean norm; a tree of zeros stays one.

    >>> direction = tree_direction({"kernel": jnp.array([3e-25]), "bias": jnp.array([4e-25])})
    >>> {name: round(float(leaf[0]), 3) for name, leaf in direction.items()}
    {'bias': 0.8, 'kernel': 0.6}
    """
    scale, root = _of_tree(tree)
    inverse = 1 / jnp.where(root == 0, 1.0, root)  # see `direction`

    def divide(leaf: Array) -> Array:
        leaf = _widened(leaf)
        return leaf / scale.astype(leaf.dtype) * inverse.astype(leaf.dtype)

    return jax.tree.map(divide, tree)


def _of_tree(tree: PyTree) -> tuple[Array, Array]:
    """Returns a power of two, and the norm divided by it."""
    leaves = [_widened(leaf) for leaf in jax.tree.leaves(tree)]
    dtype = np.result_type(np.float32, *(leaf.dtype for leaf in leaves))
    peaks = [jnp.abs(leaf).max(initial=0.0).astype(dtype) for leaf in leaves]
    scale = power_of_two_near(jnp.stack([jnp.zeros((), dtype), *peaks]).max())
    squares = [jnp.square(leaf / scale.astype(leaf.dtype)).sum().astype(dtype) for leaf in leaves]
    return scale, _root(sum(squares, start=jnp.zeros((), dtype)))


def power_of_two_near(peak: Array) -> Array:
    """Returns powers of two near magnitudes, to divide by before squaring.

    The result is a constant to the gradient, and 1 or 1/2 near a magnitude of 0, infinity or NaN.
    """
    _, exponent = jnp.frexp(lax.stop_gradient(peak))
    info = jnp.finfo(peak.dtype)
    # Powers below the least, and inverses of those above the most, would be flushed to 0.
    exponent = jnp.clip(exponent - 1, info.minexp, info.maxexp - 2)
    return jnp.ldexp(jnp.ones_like(peak), exponent)


def _root(squares: Array) -> Array:
    """Returns the square root, with a gradient of 0 at 0."""
    zero = squares == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squares)))


def _widened(x: Array) -> Array:
    return jnp.asarray(x, wide(x))
