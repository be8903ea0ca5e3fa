"""Norms of the gradient, the update and the weights of each layer, measured within a step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxml.types import Array, PyTree

NORMS = ("gradient", "update", "weight")


def layer_names(params: PyTree) -> list[str]:
    """Returns the paths of the layers that have a kernel, in the order of `layer_norms`.

    >>> layer_names({"head": {"bias": 0, "kernel": 1}, "stem": {"conv": {"kernel": 2}}})
    ['head', 'stem/conv']
    """
    paths = [[str(key.key) for key in path] for path, _ in jax.tree.leaves_with_path(params)]
    return ["/".join(path[:-1]) for path in paths if path[-1] == "kernel"]


def by_layer(params: PyTree, norms: Array) -> dict[str, list[float]]:
    """Returns the gradient, update and weight norm of each layer, with 4 digits."""
    rows = np.asarray(norms).T.tolist()
    rounded = [[float(f"{value:.4g}") for value in row] for row in rows]
    return dict(zip(layer_names(params), rounded, strict=True))


def layer_norms(grads: PyTree, updates: PyTree, params: PyTree, *, measured: Array) -> Array:
    """Computes the Euclidean norms of the kernels of each layer.

    Args:
      grads: gradients.
      updates: updates of the parameters.
      params: parameters after the update.
      measured: boolean scalar; where it is False, the result is zero and costs nothing.

    Returns:
      `[3, layers]`, with one row for each of `NORMS`.
    """

    def measure() -> Array:
        return jnp.stack([_norms(tree) for tree in (grads, updates, params)])

    shape = jax.eval_shape(measure)
    return lax.cond(measured, measure, lambda: jnp.zeros(shape.shape, shape.dtype))


def _norms(tree: PyTree) -> Array:
    kernels = [leaf for path, leaf in jax.tree.leaves_with_path(tree) if path[-1].key == "kernel"]
    norms = [optax.tree.norm(kernel.astype(jnp.float32)) for kernel in kernels]
    return jnp.stack(norms) if norms else jnp.zeros(0, jnp.float32)
