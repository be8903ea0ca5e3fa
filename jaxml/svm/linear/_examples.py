"""The examples of linear problems, accessed through the products that the solvers need.

All products take and return NumPy arrays in the dtype of their arguments, with the problems along
the first axis. On CPU they use BLAS and SciPy, which need no compilation; on an accelerator, and
for arrays sharded over devices, XLA.
"""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import scipy.sparse

from jaxml.svm.linear._dense import DenseExamples, StreamedExamples
from jaxml.svm.linear._sparse import SparseExamples

# A sparse matrix is converted to a dense one above this density, up to this many bytes.
_DENSE_DENSITY, _MAX_DENSE_BYTES = 0.3, 2**32


@runtime_checkable
class Examples(Protocol):
    """Examples `[examples, features]`, dense, sparse or streamed.

    Gram matrices of features have a last feature that is 1 in each example, for the intercept, and
    only their lower triangle is valid.
    """

    x: Any
    num_examples: int
    num_features: int
    dtype: Any

    def products(self, weights: np.ndarray) -> np.ndarray:
        """Multiplies each example by each `[problems, features]`: `[problems, examples]`."""
        ...

    def weighted_sums(self, coefficients: np.ndarray) -> np.ndarray:
        """Sums the examples weighted by `[problems, examples]`: `[problems, features]`."""
        ...

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Adds the outer products of the examples, weighted by `change` `[examples]`, to `gram`."""
        ...

    def example_gram(self, index: np.ndarray) -> np.ndarray:
        """Returns the inner products of some examples, `[len(index), len(index)]` float64."""
        ...

    def feature_gram(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Returns the weighted Gram matrix of some features, `[len(index) + 1] * 2`."""
        ...

    def subset(self, index: np.ndarray) -> "Examples":
        """Selects examples."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Iterates over the examples on the host, dense or sparse."""
        ...

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "Examples":
        """Returns `(x - shift) / scale`, `[features]` each."""
        ...


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
    if isinstance(x, DenseExamples | StreamedExamples | SparseExamples):
        return x
    if not scipy.sparse.issparse(x):
        return DenseExamples(x)
    size = x.shape[0] * x.shape[1]
    is_sparse = x.nnz < _DENSE_DENSITY * size or size * x.dtype.itemsize > _MAX_DENSE_BYTES
    return SparseExamples(x) if is_sparse else DenseExamples(x.toarray())
