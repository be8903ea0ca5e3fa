"""Kernels whose hyper-parameters are resolved from data, evaluated on the device or the host."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError, nearest
from jaxml.svm import kernels
from jaxml.svm._validation import check_integer, check_number, is_number
from jaxml.svm.kernel import HostExamples, HostKernel, padded_size, product_error, take
from jaxml.svm.kernels import Kernel
from jaxml.types import Array

# Kernel entries computed in one block of outputs on the device.
_BLOCK = 2**24
# Up to this much work, outputs are computed on the host without compilation.
_HOST_WORK = 2**28


@dataclass(frozen=True)
class FittedKernel:
    """A kernel with numeric hyper-parameters, see `SVC`.

    Attributes:
      kernel: a name in `jaxml.svm.kernels.KERNELS`, "precomputed", or a callable.
      kind: "named"; "traced" for a callable that JAX can compile; "matrix" for a precomputed kernel
        or a callable that needs NumPy arrays.
      dtype: dtype of the samples on the device.
      origin: `[features]` mean of the data, or None. Subtracting it reduces rounding errors. It is
        set for rbf, which depends on differences only, and for a linear kernel with a free
        intercept, which absorbs the shift.
    """

    kernel: str | Callable[[Any, Any], Any]
    kind: str
    dtype: np.dtype
    gamma: float = 1.0
    coef0: float = 0.0
    degree: int = 3
    origin: np.ndarray | None = None

    @property
    def host_kernel(self) -> HostKernel:
        """The kernel in float64."""
        if callable(self.kernel):
            return HostKernel("other", function=partial(_call_in_double, self.kernel))
        return HostKernel(str(self.kernel), self.gamma, self.coef0, self.degree)

    def host_rows(self, x: np.ndarray) -> HostExamples:
        """Returns centered samples in float64."""
        x = np.asarray(x, np.float64)
        return self.host_kernel.examples(x if self.origin is None else x - self.origin)

    def rounding(self, rows: HostExamples) -> float:
        """Bounds the absolute error of entries on the device; an estimate for callables."""
        unit, x = float(np.finfo(self.device_dtype).eps) / 2, rows[0]
        if callable(self.kernel):
            return 64 * unit * self.host_kernel.max_entry(rows)
        radius = float(np.einsum("nf,nf->n", x, x).max(initial=0.0))
        products = product_error(radius, x.shape[1], self.device_dtype)
        if self.kernel == "linear":
            return products
        products *= self.gamma
        if self.kernel == "poly":
            inner = self.gamma * radius + abs(self.coef0)
            return self.degree * inner ** max(self.degree - 1, 0) * (products + 4 * unit * inner)
        return products + 4 * unit

    @property
    def device_dtype(self) -> np.dtype:
        """The dtype on the device; float32 if float64 has been disabled since the fit."""
        return jax.dtypes.canonicalize_dtype(self.dtype)

    @property
    def function(self) -> Kernel:
        """The kernel as a function of JAX arrays."""
        if self.kind == "matrix":
            return kernels.precomputed
        return kernels.bind(self.kernel, gamma=self.gamma, coef0=self.coef0, degree=self.degree)

    def place(self, x: np.ndarray) -> np.ndarray:
        """Returns centered samples in the device's dtype, with features padded by zeros."""
        if self.origin is not None:
            x = x - self.origin
        x = np.asarray(x, self.device_dtype)
        fill = -x.shape[1] % 8
        return np.pad(x, ((0, 0), (0, fill))) if fill and self.kind == "named" else x

    def products(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Returns the matrix of a kernel of kind "matrix"; a precomputed one is `x` itself."""
        if not callable(self.kernel):
            return x
        matrix, shape = np.asarray(self.kernel(x, z)), (len(x), len(z))
        if matrix.shape != shape:
            raise InputError(
                f"`kernel` must return a matrix of shape {shape}, got shape {matrix.shape}"
            )
        return matrix

    def outputs(
        self, x: np.ndarray, vectors: np.ndarray, weights: np.ndarray, *, tolerance: float = 1e-3
    ) -> np.ndarray:
        """Returns `[samples, outputs]` weighted sums of kernel values in float64.

        Args:
          x: `[samples, features]`, or `[samples, vectors]` kernel values for "precomputed".
          vectors: `[vectors, features]`; unused for "precomputed".
          weights: `[vectors, outputs]`.
          tolerance: largest expected error at which the device's dtype is used.
        """
        if self.kind == "matrix":
            return self.products(x, vectors).astype(np.float64) @ weights
        rows, held = self.host_rows(x), self.host_rows(vectors)
        work = len(x) * len(vectors) * (x.shape[1] + 64)
        error = max(self.rounding(part) for part in (rows, held))
        error *= float(np.sqrt(np.square(weights).sum(0)).max(initial=0.0))
        if work <= _HOST_WORK or not error <= tolerance or not len(weights):
            return self.host_kernel.weighted_sums(rows, held, weights)
        return self._device_outputs(x, vectors, weights)

    def _device_outputs(
        self, x: np.ndarray, vectors: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        size = padded_size(len(weights), least=128)
        held = jnp.asarray(_repeat_last(self.place(vectors), size))
        fill = ((0, size - len(weights)), (0, 0))
        factors = jnp.asarray(np.pad(weights, fill), self.device_dtype)
        most = max(128, min(4096, 1 << (_BLOCK // size).bit_length()))
        found = []
        for start in range(0, len(x), most):
            part = self.place(x[start : start + most])
            rows = jnp.asarray(_repeat_last(part, padded_size(len(part), least=128)))
            sums = _weighted(kernels.matrix(self.function, rows, held), factors)
            found.append(np.asarray(sums, np.float64)[: len(part)])
        return np.concatenate(found)


class KernelSamples:
    """Samples as columns of a kernel matrix, for `jaxml.svm.kernel.solve`."""

    def __init__(self, kernel: FittedKernel, x: np.ndarray, index: np.ndarray) -> None:
        """Places the samples `x[index]`, or those rows and columns of a kernel matrix."""
        self.device_kernel = kernel.function
        self._fitted, self._x, self._index = kernel, x, index
        if kernel.kind == "matrix":
            self._matrix = np.asarray(kernel.products(x, x), np.float64)
            self.host_kernel = HostKernel("other", function=lambda i, j: self._matrix[np.ix_(i, j)])
            self.host_examples = index, np.empty(len(index))
            self.rounding = float(np.finfo(kernel.device_dtype).eps * np.abs(self._matrix).max())
            return
        self.host_kernel = kernel.host_kernel
        self.host_examples = take(kernel.host_rows(x), index)
        self.rounding = kernel.rounding(self.host_examples)

    def device_examples(self) -> Array:
        """Returns `[columns, ...]` samples for `device_kernel`."""
        if self._fitted.kind == "matrix":
            matrix = self._matrix[np.ix_(self._index, self._index)]
            return jnp.asarray(matrix, self._fitted.device_dtype)
        return jnp.asarray(self._fitted.place(self._x)[self._index])


def fit_kernel(
    kernel: str | Callable[[Any, Any], Any],
    x: np.ndarray,
    *,
    gamma: str | float,
    coef0: float,
    degree: int,
    free_intercept: bool = True,
) -> FittedKernel:
    """Resolves the hyper-parameters of a kernel, those of `SVC`, from data.

    With a free intercept the dual weights sum to 0, so that a linear kernel may be centered.
    """
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    if callable(kernel):
        traced = _is_traceable(kernel, jax.ShapeDtypeStruct((2, x.shape[1]), dtype))
        return FittedKernel(kernel, "traced" if traced else "matrix", dtype)
    if kernel == "precomputed":
        if x.shape[0] != x.shape[1]:
            raise InputError(f"`X` must be a square matrix for a precomputed kernel, got {x.shape}")
        return FittedKernel(kernel, "matrix", dtype)
    known = (*kernels.KERNELS, "precomputed")
    if kernel not in known:
        raise InputError(
            f"`kernel` must be one of {', '.join(known)} or a callable, "
            f"got {kernel!r}{nearest(str(kernel), known)}"
        )
    check_integer("degree", degree, 0)
    check_number("coef0", coef0)
    centered = kernel == "rbf" or (kernel == "linear" and free_intercept)
    origin = x.mean(0, dtype=np.float64) if centered else None
    number = _resolve_gamma(gamma, x)
    return FittedKernel(kernel, "named", dtype, number, float(coef0), int(degree), origin)


def _repeat_last(rows: np.ndarray, size: int) -> np.ndarray:
    """Pads rows with the last one, because a callable may not be defined at zero."""
    return np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")


def _call_in_double(kernel: Callable[[Any, Any], Any], x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Evaluates a callable of JAX arrays in float64."""
    with jax.enable_x64(True):
        return np.asarray(kernel(jnp.asarray(x), jnp.asarray(z)))


def _resolve_gamma(gamma: str | float, x: np.ndarray) -> float:
    if isinstance(gamma, str) and gamma == "auto":
        return 1 / x.shape[1]
    if isinstance(gamma, str) and gamma == "scale":
        variance = _variance(x)
        return 1 / (x.shape[1] * variance) if variance > 0 else 1.0
    if isinstance(gamma, str) or not (is_number(gamma) and 0 <= gamma < np.inf):
        hint = nearest(gamma, ("scale", "auto")) if isinstance(gamma, str) else ""
        raise InputError(
            f"`gamma` must be scale, auto or a finite number >= 0, got {gamma!r}{hint}"
        )
    return float(gamma)


def _variance(x: np.ndarray) -> float:
    """Returns the variance of all entries in float64, without a float64 copy of the data."""
    mean = x.mean(dtype=np.float64)
    parts = (np.square(x[i : i + 256] - mean).sum(dtype=np.float64) for i in range(0, len(x), 256))
    return float(sum(parts)) / x.size


def _is_traceable(kernel: Callable[[Any, Any], Any], shape: jax.ShapeDtypeStruct) -> bool:
    """Returns whether JAX can compile a callable; one that needs NumPy arrays cannot be traced."""
    try:
        result = jax.eval_shape(kernel, shape, shape)
    except (TypeError, ValueError, AttributeError):  # JAX's errors for tracers are TypeErrors
        return False
    return isinstance(result, jax.ShapeDtypeStruct) and result.shape == (2, 2)


@jax.jit
def _weighted(products: Array, weights: Array) -> Array:
    return jnp.matmul(products, weights, precision=jax.lax.Precision.HIGHEST)
