"""Dense examples: one array in memory, or blocks that are read when they are needed."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.svm.linear import _products
from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._products import BLOCK


class _BlockedExamples(Examples):
    """`Examples` in terms of `_read`, `_block` of them at a time."""

    _block: int
    _standard: tuple[np.ndarray, np.ndarray] | None  # the shift and the scale

    def _read(self, index: Any, dtype: Any) -> Any:
        """Selects examples, an array on the host or on the devices."""
        raise NotImplementedError

    def products(self, weights: np.ndarray) -> np.ndarray:
        weights = np.asarray(weights)
        parts = [
            _products.products(self._read(part, weights.dtype), weights)
            for part in _products.slices(self.num_examples, self._block)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def weighted_sums(self, coefficients: np.ndarray) -> np.ndarray:
        coefficients = np.asarray(coefficients)
        total: Any = 0.0
        for part in _products.slices(self.num_examples, self._block):
            weight = np.ascontiguousarray(coefficients[:, part])
            total = total + _products.weighted_sums(self._read(part, weight.dtype), weight)
        return total

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        return _products.add_gram(gram, lambda index: self._read(index, gram.dtype), change)

    def example_gram(self, index: np.ndarray) -> np.ndarray:
        x = self._read(index, self.dtype).astype(np.float64)
        return x @ x.T

    def feature_gram(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        gram = np.zeros((len(index) + 1,) * 2, weight.dtype)
        return _products.add_gram(gram, lambda i: self._read(i, gram.dtype)[:, index], weight)

    def subset(self, index: np.ndarray) -> "DenseExamples":
        return DenseExamples(self._read(index, self.dtype))

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        for part in _products.slices(self.num_examples, min(self._block, BLOCK)):
            yield part, np.asarray(self._read(part, self.dtype))


class DenseExamples(_BlockedExamples):
    """An array `[examples, features]`: of NumPy, on a device, or sharded by examples over devices.

    On CPU it is used as one block, of which a copy in the last requested dtype is kept. Arrays on
    an accelerator or on several devices stay there.
    """

    def __init__(self, x: Any, shift: Any = None, scale: Any = None) -> None:
        """Wraps `(x - shift) / scale`."""
        self.on_host = not isinstance(x, jax.Array) or (
            len(x.devices()) == 1 and next(iter(x.devices())).platform == "cpu"
        )
        if self.on_host and jax.default_backend() != "cpu":
            x, self.on_host = jnp.asarray(x), False
        self.x: Any = np.asarray(x) if self.on_host else x
        self.num_examples, self.num_features = x.shape
        self.dtype = np.dtype(x.dtype)
        self._block = max(1, self.num_examples)
        self._standard = None if shift is None else (np.asarray(shift), np.asarray(scale))
        self._copy: Any = None

    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        if self.on_host:
            return super().add_gram(gram, change)
        # On accelerators all examples are faster than a selection.
        weight = jnp.asarray(change, gram.dtype)
        return np.asarray(_products.device_gram(jnp.asarray(gram), self._cast(gram.dtype), weight))

    def feature_gram(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        if self.on_host:
            return super().feature_gram(index, weight)
        gram = jnp.zeros((len(index) + 1,) * 2, weight.dtype)
        x = self._cast(weight.dtype)[:, index]
        return np.asarray(_products.device_gram(gram, x, jnp.asarray(weight)))

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "DenseExamples":
        return DenseExamples(self.x, shift, scale)

    def _cast(self, dtype: Any) -> Any:
        """All examples in a dtype."""
        if self._standard is None and self.x.dtype == dtype:
            return self.x
        if self._copy is None or self._copy.dtype != dtype:
            self._copy = _standardized(self.x, dtype, self._standard)
        return self._copy

    def _read(self, index: Any, dtype: Any) -> Any:
        x = self._cast(dtype)
        is_all = isinstance(index, slice) and index.stop - index.start == self.num_examples
        return x if is_all else np.asarray(x[index])


class StreamedExamples(_BlockedExamples):
    """Examples of a host array or a memory-mapped file, copied block by block."""

    def __init__(
        self, x: np.ndarray, *, block: int = BLOCK, shift: Any = None, scale: Any = None
    ) -> None:
        """Wraps `(x - shift) / scale`; each block is read when it is needed."""
        self.x = x
        self.num_examples, self.num_features = x.shape
        self.dtype = np.dtype(x.dtype)
        self._block = block
        self._standard = None if shift is None else (np.asarray(shift), np.asarray(scale))

    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "StreamedExamples":
        return StreamedExamples(self.x, block=self._block, shift=shift, scale=scale)

    def _read(self, index: Any, dtype: Any) -> np.ndarray:
        return _standardized(np.asarray(self.x[index]), dtype, self._standard)


def _standardized(x: Any, dtype: Any, standard: tuple[np.ndarray, np.ndarray] | None) -> Any:
    if standard is None:
        return x.astype(dtype, copy=False) if isinstance(x, np.ndarray) else x.astype(dtype)
    wide = np.result_type(x.dtype, dtype)
    shift, scale = (part.astype(wide) for part in standard)
    return ((x.astype(wide) - shift) / scale).astype(dtype)
