"""Features brought to one range, and the files in which svm-scale keeps the ranges."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from jaxml import atomic
from jaxml.errors import InputError
from jaxml.svm.files.libsvm_lines import shortest

SCALES = ("none", "min_max", "standard", "max_abs")
# Bytes that features may take which were sparse.
LARGEST = 2**33


@dataclass(frozen=True, eq=False)
class Scaling:
    r"""A straight line for each feature.

    .. math:: x \mapsto l + (u - l) (x - a) / (b - a)

    A feature with `a = b`, which was constant, becomes 0.

    Attributes:
      lower: l.
      upper: u.
      low: `[features]`: a.
      high: `[features]`: b.
    """

    lower: float
    upper: float
    low: np.ndarray
    high: np.ndarray

    def apply(self, x: Any) -> Any:
        """Scales features.

        Args:
          x: `[n, features]`, dense or sparse.

        Returns:
          The same in float64; dense if a zero does not stay a zero.

        Raises:
          InputError: it is sparse and would be too large.
        """
        differs = self.high != self.low
        width = np.where(differs, self.high - self.low, 1.0)
        factor = np.where(differs, (self.upper - self.lower) / width, 0.0)
        middle = (self.lower + self.upper) / 2
        # About zero this is exact.
        offset = np.where(self.low == -self.high, middle, self.lower - factor * self.low)
        offset = np.where(differs, offset, 0.0)
        if sparse.issparse(x):
            if not offset.any():
                return sparse.csr_array(x.multiply(factor[None]))
            if 8 * x.shape[0] * x.shape[1] > LARGEST:
                raise InputError(
                    f"scale: {x.shape[0]} x {x.shape[1]} sparse features would become dense; "
                    f"max_abs keeps them sparse"
                )
            x = x.toarray()
        return x * factor + offset

    def write(self, path: Path) -> None:
        """Writes what `svm-scale -r` reads, at once.

        Raises:
          InputError: the file cannot be written; what was there before is left.
        """
        kept = np.flatnonzero(self.low != self.high)
        rows = zip(kept + 1, shortest(self.low[kept]), shortest(self.high[kept]), strict=True)
        lines = ["x", " ".join(shortest(np.array([self.lower, self.upper])))]
        lines += [f"{index} {low} {high}" for index, low, high in rows]
        try:
            atomic.write(path, "\n".join([*lines, ""]).encode())
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def fit_scaling(scale: str, x: Any) -> Scaling | None:
    """The scaling for features.

    Args:
      scale: "none"; "min_max", to [0, 1]; "standard", to mean 0 and variance 1; "max_abs", to
        [-1, 1] by a factor.
      x: `[n, features]`, dense or sparse.

    Returns:
      The scaling, or None for none.

    Example:
      >>> scaling = fit_scaling("min_max", np.array([[1.0, 5.0], [3.0, 5.0]]))
      >>> scaling.apply(np.array([[2.0, 5.0]])).tolist()
      [[0.5, 0.0]]
    """
    if scale == "none":
        return None
    if scale == "standard":
        mean, variance = _moments(x)
        return Scaling(-1.0, 1.0, mean - np.sqrt(variance), mean + np.sqrt(variance))
    low, high = (_dense(extreme) for extreme in (x.min(axis=0), x.max(axis=0)))
    if scale == "min_max":
        return Scaling(0.0, 1.0, low, high)
    if scale == "max_abs":
        most = np.maximum(np.abs(low), np.abs(high))
        return Scaling(-1.0, 1.0, -most, most)
    raise InputError(f"scale: {scale!r} is not one of {', '.join(SCALES)}")


def read_scaling(path: Path, num_features: int) -> Scaling:
    """Reads a file of svm-scale's ranges.

    Args:
      path: the file.
      num_features: how many there are; those that the file lacks become 0.

    Raises:
      InputError: the file cannot be read or is no such file.
    """
    try:
        head, bounds, *rows = path.read_text().splitlines()
        lower, upper = (float(word) for word in bounds.split())
        low, high = np.zeros(num_features), np.zeros(num_features)
        for row in rows:
            index, least, most = row.split()
            if not 1 <= int(index) <= num_features:
                raise ValueError(f"no feature {index}")
            low[int(index) - 1], high[int(index) - 1] = float(least), float(most)
        if head != "x" or not np.isfinite([lower, upper, *low, *high]).all():
            raise ValueError(head)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise InputError(
            f"{path}: is no file of ranges for {num_features} features as svm-scale writes it"
        ) from None
    return Scaling(lower, upper, low, high)


def _dense(extreme: Any) -> np.ndarray:
    return extreme.toarray().reshape(-1) if sparse.issparse(extreme) else np.asarray(extreme)


def _moments(x: Any) -> tuple[np.ndarray, np.ndarray]:
    if sparse.issparse(x):
        moments: Any = mean_variance_axis(sparse.csr_matrix(x), axis=0)
        return moments
    return x.mean(0, dtype=np.float64), x.var(0, dtype=np.float64)
