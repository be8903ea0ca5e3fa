"""Sparse examples, and the conversion of arrays to examples."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxml.svm.linear import _products
from jaxml.svm.linear._dense import DenseExamples
from jaxml.svm.linear._examples import Examples
from jaxml.types import Array

# A sparse matrix is converted to a dense one above this density, up to this many bytes.
_DENSE_DENSITY, _MAX_DENSE_BYTES = 0.3, 2**32
# Below this density the Gram matrix of features is computed as a sparse product.
_SPARSE_GRAM_DENSITY = 0.06
# Up to this ratio of non-zero coefficients, weighted sums skip the examples of the zeros.
_FEW_USED = 0.1


class SparseExamples(Examples):
    """Examples that are mostly zeros.

    On CPU the products are SciPy's, ten times as fast as XLA's segment sums, which accelerators
    use.
    """

    def __init__(self, x: Any) -> None:
        """Wraps a SciPy matrix `[examples, features]`."""
        self.x: Any = scipy.sparse.csr_array(x)
        self.num_examples, self.num_features = self.x.shape
        self.dtype = self.x.dtype
        self.on_host = jax.default_backend() == "cpu"
        self._copies: dict[Any, Any] = {}

    def products(self, weights: np.ndarray) -> np.ndarray:
        weights = np.asarray(weights)
        x, _ = self._cast(weights.dtype)
        if self.on_host:
            return (x @ np.ascontiguousarray(weights.T)).T
        return np.asarray(_segment_sums(x, jnp.asarray(weights), size=self.num_examples))

    def weighted_sums(self, coefficients: np.ndarray) -> np.ndarray:
        coefficients = np.asarray(coefficients)
        if self.on_host and np.count_nonzero(coefficients) <= _FEW_USED * coefficients.size:
            return (scipy.sparse.csr_array(coefficients) @ self.x).toarray()
        _, transposed = self._cast(coefficients.dtype)
        if self.on_host:
            return (transposed @ np.ascontiguousarray(coefficients.T)).T
        values = jnp.asarray(coefficients)
        return np.asarray(_segment_sums(transposed, values, size=self.num_features))

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        density = self.x.nnz / max(1, self.num_examples * self.num_features)
        if density > _SPARSE_GRAM_DENSITY or not self.on_host:
            x = self.x
            return _products.add_gram(gram, lambda i: x[i].toarray().astype(gram.dtype), change)
        every = np.arange(self.num_features)
        return gram + self.feature_gram(every, np.asarray(change, gram.dtype))

    def example_gram(self, index: np.ndarray) -> np.ndarray:
        x = self.x[index].astype(np.float64)
        return (x @ x.T).toarray()

    def feature_gram(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        used = np.flatnonzero(weight)
        x: Any = self.x[used]
        if not np.array_equal(index, np.arange(self.num_features)):
            x = x[:, index]
        x = x.astype(weight.dtype)
        if not self.on_host:
            gram = np.zeros((len(index) + 1,) * 2, weight.dtype)
            return _products.add_gram(gram, lambda i: x[i].toarray(), weight[used])
        ones = np.ones((len(used), 1), weight.dtype)
        x = scipy.sparse.csr_array(scipy.sparse.hstack([x, ones]))
        weighted = scipy.sparse.csr_array(x.multiply(weight[used, None]).T)
        return (weighted @ x).toarray()

    def subset(self, index: np.ndarray) -> "SparseExamples":
        return SparseExamples(self.x[index])

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        yield slice(0, self.num_examples), self.x

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "SparseExamples":
        """Not supported, because a shift would fill the zeros."""
        raise NotImplementedError

    def _cast(self, dtype: Any) -> tuple[Any, Any]:
        """The matrix and its transpose in a dtype, both sorted by rows."""
        if dtype not in self._copies:
            x = self.x.astype(dtype)
            both = x, scipy.sparse.csr_array(x.T)
            self._copies[dtype] = both if self.on_host else tuple(map(_entries, both))
        return self._copies[dtype]


def as_examples(x: Any) -> Examples:
    """Wraps an array or a SciPy sparse matrix as `Examples`.

    Args:
      x: `[examples, features]`, floating point: a NumPy or JAX array, a SciPy sparse matrix or
        array, or `Examples`.

    Returns:
      The examples. Sparse matrices with few zeros become dense.

    Example:
      >>> as_examples(np.eye(3, dtype=np.float32)).products(np.ones((1, 3))).tolist()
      [[1.0, 1.0, 1.0]]
    """
    if isinstance(x, Examples):
        return x
    if not scipy.sparse.issparse(x):
        return DenseExamples(x)
    size = x.shape[0] * x.shape[1]
    is_sparse = x.nnz < _DENSE_DENSITY * size or size * x.dtype.itemsize > _MAX_DENSE_BYTES
    return SparseExamples(x) if is_sparse else DenseExamples(x.toarray())


def _entries(x: Any) -> tuple[Array, Array, Array]:
    """The row, the column and the value of each entry."""
    entries = x.tocoo()
    return jnp.asarray(entries.row), jnp.asarray(entries.col), jnp.asarray(entries.data)


@partial(jax.jit, static_argnames="size")
def _segment_sums(entries: tuple[Array, Array, Array], values: Array, *, size: int) -> Array:
    row, column, data = entries
    terms = data[:, None] * values.T[column]
    return jax.ops.segment_sum(terms, row, size, indices_are_sorted=True).T
