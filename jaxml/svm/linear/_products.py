"""Products of blocks of dense examples: by BLAS on CPU, by XLA elsewhere."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.types import Array

# Examples in a block that is created or copied.
BLOCK = 8192
_HIGHEST = jax.lax.Precision.HIGHEST


def slices(count: int, size: int = BLOCK) -> Iterator[slice]:
    """Splits `range(count)` into slices of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def products(x: np.ndarray | Array, weights: np.ndarray) -> np.ndarray:
    """`[problems, examples]`."""
    if isinstance(x, np.ndarray) and jax.default_backend() == "cpu":
        return weights @ x.T
    return np.asarray(_products(jnp.asarray(x), jnp.asarray(weights)))


def weighted_sums(x: np.ndarray | Array, coefficients: np.ndarray) -> np.ndarray:
    """`[problems, features]`."""
    if isinstance(x, np.ndarray) and jax.default_backend() == "cpu":
        return coefficients @ x
    return np.asarray(_weighted_sums(jnp.asarray(x), jnp.asarray(coefficients)))


def add_gram(
    gram: np.ndarray, read: Callable[[np.ndarray], np.ndarray], change: np.ndarray
) -> np.ndarray:
    """Implements `Examples.add_gram` for examples that `read` returns by index."""
    change = np.asarray(change, gram.dtype)
    if jax.default_backend() == "cpu":
        return _add_gram_on_cpu(gram, read, change)
    device = jnp.asarray(gram)
    used = np.flatnonzero(change)
    for part in slices(len(used)):
        index = used[part]
        fill = (0, _padded_size(len(index)) - len(index))
        padded, weight = np.pad(index, fill), np.pad(change[index], fill)
        device = device_gram(device, jnp.asarray(read(padded)), jnp.asarray(weight))
    return np.asarray(device)


def _padded_size(count: int) -> int:
    """Rounds up to one of a few sizes, so that few programs are compiled."""
    return next(size for size in (64, 256, 1024, 2048, 3072, 4096, 6144, BLOCK) if count <= size)


def _add_gram_on_cpu(
    gram: np.ndarray, read: Callable[[np.ndarray], np.ndarray], change: np.ndarray
) -> np.ndarray:
    result = np.array(gram)
    root = np.sqrt(np.abs(change))
    for sign in (1, -1):
        used = np.flatnonzero(sign * change > 0)
        for part in slices(len(used), 2048):
            index = used[part]
            x = read(index) * root[index, None]
            # NumPy calls syrk for a matrix times its transpose, which computes one triangle.
            result[:-1, :-1] += sign * (x.T @ x)
            result[-1, :-1] += sign * (root[index] @ x)
    result[-1, -1] += change.sum()
    return result


@jax.jit
def _products(x: Array, weights: Array) -> Array:
    return jnp.einsum("nd,kd->kn", x, weights, precision=_HIGHEST)


@jax.jit
def _weighted_sums(x: Array, coefficients: Array) -> Array:
    return jnp.einsum("kn,nd->kd", coefficients, x, precision=_HIGHEST)


@jax.jit
def device_gram(gram: Array, x: Array, weight: Array) -> Array:
    """Adds the weighted Gram matrix of the features and a constant feature."""
    x = jnp.pad(x, ((0, 0), (0, 1)), constant_values=1)
    return gram + jnp.einsum("nd,ne->de", x * weight[:, None], x, precision=_HIGHEST)
