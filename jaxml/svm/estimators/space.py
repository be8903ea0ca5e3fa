"""Where a kernel machine lives: its kernel, and how data becomes the examples of that kernel."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError, nearest
from jaxml.svm import kernels
from jaxml.svm.kernel import HostExamples, HostKernel, padded_size, product_error, take
from jaxml.svm.kernels import Kernel
from jaxml.types import Array

# Entries of the kernel that are computed at once when outputs are.
_BLOCK = 2**24
# Outputs of so little work are computed on the host, without compilation.
_HOST_WORK = 2**28


@dataclass(frozen=True)
class Space:
    """A kernel with its hyper-parameters, and the origin of its examples.

    Attributes:
      kernel: one of `jaxml.svm.kernels.KERNELS`, "precomputed", or a callable.
      kind: "named"; "traced" for a callable that JAX compiles; "matrix" where products are given,
        or made by a callable that wants NumPy arrays.
      gamma: of poly, rbf and sigmoid.
      coef0: of poly and sigmoid.
      degree: of poly.
      dtype: of the examples on the device.
      origin: `[features]`: the mean of the data, so that products keep their digits, for rbf, which
        only knows distances, and for linear where another origin only changes the intercept; else
        None.
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
            return HostKernel("other", function=partial(_in_double, self.kernel))
        return HostKernel(str(self.kernel), self.gamma, self.coef0, self.degree)

    def host_rows(self, x: np.ndarray) -> HostExamples:
        """Data with respect to the origin, in float64."""
        x = np.asarray(x, np.float64)
        return self.host_kernel.examples(x if self.origin is None else x - self.origin)

    def rounding(self, rows: HostExamples, dtype: np.dtype) -> float:
        """Bounds the error of the kernel's entries when computed in a dtype.

        Args:
          rows: of `host_rows`.
          dtype: of the device.

        Returns:
          An absolute error, for a callable kernel an estimate.
        """
        unit = float(np.finfo(dtype).eps) / 2
        x = rows[0]
        if callable(self.kernel):
            sample = x[:: max(1, len(x) // 64)]
            return 64 * unit * float(np.abs(_in_double(self.kernel, sample, sample)).max())
        radius = float(np.einsum("nf,nf->n", x, x).max(initial=0.0))
        products = product_error(radius, x.shape[1], dtype)
        if self.kernel == "linear":
            return products
        products *= self.gamma
        if self.kernel == "poly":
            inner = self.gamma * radius + abs(self.coef0)
            return self.degree * inner ** max(self.degree - 1, 0) * (products + 4 * unit * inner)
        return products + 4 * unit

    @property
    def device_dtype(self) -> np.dtype:
        """The dtype, or float32 where float64 was switched off since."""
        return jax.dtypes.canonicalize_dtype(self.dtype)

    @property
    def function(self) -> Kernel:
        """The kernel of two sets of examples as JAX takes it."""
        if self.kind == "matrix":
            return kernels.precomputed
        return kernels.bind(self.kernel, gamma=self.gamma, coef0=self.coef0, degree=self.degree)

    def examples(self, x: np.ndarray, rows: np.ndarray) -> "SpaceExamples":
        """The examples in columns that hold these rows, for the solver."""
        return SpaceExamples(self, x, rows)

    def place(self, x: np.ndarray) -> np.ndarray:
        """Data with respect to the origin, features padded with zeros."""
        if self.origin is not None:
            x = x - self.origin
        x = np.asarray(x, self.device_dtype)
        fill = -x.shape[1] % 8
        return np.pad(x, ((0, 0), (0, fill))) if fill and self.kind == "named" else x

    def products(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The matrix of a kernel of kind "matrix"; where it is precomputed it is x itself."""
        if not callable(self.kernel):
            return x
        matrix = np.asarray(self.kernel(x, z))
        if matrix.shape != (len(x), len(z)):
            raise InputError(
                f"kernel: the callable's matrix of {len(x)} and {len(z)} rows has the shape "
                f"{matrix.shape}, it has to be {(len(x), len(z))}"
            )
        return matrix

    def outputs(
        self, x: np.ndarray, vectors: np.ndarray, weights: np.ndarray, *, tolerance: float = 1e-3
    ) -> np.ndarray:
        """Weighted sums of the products with support vectors.

        Args:
          x: `[rows, features]`; for "precomputed", `[rows, vectors]` products.
          vectors: `[vectors, features]`; not used for "precomputed".
          weights: `[vectors, outputs]`.
          tolerance: the expected error above which the device's dtype is not used.

        Returns:
          `[rows, outputs]`, float64.
        """
        if self.kind == "matrix":
            return self.products(x, vectors).astype(np.float64) @ weights
        rows, held = self.host_rows(x), self.host_rows(vectors)
        work = len(x) * len(vectors) * (x.shape[1] + 64)
        error = max(self.rounding(part, self.device_dtype) for part in (rows, held))
        error *= float(np.sqrt(np.square(weights).sum(0)).max(initial=0.0))
        if work <= _HOST_WORK or not error <= tolerance or not len(weights):
            return self.host_kernel.weighted_sums(rows, held, weights)
        return self._device_outputs(x, vectors, weights)

    def _device_outputs(
        self, x: np.ndarray, vectors: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        size = padded_size(len(weights), least=128)
        vectors = np.pad(self.place(vectors), ((0, size - len(vectors)), (0, 0)))
        if callable(self.kernel):
            vectors[len(weights) :] = vectors[0]  # zeros may have no products
        fill = ((0, size - len(weights)), (0, 0))
        device = [jnp.asarray(vectors), jnp.asarray(np.pad(weights, fill), self.device_dtype)]
        most = max(128, min(4096, 1 << (_BLOCK // size).bit_length()))
        out = np.zeros((len(x), weights.shape[1]))
        for start in range(0, len(x), most):
            part = self.place(x[start : start + most])
            rows = np.minimum(np.arange(padded_size(len(part), least=128)), len(part) - 1)
            products = kernels.matrix(self.function, jnp.asarray(part[rows]), device[0])
            found = _weighted(products, device[1])
            out[start : start + most] = np.asarray(found)[: len(part)]
        return out


class SpaceExamples:
    """The columns of a kernel matrix, for `jaxml.svm.kernel.solve`."""

    def __init__(self, space: Space, x: np.ndarray, index: np.ndarray) -> None:
        """Columns that hold rows of the data, for a kernel of kind "matrix" those of a matrix."""
        self.device_kernel = space.function
        self._space, self._x, self._index = space, x, index
        if space.kind == "matrix":
            self._matrix = np.asarray(space.products(x, x), np.float64)
            self.host_kernel = HostKernel("other", function=lambda i, j: self._matrix[np.ix_(i, j)])
            self.host_examples = index, np.empty(len(index))
            self.rounding = float(np.finfo(space.device_dtype).eps * np.abs(self._matrix).max())
            return
        self.host_kernel = space.host_kernel
        self.host_examples = take(space.host_rows(x), index)
        self.rounding = space.rounding(self.host_examples, space.device_dtype)

    def device_examples(self) -> Array:
        """`[columns, ...]` examples of `device_kernel`."""
        space = self._space
        if space.kind == "matrix":
            matrix = self._matrix[np.ix_(self._index, self._index)]
            return jnp.asarray(matrix, space.device_dtype)
        return jnp.asarray(space.place(self._x)[self._index])


def is_number(value: Any) -> bool:
    """Whether it is a real number; True and False are none."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def fit_space(
    kernel: str | Callable[[Any, Any], Any],
    x: np.ndarray,
    *,
    gamma: str | float,
    coef0: float,
    degree: int,
    free_intercept: bool = True,
) -> Space:
    """The space of a kernel for data.

    Args:
      kernel: as of `Space`.
      x: `[rows, features]`, or `[rows, rows]` for "precomputed".
      gamma: "scale", 1 / (features * variance); "auto", 1 / features; or a number.
      coef0: of poly and sigmoid.
      degree: of poly.
      free_intercept: whether the weights sum to 0, so that the linear kernel may have any origin.

    Raises:
      InputError: settings that are not allowed, a matrix that is not square.
    """
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    if callable(kernel):
        traced = _is_traceable(kernel, jax.ShapeDtypeStruct((2, x.shape[1]), dtype))
        return Space(kernel, "traced" if traced else "matrix", dtype)
    if kernel == "precomputed":
        if x.shape[0] != x.shape[1]:
            raise InputError(
                f"X: a precomputed kernel matrix is square, not {x.shape[0]} by {x.shape[1]}"
            )
        return Space(kernel, "matrix", dtype)
    known = (*kernels.KERNELS, "precomputed")
    if kernel not in known:
        raise InputError(
            f"kernel: {kernel!r} is not one of {', '.join(known)} or a callable"
            f"{nearest(str(kernel), known)}"
        )
    if not isinstance(degree, int | np.integer) or isinstance(degree, bool) or degree < 0:
        raise InputError(f"degree: {degree!r} is not allowed, it is an int of at least 0")
    if not (is_number(coef0) and np.isfinite(coef0)):
        raise InputError(f"coef0: {coef0!r} is not allowed, it is a finite number")
    centred = kernel == "rbf" or (kernel == "linear" and free_intercept)
    origin = x.mean(0, dtype=np.float64) if centred else None
    return Space(kernel, "named", dtype, _gamma(gamma, x), float(coef0), int(degree), origin)


def _in_double(kernel: Callable[[Any, Any], Any], x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The matrix of a callable of JAX arrays, in float64."""
    with jax.enable_x64(True):
        return np.asarray(kernel(jnp.asarray(x), jnp.asarray(z)))


def _gamma(gamma: str | float, x: np.ndarray) -> float:
    if isinstance(gamma, str):
        if gamma == "auto":
            return 1 / x.shape[1]
        if gamma != "scale":
            raise InputError(
                f"gamma: {gamma!r} is not one of scale, auto or a number"
                f"{nearest(gamma, ('scale', 'auto'))}"
            )
        variance = _variance(x)
        return 1 / (x.shape[1] * variance) if variance > 0 else 1.0
    if not (is_number(gamma) and 0 <= gamma < np.inf):
        raise InputError(
            f"gamma: {gamma!r} is not allowed, it is scale, auto or a number of at least 0"
        )
    return float(gamma)


def _variance(x: np.ndarray) -> float:
    """Of all entries, in float64 without a copy of them in it."""
    mean = x.mean(dtype=np.float64)
    parts = (np.square(x[i : i + 256] - mean).sum(dtype=np.float64) for i in range(0, len(x), 256))
    return float(sum(parts)) / x.size


def _is_traceable(kernel: Callable[[Any, Any], Any], shape: jax.ShapeDtypeStruct) -> bool:
    """Whether JAX can compile a callable; one that wants NumPy arrays fails on abstract ones."""
    try:
        result = jax.eval_shape(kernel, shape, shape)
    except (TypeError, ValueError, AttributeError):  # those of JAX for tracers are TypeErrors
        return False
    return isinstance(result, jax.ShapeDtypeStruct) and result.shape == (2, 2)


@jax.jit
def _weighted(products: Array, weights: Array) -> Array:
    return jnp.matmul(products, weights, precision=jax.lax.Precision.HIGHEST)
