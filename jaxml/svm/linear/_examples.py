"""The examples of linear problems, accessed through the products that the solvers need.

All products take and return NumPy arrays in the dtype of their arguments, with the problems along
the first axis. On CPU they use BLAS and SciPy, which need no compilation; on an accelerator, and
for arrays sharded over devices, XLA.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxml.types import Array

# Examples in a block that is created or copied.
_BLOCK = 8192
# A sparse matrix is converted to a dense one above this density, up to this many bytes.
_DENSE_DENSITY, _MAX_DENSE_BYTES = 0.3, 2**32
# Below this density the Gram matrix of features is computed as a sparse product.
_SPARSE_GRAM_DENSITY = 0.06
# Up to this ratio of non-zero coefficients, weighted sums skip the examples of the zeros.
_FEW_USED = 0.1
# Examples in a block whose Gram matrix is computed on a device.
_PADDED_SIZES = (64, 256, 1024, 2048, 3072, 4096, 6144, _BLOCK)
_HIGHEST = jax.lax.Precision.HIGHEST


class Examples(ABC):
    """Examples `[examples, features]`, of which `_read` returns a dense block.

    Gram matrices of features have a last feature that is 1 in each example, for the intercept, and
    only their lower triangle is valid.
    """

    def __init__(self, x: Any, block: int) -> None:
        self.x = x
        self.num_examples, self.num_features = x.shape
        self.dtype = np.dtype(x.dtype)
        self._block = block
        self._standard: tuple[np.ndarray, np.ndarray] | None = None  # the shift and the scale
        self._copy: Any = None  # the examples in the last dtype

    @abstractmethod
    def _read(self, index: Any, dtype: Any, features: Any = slice(None)) -> Any:
        """Selects examples, as an array on the host or on the devices."""

    def products(self, weights: np.ndarray) -> np.ndarray:
        """Multiplies each example by each `[problems, features]`: `[problems, examples]`."""
        weights = np.asarray(weights)
        parts = [
            _multiply(weights, self._read(part, weights.dtype), transpose=True)
            for part in _slices(self.num_examples, self._block)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def weighted_sums(self, coefficients: np.ndarray) -> np.ndarray:
        """Sums the examples weighted by `[problems, examples]`: `[problems, features]`."""
        coefficients = np.asarray(coefficients)
        total: Any = 0.0
        for part in _slices(self.num_examples, self._block):
            weight = np.ascontiguousarray(coefficients[:, part])
            total = total + _multiply(weight, self._read(part, weight.dtype))
        return total

    def add_gram(
        self, gram: np.ndarray, change: np.ndarray, features: Any = slice(None)
    ) -> np.ndarray:
        """Adds the outer products of the examples, weighted by `change` `[examples]`, to `gram`."""
        change = np.asarray(change, gram.dtype)
        if jax.default_backend() != "cpu":
            return self._add_gram_on_device(gram, change, features)
        result, root = np.array(gram), np.sqrt(np.abs(change))
        for sign in (1, -1):
            used = np.flatnonzero(sign * change > 0)
            for part in _slices(len(used), 2048):
                index = used[part]
                x = self._read(index, gram.dtype, features) * root[index, None]
                # NumPy calls syrk for a matrix times its transpose, which computes one triangle.
                result[:-1, :-1] += sign * (x.T @ x)
                result[-1, :-1] += sign * (root[index] @ x)
        result[-1, -1] += change.sum()
        return result

    def _add_gram_on_device(
        self, gram: np.ndarray, change: np.ndarray, features: Any
    ) -> np.ndarray:
        device, used = jnp.asarray(gram), np.flatnonzero(change)
        for part in _slices(len(used), _BLOCK):
            index = used[part]
            # Sizes are rounded up to one of a few, so that few programs are compiled.
            fill = (0, next(size for size in _PADDED_SIZES if len(index) <= size) - len(index))
            x = jnp.asarray(self._read(np.pad(index, fill), gram.dtype, features))
            device = _device_gram(device, x, jnp.asarray(np.pad(change[index], fill)))
        return np.asarray(device)

    def feature_gram(self, features: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Returns the weighted Gram matrix of some features, `[len(features) + 1] * 2`."""
        return self.add_gram(np.zeros((len(features) + 1,) * 2, weight.dtype), weight, features)

    def example_gram(self, index: np.ndarray) -> np.ndarray:
        """Returns the inner products of some examples, `[len(index), len(index)]` float64."""
        x = self._read(index, self.dtype).astype(np.float64)
        return x @ x.T

    def subset(self, index: np.ndarray) -> "Examples":
        """Selects examples."""
        return DenseExamples(self._read(index, self.dtype))

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Iterates over the examples on the host, dense or sparse."""
        for part in _slices(self.num_examples, min(self._block, _BLOCK)):
            yield part, np.asarray(self._read(part, self.dtype))

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "Examples":
        """Returns `(x - shift) / scale`, `[features]` each."""
        found = copy.copy(self)
        found._standard, found._copy = (shift, scale), None
        return found

    def _convert(self, x: Any, dtype: Any) -> Any:
        """Standardizes dense examples and casts them."""
        if self._standard is None:
            return x.astype(dtype, copy=False) if isinstance(x, np.ndarray) else x.astype(dtype)
        wide = np.result_type(x.dtype, dtype)
        shift, scale = (part.astype(wide) for part in self._standard)
        return ((x.astype(wide) - shift) / scale).astype(dtype)


class DenseExamples(Examples):
    """An array `[examples, features]`: of NumPy, on a device, or sharded by examples over devices.

    On CPU it is used as one block, of which a copy in the last requested dtype is kept. Arrays on
    an accelerator or on several devices stay there.
    """

    def __init__(self, x: Any) -> None:
        self.on_host = not isinstance(x, jax.Array) or (
            len(x.devices()) == 1 and next(iter(x.devices())).platform == "cpu"
        )
        if self.on_host and jax.default_backend() != "cpu":
            x, self.on_host = jnp.asarray(x), False
        super().__init__(np.asarray(x) if self.on_host else x, block=max(1, len(x)))

    def add_gram(
        self, gram: np.ndarray, change: np.ndarray, features: Any = slice(None)
    ) -> np.ndarray:
        if self.on_host:
            return super().add_gram(gram, change, features)
        # On accelerators all examples are faster than a selection.
        x = self._cast(gram.dtype)
        x = x if isinstance(features, slice) else x[:, features]
        return np.asarray(_device_gram(jnp.asarray(gram), x, jnp.asarray(change, gram.dtype)))

    def _cast(self, dtype: Any) -> Any:
        """All examples in a dtype."""
        if self._standard is None and self.x.dtype == dtype:
            return self.x
        if self._copy is None or self._copy.dtype != dtype:
            self._copy = self._convert(self.x, dtype)
        return self._copy

    def _read(self, index: Any, dtype: Any, features: Any = slice(None)) -> Any:
        x = self._cast(dtype)
        is_all = isinstance(index, slice) and index.stop - index.start == self.num_examples
        return x if is_all else np.asarray(x[index])[:, features]


class StreamedExamples(Examples):
    """Examples of a host array or a memory-mapped file, copied block by block.

    Example:
      >>> from sklearn.datasets import load_digits
      >>> from jaxml.svm.linear import StreamedExamples, fit
      >>> x, y = load_digits(return_X_y=True)
      >>> examples = StreamedExamples(np.float32(x))  # or np.load(FILE, mmap_mode="r")
      >>> target = np.where(y == np.arange(10)[:, None], 1, -1)  # ten problems, solved together
      >>> found = fit(examples, target, np.full(target.shape, 0.01), loss="squared_hinge")
      >>> found.state.weights.shape
      (10, 64)
    """

    def __init__(self, x: np.ndarray, *, block: int = _BLOCK) -> None:
        super().__init__(x, block)

    def _read(self, index: Any, dtype: Any, features: Any = slice(None)) -> np.ndarray:
        return self._convert(np.asarray(self.x[index]), dtype)[:, features]


class SparseExamples(Examples):
    """A SciPy matrix `[examples, features]` that is mostly zeros.

    On CPU the products are SciPy's, ten times as fast as XLA's segment sums, which accelerators
    use.
    """

    def __init__(self, x: Any) -> None:
        super().__init__(scipy.sparse.csr_array(x), block=x.shape[0])
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

    def add_gram(
        self, gram: np.ndarray, change: np.ndarray, features: Any = slice(None)
    ) -> np.ndarray:
        is_whole = isinstance(features, slice)
        density = self.x.nnz / max(1, self.num_examples * self.num_features)
        if not self.on_host or (is_whole and density > _SPARSE_GRAM_DENSITY):
            return super().add_gram(gram, change, features)
        change = np.asarray(change, gram.dtype)
        used = np.flatnonzero(change)
        x, weight = self._select(used, gram.dtype, features), change[used]
        weighted = x.data * np.repeat(weight, np.diff(x.indptr))
        transposed = scipy.sparse.csc_array((weighted, x.indices, x.indptr), x.shape[::-1])
        result = np.array(gram)
        result[:-1, :-1] += (transposed.tocsr() @ x).toarray()
        result[-1, :-1] += x.T @ weight
        result[-1, -1] += weight.sum()
        return result

    def example_gram(self, index: np.ndarray) -> np.ndarray:
        x = self.x[index].astype(np.float64)
        return (x @ x.T).toarray()

    def gram_product(self, index: np.ndarray, dtype: Any) -> Callable[[np.ndarray], np.ndarray]:
        """Returns a function that multiplies by the inner products of some examples, on CPU."""
        x, transposed = self._cast(dtype)
        if len(index) < self.num_examples:
            x = x[index]
            transposed = x.T
        return lambda dual: (x @ (transposed @ np.ascontiguousarray(dual.T, dtype))).T

    def subset(self, index: np.ndarray) -> "SparseExamples":
        return SparseExamples(self.x[index])

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        yield slice(0, self.num_examples), self.x

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "Examples":
        raise NotImplementedError("a shift would fill the zeros")

    def _select(self, index: Any, dtype: Any, features: Any) -> Any:
        x = self.x[index]
        return (x if isinstance(features, slice) else x[:, features]).astype(dtype)

    def _read(self, index: Any, dtype: Any, features: Any = slice(None)) -> np.ndarray:
        return self._select(index, dtype, features).toarray()

    def _cast(self, dtype: Any) -> tuple[Any, Any]:
        """The matrix and its transpose in a dtype, both sorted by rows."""
        if dtype not in self._copies:
            x = self.x.astype(dtype, copy=False)
            both = x, scipy.sparse.csr_array(x.T)
            self._copies[dtype] = both if self.on_host else tuple(map(_entries, both))
        return self._copies[dtype]


def as_examples(x: Any) -> Examples:
    """Wraps a NumPy or JAX array or a SciPy sparse matrix `[examples, features]`.

    Sparse matrices with few zeros become dense.
    """
    if isinstance(x, Examples):
        return x
    if not scipy.sparse.issparse(x):
        return DenseExamples(x)
    size = x.shape[0] * x.shape[1]
    is_sparse = x.nnz < _DENSE_DENSITY * size or size * x.dtype.itemsize > _MAX_DENSE_BYTES
    return SparseExamples(x) if is_sparse else DenseExamples(x.toarray())


def _slices(count: int, size: int) -> Iterator[slice]:
    """Splits `range(count)` into slices of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _multiply(left: np.ndarray, x: np.ndarray | Array, *, transpose: bool = False) -> np.ndarray:
    """Multiplies by dense examples or their transpose: by BLAS on CPU, by XLA elsewhere."""
    if isinstance(x, np.ndarray) and jax.default_backend() == "cpu":
        return left @ (x.T if transpose else x)
    return np.asarray(_device_multiply(jnp.asarray(left), jnp.asarray(x), transpose=transpose))


@partial(jax.jit, static_argnames="transpose")
def _device_multiply(left: Array, x: Array, *, transpose: bool) -> Array:
    return jnp.matmul(left, x.T if transpose else x, precision=_HIGHEST)


@jax.jit
def _device_gram(gram: Array, x: Array, weight: Array) -> Array:
    """Adds the weighted Gram matrix of the features and a constant feature."""
    x = jnp.pad(x, ((0, 0), (0, 1)), constant_values=1)
    return gram + jnp.einsum("nd,ne->de", x * weight[:, None], x, precision=_HIGHEST)


def _entries(x: Any) -> tuple[Array, Array, Array]:
    """The row, the column and the value of each entry."""
    entries = x.tocoo()
    return jnp.asarray(entries.row), jnp.asarray(entries.col), jnp.asarray(entries.data)


@partial(jax.jit, static_argnames="size")
def _segment_sums(entries: tuple[Array, Array, Array], values: Array, *, size: int) -> Array:
    row, column, data = entries
    terms = data[:, None] * values.T[column]
    return jax.ops.segment_sum(terms, row, size, indices_are_sorted=True).T
