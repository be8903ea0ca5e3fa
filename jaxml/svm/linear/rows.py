"""The examples of a linear problem, as what is done with them: products, sums, Gram matrices.

Dense examples are one array, on a device or in parts on several; sparse ones are lists of entries;
those that do not fit in the memory of a device stay where they are and pass through it in blocks.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse

from jaxml.types import Array

# Products of dense matrices are so much faster that sparse examples become dense ones where those
# take few bytes, or more bytes with so large a share of entries that are not 0.
FEW_BYTES, MOST_BYTES = 2**28, 2**32
DENSE_SHARE = 0.02
# Rows of a block that is made on the way.
BLOCK = 8192


@runtime_checkable
class Rows(Protocol):
    """Examples as rows of a matrix; results have the problems first."""

    num_rows: int
    num_features: int
    dtype: Any

    def products(self, weights: Array) -> Array:
        """`[problems, features]` to `[problems, rows]`: each example times each weights."""
        ...

    def sums(self, coefficients: Array) -> Array:
        """`[problems, rows]` to `[problems, features]`: weighted sums of the examples."""
        ...

    def squares(self, coefficients: Array) -> Array:
        """`[problems, rows]` to `[problems, features]`: weighted sums of squares."""
        ...

    def add_gram(self, gram: Array, change: np.ndarray) -> Array:
        """`[features + 1] * 2` and `[rows]`: adds each example's square by its weight.

        The examples have a last feature of 1 here, for the intercept. Of the result only the lower
        half is right.
        """
        ...

    def gram_of_rows(self, index: np.ndarray) -> Array:
        """`[len(index)] * 2`: products of some of the examples with one another."""
        ...

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> Array:
        """`[len(index) + 1] * 2`: as `add_gram` to zeros, its lower half, of some features."""
        ...

    def part(self, index: np.ndarray) -> "Rows":
        """Some of the examples."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Rows as they are on the host, dense or sparse, some at a time."""
        ...


class DenseRows:
    """Examples `[rows, features]` on a device, or sharded by rows over many."""

    def __init__(self, x: Array) -> None:
        """Holds the examples."""
        self.x = x
        self.num_rows, self.num_features = x.shape
        self.dtype = x.dtype
        # A processor gathers the few rows that have changed; what has tensor cores is faster with
        # all rows than with finding out which.
        on_one = len(x.devices()) == 1 and next(iter(x.devices())).platform == "cpu"
        self._host = np.asarray(x) if on_one else None

    def products(self, weights: Array) -> Array:
        """`[problems, rows]`."""
        return _products(self.x, weights)

    def sums(self, coefficients: Array) -> Array:
        """`[problems, features]`."""
        return _sums(self.x, coefficients)

    def squares(self, coefficients: Array) -> Array:
        """`[problems, features]`."""
        return _squares(self.x, coefficients)

    def add_gram(self, gram: Array, change: np.ndarray) -> Array:
        """The Gram matrix with the change."""
        host = self._host
        if host is None:
            return _add_gram(gram, self.x, jnp.asarray(change))
        return _add_gram_in_blocks(gram, lambda rows: host[rows], change)

    def gram_of_rows(self, index: np.ndarray) -> Array:
        """`[len(index)] * 2`."""
        return _gram_of_rows(self.x[index])

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> Array:
        """`[len(index) + 1] * 2`."""
        gram, host = _no_gram(index, self.dtype), self._host
        if host is None:
            return _add_gram(gram, self.x[:, index], jnp.asarray(weight))
        return _add_gram_in_blocks(gram, lambda rows: host[np.ix_(rows, index)], weight)

    def part(self, index: np.ndarray) -> Rows:
        """Some of the examples."""
        return DenseRows(self.x[index])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """NumPy arrays."""
        for part in _slices(self.num_rows):
            yield part, np.asarray(self.x[part])


class StreamedRows:
    """Examples of an array on the host, or of a file that is mapped into memory, in blocks."""

    def __init__(self, x: np.ndarray, *, block: int = BLOCK) -> None:
        """Refers to the examples; each block is copied to the device when it is needed."""
        self.x = x
        self.num_rows, self.num_features = x.shape
        self.dtype = x.dtype
        self._block = block

    def products(self, weights: Array) -> Array:
        """`[problems, rows]`."""
        return jnp.concatenate(
            [_products(jnp.asarray(x), weights) for _, x in self.blocks()], axis=1
        )

    def sums(self, coefficients: Array) -> Array:
        """`[problems, features]`."""
        return sum(
            (_sums(jnp.asarray(x), coefficients[:, part]) for part, x in self.blocks()),
            start=jnp.zeros((len(coefficients), self.num_features), self.dtype),
        )

    def squares(self, coefficients: Array) -> Array:
        """`[problems, features]`."""
        return sum(
            (_squares(jnp.asarray(x), coefficients[:, part]) for part, x in self.blocks()),
            start=jnp.zeros((len(coefficients), self.num_features), self.dtype),
        )

    def add_gram(self, gram: Array, change: np.ndarray) -> Array:
        """The Gram matrix with the change."""
        return _add_gram_in_blocks(gram, lambda rows: self.x[rows], change)

    def gram_of_rows(self, index: np.ndarray) -> Array:
        """`[len(index)] * 2`."""
        return _gram_of_rows(jnp.asarray(self.x[index]))

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> Array:
        """`[len(index) + 1] * 2`."""
        gram = _no_gram(index, self.dtype)
        return _add_gram_in_blocks(gram, lambda rows: self.x[rows][:, index], weight)

    def part(self, index: np.ndarray) -> Rows:
        """Some of the examples."""
        return DenseRows(jnp.asarray(self.x[index]))

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """NumPy arrays."""
        for part in _slices(self.num_rows, self._block):
            yield part, np.asarray(self.x[part])


class SparseRows:
    """Examples that are mostly zeros.

    On a processor the products are SciPy's, ten times as fast as XLA's sums over segments, which an
    accelerator takes.
    """

    def __init__(self, x: Any) -> None:
        """Holds a matrix of SciPy, and on an accelerator its entries, by rows and by features."""
        self.x: Any = scipy.sparse.csr_array(x)
        self.num_rows, self.num_features = self.x.shape
        self.dtype = self.x.dtype
        self._transposed = scipy.sparse.csr_array(self.x.T)
        self._on_host = jax.default_backend() == "cpu"
        if not self._on_host:
            self._by_rows = _entries(self.x)
            self._by_features = _entries(self._transposed)

    def products(self, weights: Array) -> Array:
        """`[problems, rows]`."""
        if self._on_host:
            return jnp.asarray((self.x @ np.asarray(weights).T).T)
        return _sparse_sums(self._by_rows, weights, size=self.num_rows)

    def sums(self, coefficients: Array) -> Array:
        """`[problems, features]`."""
        if self._on_host:
            return jnp.asarray((self._transposed @ np.asarray(coefficients).T).T)
        return _sparse_sums(self._by_features, coefficients, size=self.num_features)

    def squares(self, coefficients: Array) -> Array:
        """`[problems, features]`."""
        if self._on_host:
            return jnp.asarray((self._transposed.power(2) @ np.asarray(coefficients).T).T)
        into, out_of, data = self._by_features
        entries = (into, out_of, jnp.square(data))
        return _sparse_sums(entries, coefficients, size=self.num_features)

    def add_gram(self, gram: Array, change: np.ndarray) -> Array:
        """The Gram matrix with the change."""
        return _add_gram_in_blocks(gram, lambda rows: self.x[rows].toarray(), change)

    def gram_of_rows(self, index: np.ndarray) -> Array:
        """`[len(index)] * 2`."""
        return jnp.asarray((self.x[index] @ self.x[index].T).toarray())

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> Array:
        """`[len(index) + 1] * 2`."""
        used = np.flatnonzero(weight)
        x: Any = self.x[used][:, index]
        if not self._on_host:
            gram = _no_gram(index, self.dtype)
            return _add_gram_in_blocks(gram, lambda rows: x[rows].toarray(), weight[used])
        ones = np.ones((len(used), 1), self.dtype)
        x = scipy.sparse.csr_array(scipy.sparse.hstack([x, ones]))
        weighted = scipy.sparse.csr_array(x.multiply(weight[used, None]).T)
        return jnp.asarray((weighted @ x).toarray())

    def part(self, index: np.ndarray) -> Rows:
        """Some of the examples."""
        return SparseRows(self.x[index])

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Sparse matrices of SciPy."""
        for part in _slices(self.num_rows):
            yield part, self.x[part]


def as_rows(x: Any) -> Rows:
    """The rows of an array, a sparse matrix of SciPy, or rows as they are.

    Args:
      x: `[rows, features]`, floating point: a JAX array, a NumPy array, which is copied to the
        device, a sparse matrix or array of SciPy, or `Rows`.

    Returns:
      The rows. Sparse ones are dense where that takes little memory.

    Example:
      >>> as_rows(np.eye(3, dtype=np.float32)).products(jnp.ones((1, 3))).tolist()
      [[1.0, 1.0, 1.0]]
    """
    if isinstance(x, DenseRows | StreamedRows | SparseRows):
        return x
    if not scipy.sparse.issparse(x):
        return DenseRows(jnp.asarray(x))
    return SparseRows(x) if stays_sparse(x) else DenseRows(jnp.asarray(x.toarray()))


def stays_sparse(x: Any) -> bool:
    """Whether `as_rows` makes `SparseRows` of a matrix of SciPy."""
    size = x.shape[0] * x.shape[1]
    dense_bytes = size * x.dtype.itemsize
    dense = x.nnz >= DENSE_SHARE * size and dense_bytes <= MOST_BYTES
    return not dense and dense_bytes > FEW_BYTES


def _slices(count: int, size: int = BLOCK) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _changed(change: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices and weights of what is not 0, in blocks of few different sizes."""
    every = np.flatnonzero(change)
    for part in _slices(len(every)):
        index = every[part]
        size = _size(len(index))
        weight = np.zeros(size, change.dtype)
        weight[: len(index)] = change[index]
        yield np.concatenate([index, np.zeros(size - len(index), index.dtype)]), weight


def _add_gram_in_blocks(
    gram: Array, block: Callable[[np.ndarray], np.ndarray], change: np.ndarray
) -> Array:
    """Adds the squares of the examples that `block` gives for some rows; see `Rows.add_gram`."""
    if jax.default_backend() == "cpu":
        return jnp.asarray(_add_gram_by_blas(gram, block, change))
    for rows, weight in _changed(change):
        gram = _add_gram(gram, jnp.asarray(block(rows)), jnp.asarray(weight))
    return gram


def _no_gram(index: np.ndarray, dtype: Any) -> Array:
    return jnp.zeros((len(index) + 1, len(index) + 1), dtype)


def _size(count: int) -> int:
    """Rounds up to one of few sizes, so that few programs are compiled."""
    return next(size for size in (64, 256, 1024, 2048, 3072, 4096, 6144, BLOCK) if count <= size)


_HIGHEST = jax.lax.Precision.HIGHEST


@jax.jit
def _products(x: Array, weights: Array) -> Array:
    return jnp.einsum("nd,kd->kn", x, weights, precision=_HIGHEST)


@jax.jit
def _sums(x: Array, coefficients: Array) -> Array:
    return jnp.einsum("kn,nd->kd", coefficients, x, precision=_HIGHEST)


@jax.jit
def _squares(x: Array, coefficients: Array) -> Array:
    return jnp.einsum("kn,nd->kd", coefficients, jnp.square(x), precision=_HIGHEST)


@jax.jit
def _gram_of_rows(x: Array) -> Array:
    return jnp.einsum("nd,md->nm", x, x, precision=_HIGHEST)


@partial(jax.jit, donate_argnums=0)
def _add_gram(gram: Array, x: Array, weight: Array) -> Array:
    x = jnp.pad(x, ((0, 0), (0, 1)), constant_values=1)
    return gram + jnp.einsum("nd,ne->de", x * weight[:, None], x, precision=_HIGHEST)


def _add_gram_by_blas(
    gram: Array, block: Callable[[np.ndarray], np.ndarray], change: np.ndarray
) -> np.ndarray:
    """The half that is computed takes half of the time of XLA's product on a processor."""
    result = np.array(gram)
    add: Any = scipy.linalg.get_blas_funcs("syrk", dtype=result.dtype)
    root = np.sqrt(np.abs(change))[:, None]
    for sign in (1, -1):
        every = np.flatnonzero(sign * change > 0)
        for part in _slices(len(every), 2048):
            index = every[part]
            rows = block(index)
            rows = np.append(rows, np.ones((len(index), 1), rows.dtype), axis=1)
            rows *= root[index]
            # BLAS takes the transposed matrix for its own, and its upper half is our lower one.
            add(sign, rows.T, beta=1, c=result.T, overwrite_c=True)
    return result


def _entries(x: Any) -> tuple[Array, Array, Array]:
    """Where each entry of a matrix goes to, where from, and its value."""
    entries = x.tocoo()
    return jnp.asarray(entries.row), jnp.asarray(entries.col), jnp.asarray(entries.data)


@partial(jax.jit, static_argnames="size")
def _sparse_sums(entries: tuple[Array, Array, Array], values: Array, *, size: int) -> Array:
    into, out_of, data = entries
    parts = data[:, None] * values.T[out_of]
    return jax.ops.segment_sum(parts, into, size, indices_are_sorted=True).T
