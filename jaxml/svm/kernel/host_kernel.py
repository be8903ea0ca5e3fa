"""Kernel matrices in float64 on the host, in blocks that several threads compute."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from jaxml.svm._threads import for_each

# Entries of a block, so that it stays in the processor's cache.
_BLOCK = 2**18
# The largest error of an exponent, above which distances are computed without products.
_EXPONENT_ERROR = 1e-11

Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class HostKernel:
    """A kernel of two sets of rows, each with its squared norms.

    Attributes:
      name: one of `jaxml.svm.kernels.KERNELS`, or "other" for `function`.
      gamma: as of the kernel.
      coef0: as of the kernel.
      degree: as of the kernel.
      function: of two arrays of rows, for "other".
    """

    name: str
    gamma: float = 1.0
    coef0: float = 0.0
    degree: int = 3
    function: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def rows(self, x: np.ndarray) -> Rows:
        """Rows as the methods below take them."""
        x = np.asarray(x, np.float64)
        return x, np.einsum("nf,nf->n", x, x) if self.name == "rbf" else np.empty(len(x))

    def block(self, x: Rows, z: Rows) -> np.ndarray:
        """`[n, m]`: the kernel of rows."""
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

    def _rbf(self, x: Rows, z: Rows) -> np.ndarray:
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

    def largest(self, x: Rows) -> float:
        """The largest entry of the kernel of rows with themselves; of a callable one of some."""
        if self.function is not None:
            some = take(x, np.arange(0, len(x[0]), max(1, len(x[0]) // 64)))
            return float(np.abs(self.block(some, some)).max(initial=0.0))
        squares = np.einsum("nf,nf->n", x[0], x[0])
        size = float(squares.max(initial=0.0))
        if self.name == "linear":
            return size
        if self.name == "poly":
            return (abs(self.gamma) * size + abs(self.coef0)) ** self.degree
        return 1.0

    def weighted(
        self, x: Rows, z: Rows, weights: np.ndarray, *, threads: bool = True
    ) -> np.ndarray:
        """`[n, outputs]`: the kernel of rows times weights `[m, outputs]`."""
        if self.name == "linear":
            return x[0] @ (z[0].T @ weights)
        out = np.zeros((len(x[0]), *weights.shape[1:]))
        width = max(1, min(len(z[0]), 2048))
        height = max(1, _BLOCK // width)

        def fill(start: int) -> None:
            here = slice(start, start + height)
            part = x[0][here], x[1][here]
            for column in range(0, len(z[0]), width):
                there = slice(column, column + width)
                out[here] += self.block(part, (z[0][there], z[1][there])) @ weights[there]

        for_each(fill, range(0, len(x[0]), height), threads=threads and self.is_ours)
        return out

    def matrix(self, x: Rows, z: Rows) -> np.ndarray:
        """`[n, m]`: the kernel of many rows."""
        out = np.empty((len(x[0]), len(z[0])))
        height = max(1, _BLOCK // max(1, len(z[0])))

        def fill(start: int) -> None:
            here = slice(start, start + height)
            out[here] = self.block((x[0][here], x[1][here]), z)

        for_each(fill, range(0, len(x[0]), height), threads=self.is_ours)
        return out

    @property
    def is_ours(self) -> bool:
        """Whether it may be called by several threads: a function of the user's may not."""
        return self.function is None


def take(rows: Rows, index: np.ndarray) -> Rows:
    """Some of the rows."""
    return rows[0][index], rows[1][index]


def product_error(squared_radius: float, num_features: int, dtype: np.typing.DTypeLike) -> float:
    """Bounds the error of |x|^2 + |z|^2 - 2 x.z for rows within a radius.

    The factor allows for the growth of rounding errors in sums of so many terms.
    """
    unit = np.finfo(dtype).eps / 2
    return float(4 * (1 + np.sqrt(num_features) / 4) * unit * squared_radius)
