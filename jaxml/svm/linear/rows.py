"""The examples of a linear problem, as the products that a solver needs of them.

All products take and return NumPy arrays, in the dtype of their arguments. On a CPU they are those
of BLAS and SciPy, which compile nothing; on an accelerator, or sharded over many devices, XLA's.
Dense examples are one array; sparse ones are lists of entries; those that do not fit in the memory
of a device stay where they are and pass through it in blocks.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxml.types import Array

# Sparse examples become dense where so large a share of their entries is not 0, in so few bytes.
DENSE_SHARE, MOST_BYTES = 0.3, 2**32
# Below this share the product of a sparse matrix with itself is faster than that of a dense one.
SPARSE_GRAM = 0.06
# Up to this ratio of coefficients that are not 0, sums of sparse examples leave out the others.
FEW_USED = 0.1
# Rows of a block that is made on the way.
BLOCK = 8192
# Rows that are looked at for the location and the scale of the features.
SAMPLE = 4096


@runtime_checkable
class Rows(Protocol):
    """Examples as rows of a matrix; results have the problems first."""

    x: Any
    num_rows: int
    num_features: int
    dtype: Any

    def products(self, weights: np.ndarray) -> np.ndarray:
        """`[problems, features]` to `[problems, rows]`: each example times each weights."""
        ...

    def sums(self, coefficients: np.ndarray) -> np.ndarray:
        """`[problems, rows]` to `[problems, features]`: weighted sums of the examples."""
        ...

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        """`[features + 1] * 2` and `[rows]`: adds each example's square by its weight.

        The examples have a last feature of 1 here, for the intercept. Of the result only the lower
        half is right.
        """
        ...

    def gram_of_rows(self, index: np.ndarray) -> np.ndarray:
        """`[len(index)] * 2`: products of some of the examples with one another."""
        ...

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """`[len(index) + 1] * 2`: as `add_gram` to zeros, its lower half, of some features."""
        ...

    def part(self, index: np.ndarray) -> "Rows":
        """Some of the examples."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Rows as they are on the host, dense or sparse, some at a time."""
        ...

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "Rows":
        """The examples with the shift subtracted and divided by the scale, `[features]` each."""
        ...


class _Blocks:
    """Rows that `_read` gives in blocks.

    On a CPU the products are BLAS's; an accelerator gets a copy of each block.
    """

    num_rows: int
    num_features: int
    dtype: Any
    _size = BLOCK

    def _read(self, rows: Any, dtype: Any) -> np.ndarray:
        raise NotImplementedError

    def _slices(self) -> Iterator[slice]:
        return _slices(self.num_rows, self._size)

    def products(self, weights: np.ndarray) -> np.ndarray:
        """`[problems, rows]`."""
        weights = np.asarray(weights)
        parts = [_times(self._read(rows, weights.dtype), weights) for rows in self._slices()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def sums(self, coefficients: np.ndarray) -> np.ndarray:
        """`[problems, features]`."""
        coefficients = np.asarray(coefficients)
        total: Any = 0.0
        for rows in self._slices():
            part = np.ascontiguousarray(coefficients[:, rows])
            total = total + _summed(self._read(rows, part.dtype), part)
        return total

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The Gram matrix with the change."""
        return _add_gram(gram, lambda rows: self._read(rows, gram.dtype), change)

    def gram_of_rows(self, index: np.ndarray) -> np.ndarray:
        """`[len(index)] * 2`."""
        x = self._read(index, self.dtype).astype(np.float64)
        return x @ x.T

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """`[len(index) + 1] * 2`."""
        gram = np.zeros((len(index) + 1,) * 2, weight.dtype)
        return _add_gram(gram, lambda rows: self._read(rows, gram.dtype)[:, index], weight)

    def part(self, index: np.ndarray) -> Rows:
        """Some of the examples."""
        return DenseRows(self._read(index, self.dtype))


class DenseRows(_Blocks):
    """Examples `[rows, features]`: of NumPy, on a device, or sharded by rows over many.

    On a CPU they are read in one block, of which a copy is kept in the dtype that was last asked
    for. What lies on an accelerator or on many devices stays there.
    """

    def __init__(self, x: Any, shift: Any = None, scale: Any = None) -> None:
        """Holds the examples, from which the shift is subtracted and which the scale divides."""
        on_host = not isinstance(x, jax.Array) or (
            len(x.devices()) == 1 and next(iter(x.devices())).platform == "cpu"
        )
        if on_host and jax.default_backend() != "cpu":
            x, on_host = jnp.asarray(x), False
        self.x: Any = np.asarray(x) if on_host else x
        self.num_rows, self.num_features = x.shape
        self.dtype = np.dtype(x.dtype)
        self._standard = None if shift is None else (np.asarray(shift), np.asarray(scale))
        self.on_host, self._size = on_host, max(1, self.num_rows)
        self._kept: Any = None

    def products(self, weights: np.ndarray) -> np.ndarray:
        """`[problems, rows]`."""
        if self.on_host:
            return super().products(weights)
        return np.asarray(_products(self._device(weights), jnp.asarray(weights)))

    def sums(self, coefficients: np.ndarray) -> np.ndarray:
        """`[problems, features]`."""
        if self.on_host:
            return super().sums(coefficients)
        return np.asarray(_sums(self._device(coefficients), jnp.asarray(coefficients)))

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The Gram matrix with the change; with tensor cores all rows are faster than some."""
        if self.on_host:
            return super().add_gram(gram, change)
        weight = jnp.asarray(change, gram.dtype)
        return np.asarray(_gram(jnp.asarray(gram), self._device(gram), weight))

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """`[len(index) + 1] * 2`."""
        if self.on_host:
            return super().gram_of_features(index, weight)
        gram = jnp.zeros((len(index) + 1,) * 2, weight.dtype)
        return np.asarray(_gram(gram, self._device(weight)[:, index], jnp.asarray(weight)))

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """NumPy arrays."""
        for part in _slices(self.num_rows):
            yield part, self._read(part, self.dtype)

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> Rows:
        """The same rows in other coordinates."""
        return DenseRows(self.x, shift, scale)

    def _device(self, like: Any) -> Array:
        return self._in(like.dtype)

    def _in(self, dtype: Any) -> Any:
        """All examples in a dtype."""
        if self._standard is None and self.x.dtype == dtype:
            return self.x
        if self._kept is None or self._kept.dtype != dtype:
            self._kept = _standardized(self.x, dtype, self._standard)
        return self._kept

    def _read(self, rows: Any, dtype: Any) -> np.ndarray:
        x = self._in(dtype)
        whole = isinstance(rows, slice) and rows.stop - rows.start == self.num_rows
        return np.asarray(x) if whole else np.asarray(x[rows])


class StreamedRows(_Blocks):
    """Examples of an array on the host, or of a file that is mapped into memory, in blocks."""

    def __init__(
        self, x: np.ndarray, *, block: int = BLOCK, shift: Any = None, scale: Any = None
    ) -> None:
        """Refers to the examples; each block is read when it is needed."""
        self.x = x
        self.num_rows, self.num_features = x.shape
        self.dtype = np.dtype(x.dtype)
        self._size = block
        self._standard = None if shift is None else (np.asarray(shift), np.asarray(scale))

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """NumPy arrays."""
        for part in self._slices():
            yield part, self._read(part, self.dtype)

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> Rows:
        """The same rows in other coordinates."""
        return StreamedRows(self.x, block=self._size, shift=shift, scale=scale)

    def _read(self, rows: Any, dtype: Any) -> np.ndarray:
        return _standardized(np.asarray(self.x[rows]), dtype, self._standard)


class SparseRows:
    """Examples that are mostly zeros.

    On a CPU the products are SciPy's, ten times as fast as XLA's sums over segments, which an
    accelerator takes.
    """

    def __init__(self, x: Any) -> None:
        """Holds a matrix of SciPy, and on an accelerator its entries, by rows and by features."""
        self.x: Any = scipy.sparse.csr_array(x)
        self.num_rows, self.num_features = self.x.shape
        self.dtype = self.x.dtype
        self.on_host = jax.default_backend() == "cpu"
        self._kept: dict[Any, Any] = {}

    def products(self, weights: np.ndarray) -> np.ndarray:
        """`[problems, rows]`."""
        weights = np.asarray(weights)
        x, _ = self._in(weights.dtype)
        if self.on_host:
            return (x @ np.ascontiguousarray(weights.T)).T
        return np.asarray(_sparse_sums(x, jnp.asarray(weights), size=self.num_rows))

    def sums(self, coefficients: np.ndarray) -> np.ndarray:
        """`[problems, features]`."""
        coefficients = np.asarray(coefficients)
        if self.on_host and np.count_nonzero(coefficients) <= FEW_USED * coefficients.size:
            return (scipy.sparse.csr_array(coefficients) @ self.x).toarray()
        _, turned = self._in(coefficients.dtype)
        if self.on_host:
            return (turned @ np.ascontiguousarray(coefficients.T)).T
        return np.asarray(_sparse_sums(turned, jnp.asarray(coefficients), size=self.num_features))

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The Gram matrix with the change."""
        share = self.x.nnz / max(1, self.num_rows * self.num_features)
        if share > SPARSE_GRAM or not self.on_host:
            x = self.x
            return _add_gram(gram, lambda rows: x[rows].toarray().astype(gram.dtype), change)
        every = np.arange(self.num_features)
        return gram + self.gram_of_features(every, np.asarray(change, gram.dtype))

    def gram_of_rows(self, index: np.ndarray) -> np.ndarray:
        """`[len(index)] * 2`."""
        x = self.x[index].astype(np.float64)
        return (x @ x.T).toarray()

    def gram_of_features(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """`[len(index) + 1] * 2`."""
        used = np.flatnonzero(weight)
        x: Any = self.x[used]
        if not np.array_equal(index, np.arange(self.num_features)):
            x = x[:, index]
        if not self.on_host:
            gram = np.zeros((len(index) + 1,) * 2, weight.dtype)
            x = x.astype(weight.dtype)
            return _add_gram(gram, lambda rows: x[rows].toarray(), weight[used])
        ones = np.ones((len(used), 1), weight.dtype)
        x = scipy.sparse.csr_array(scipy.sparse.hstack([x.astype(weight.dtype), ones]))
        weighted = scipy.sparse.csr_array(x.multiply(weight[used, None]).T)
        return (weighted @ x).toarray()

    def part(self, index: np.ndarray) -> Rows:
        """Some of the examples."""
        return SparseRows(self.x[index])

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """The one sparse matrix."""
        yield slice(0, self.num_rows), self.x

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> Rows:
        """Not possible without filling the zeros."""
        raise NotImplementedError

    def _in(self, dtype: Any) -> tuple[Any, Any]:
        """The matrix and its transpose in a dtype, by rows both."""
        if dtype not in self._kept:
            x = self.x.astype(dtype)
            both = x, scipy.sparse.csr_array(x.T)
            self._kept[dtype] = both if self.on_host else tuple(map(_entries, both))
        return self._kept[dtype]


def as_rows(x: Any) -> Rows:
    """Makes rows of an array or of a sparse matrix of SciPy.

    Args:
      x: `[rows, features]`, floating point: a NumPy array, a JAX array, a sparse matrix or array of
        SciPy, or `Rows`.

    Returns:
      The rows. Sparse ones are dense where few entries are 0.

    Example:
      >>> as_rows(np.eye(3, dtype=np.float32)).products(np.ones((1, 3))).tolist()
      [[1.0, 1.0, 1.0]]
    """
    if isinstance(x, DenseRows | StreamedRows | SparseRows):
        return x
    if not scipy.sparse.issparse(x):
        return DenseRows(x)
    size = x.shape[0] * x.shape[1]
    stays = x.nnz < DENSE_SHARE * size or size * x.dtype.itemsize > MOST_BYTES
    return SparseRows(x) if stays else DenseRows(x.toarray())


def sample(rows: Rows) -> np.ndarray:
    """Up to `SAMPLE` of dense rows, evenly spaced, in float64."""
    index = np.unique(np.linspace(0, rows.num_rows - 1, SAMPLE).astype(int))
    x = rows.x[index if rows.num_rows > SAMPLE else slice(None)]
    return np.asarray(x, np.float64)


def _slices(count: int, size: int = BLOCK) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _standardized(x: Any, dtype: Any, standard: Any) -> Any:
    if standard is None:
        return x.astype(dtype, copy=False) if isinstance(x, np.ndarray) else x.astype(dtype)
    wide = np.result_type(x.dtype, dtype)
    shift, scale = (part.astype(wide) for part in standard)
    x = x.astype(wide) - shift
    return (x / scale).astype(dtype)


def _times(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if jax.default_backend() == "cpu":
        return weights @ x.T
    return np.asarray(_products(jnp.asarray(x), jnp.asarray(weights)))


def _summed(x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    if jax.default_backend() == "cpu":
        return coefficients @ x
    return np.asarray(_sums(jnp.asarray(x), jnp.asarray(coefficients)))


def _add_gram(
    gram: np.ndarray, block: Callable[[np.ndarray], np.ndarray], change: np.ndarray
) -> np.ndarray:
    """Adds the squares of the examples that `block` gives for some rows; see `Rows.add_gram`."""
    change = np.asarray(change, gram.dtype)
    if jax.default_backend() == "cpu":
        return _add_gram_by_blas(gram, block, change)
    device = jnp.asarray(gram)
    every = np.flatnonzero(change)
    for part in _slices(len(every)):
        index = every[part]
        fill = (0, _size(len(index)) - len(index))
        rows, weight = np.pad(index, fill), np.pad(change[index], fill)
        device = _gram(device, jnp.asarray(block(rows)), jnp.asarray(weight))
    return np.asarray(device)


def _size(count: int) -> int:
    """Rounds up to one of few sizes, so that few programs are compiled."""
    return next(size for size in (64, 256, 1024, 2048, 3072, 4096, 6144, BLOCK) if count <= size)


def _add_gram_by_blas(
    gram: np.ndarray, block: Callable[[np.ndarray], np.ndarray], change: np.ndarray
) -> np.ndarray:
    """Computes one half only, in half of the time of a product of matrices."""
    result = np.array(gram)
    root = np.sqrt(np.abs(change))
    for sign in (1, -1):
        every = np.flatnonzero(sign * change > 0)
        for part in _slices(len(every), 2048):
            index = every[part]
            rows = block(index) * root[index, None]
            # NumPy takes syrk here, so that one half is computed.
            result[:-1, :-1] += sign * (rows.T @ rows)
            result[-1, :-1] += sign * (root[index] @ rows)
    result[-1, -1] += change.sum()
    return result


_HIGHEST = jax.lax.Precision.HIGHEST


@jax.jit
def _products(x: Array, weights: Array) -> Array:
    return jnp.einsum("nd,kd->kn", x, weights, precision=_HIGHEST)


@jax.jit
def _sums(x: Array, coefficients: Array) -> Array:
    return jnp.einsum("kn,nd->kd", coefficients, x, precision=_HIGHEST)


@jax.jit
def _gram(gram: Array, x: Array, weight: Array) -> Array:
    x = jnp.pad(x, ((0, 0), (0, 1)), constant_values=1)
    return gram + jnp.einsum("nd,ne->de", x * weight[:, None], x, precision=_HIGHEST)


def _entries(x: Any) -> tuple[Array, Array, Array]:
    """Where each entry of a matrix goes to, where from, and its value."""
    entries = x.tocoo()
    return jnp.asarray(entries.row), jnp.asarray(entries.col), jnp.asarray(entries.data)


@partial(jax.jit, static_argnames="size")
def _sparse_sums(entries: tuple[Array, Array, Array], values: Array, *, size: int) -> Array:
    into, out_of, data = entries
    parts = data[:, None] * values.T[out_of]
    return jax.ops.segment_sum(parts, into, size, indices_are_sorted=True).T
