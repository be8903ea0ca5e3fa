"""Kernel matrices in float64 on the host, in blocks that several threads compute."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from jaxml.svm._threads import for_each

# Entries of a block, so that it stays in the processor's cache.
_BLOCK = 2**18
# The error of exponents above which distances are computed without products.
_EXPONENT_ERROR = 1e-11

# Examples `[n, features]` and their squared norms `[n]`.
HostExamples = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class HostKernel:
    """A kernel of two sets of examples in float64: see `jaxml.svm.kernels`, or a `function`."""

    name: str  # one of `KERNELS`, or "other"
    gamma: float = 1.0
    coef0: float = 0.0
    degree: int = 3
    function: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    @property
    def is_thread_safe(self) -> bool:
        """Returns whether threads may call it, which the user's function may not support."""
        return self.function is None

    def examples(self, x: np.ndarray) -> HostExamples:
        """Prepares examples for the methods below."""
        x = np.asarray(x, np.float64)
        return x, np.einsum("nf,nf->n", x, x) if self.name == "rbf" else np.empty(len(x))

    def block(self, x: HostExamples, z: HostExamples) -> np.ndarray:
        """Computes a small matrix `[n, m]`."""
        if self.function is not None:
            return np.asarray(self.function(x[0], z[0]), np.float64)
        if self.name == "rbf":
            return self._rbf(x, z)
        products = x[0] @ z[0].T
        if self.name == "linear":
            return products
        products *= self.gamma
        products += self.coef0
        return np.tanh(products) if self.name == "sigmoid" else products**self.degree

    def _rbf(self, x: HostExamples, z: HostExamples) -> np.ndarray:
        largest = max(x[1].max(initial=0), z[1].max(initial=0))
        if self.gamma * product_error(largest, x[0].shape[1], np.float64) > _EXPONENT_ERROR:
            exponent = cdist(x[0], z[0], "sqeuclidean")
            exponent *= -self.gamma
        else:
            exponent = x[0] @ z[0].T
            exponent *= 2
            exponent -= x[1][:, None]
            exponent -= z[1]
            exponent *= self.gamma
            np.minimum(exponent, 0, out=exponent)
        return np.exp(exponent, out=exponent)

    def max_entry(self, x: HostExamples) -> float:
        """Returns the largest entry of the matrix of examples; an estimate for a function."""
        if self.function is not None:
            some = take(x, np.arange(0, len(x[0]), max(1, len(x[0]) // 64)))
            return float(np.abs(self.block(some, some)).max(initial=0.0))
        size = float(np.einsum("nf,nf->n", x[0], x[0]).max(initial=0.0))
        if self.name == "linear":
            return size
        if self.name == "poly":
            return (abs(self.gamma) * size + abs(self.coef0)) ** self.degree
        return 1.0

    def matrix(self, x: HostExamples, z: HostExamples) -> np.ndarray:
        """Computes a matrix `[n, m]` of any size."""
        out = np.empty((len(x[0]), len(z[0])))

        def fill(here: slice) -> None:
            out[here] = self.block((x[0][here], x[1][here]), z)

        for_each(fill, _slices(len(x[0]), len(z[0])), threads=self.is_thread_safe)
        return out

    def weighted_sums(
        self, x: HostExamples, z: HostExamples, weights: np.ndarray, *, threads: bool = True
    ) -> np.ndarray:
        """Multiplies the matrix `[n, m]` by weights `[m, outputs]`, without storing it."""
        if self.name == "linear":
            return x[0] @ (z[0].T @ weights)
        out = np.zeros((len(x[0]), *weights.shape[1:]))
        width = max(1, min(len(z[0]), 2048))

        def fill(here: slice) -> None:
            part = x[0][here], x[1][here]
            for column in range(0, len(z[0]), width):
                there = slice(column, column + width)
                out[here] += self.block(part, (z[0][there], z[1][there])) @ weights[there]

        for_each(fill, _slices(len(x[0]), width), threads=threads and self.is_thread_safe)
        return out


def _slices(height: int, width: int) -> Iterator[slice]:
    """Splits a matrix into blocks of rows."""
    step = max(1, _BLOCK // max(1, width))
    return (slice(start, start + step) for start in range(0, height, step))


def take(examples: HostExamples, index: np.ndarray) -> HostExamples:
    """Selects examples."""
    return examples[0][index], examples[1][index]


def product_error(squared_radius: float, num_features: int, dtype: np.typing.DTypeLike) -> float:
    """Bounds the error of |x|^2 + |z|^2 - 2 x.z for examples within a radius."""
    unit = np.finfo(dtype).eps / 2
    growth = 1 + np.sqrt(num_features) / 4  # of rounding errors in sums of that many terms
    return float(4 * growth * unit * squared_radius)
