"""Where a kernel machine lives: its kernel, and how data becomes the examples of that kernel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError, nearest
from jaxml.svm import kernels
from jaxml.svm.kernel.columns import padded_size
from jaxml.svm.kernels import Kernel
from jaxml.types import Array

# Entries of the kernel that are computed at once when outputs are.
_BLOCK = 2**24


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
    def device_dtype(self) -> np.dtype:
        """The dtype, or float32 where float64 was switched off since."""
        return jax.dtypes.canonicalize_dtype(self.dtype)

    @property
    def function(self) -> Kernel:
        """The kernel of two sets of examples as JAX takes it."""
        if self.kind == "matrix":
            return kernels.precomputed
        return kernels.bind(self.kernel, gamma=self.gamma, coef0=self.coef0, degree=self.degree)

    def examples(self, x: np.ndarray, rows: np.ndarray) -> Array:
        """The examples in columns that hold these rows, for the solver."""
        if self.kind == "matrix":
            return jnp.asarray(self.products(x, x)[np.ix_(rows, rows)], self.device_dtype)
        return jnp.asarray(self.place(x)[rows])

    def place(self, x: np.ndarray) -> np.ndarray:
        """Data with respect to the origin, features padded with zeros."""
        if self.origin is not None:
            x = x - self.origin.astype(x.dtype)
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

    def outputs(self, x: np.ndarray, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted sums of the products with support vectors.

        Args:
          x: `[rows, features]`; for "precomputed", `[rows, vectors]` products.
          vectors: `[vectors, features]`; not looked at for "precomputed".
          weights: `[vectors, outputs]`.

        Returns:
          `[rows, outputs]`, float64.
        """
        if self.kind == "matrix":
            return self.products(x, vectors).astype(np.float64) @ weights
        size = padded_size(max(len(weights), 1), least=128)
        vectors = np.pad(self.place(vectors), ((0, size - len(vectors)), (0, 0)))
        if callable(self.kernel) and len(weights):
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
