"""Features brought to one range, and the files in which svm-scale keeps the ranges."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from jaxml.errors import InputError
from jaxml.io import atomic
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

    def resized(self, num_features: int) -> "Scaling":
        """With fewer features, or more, which become 0."""
        low, high = np.zeros((2, num_features))
        low[: len(self.low)] = self.low[:num_features]
        high[: len(self.high)] = self.high[:num_features]
        return replace(self, low=low, high=high)

    def write(self, path: Path, *, zero_based: bool = False) -> None:
        """Writes what `svm-scale -r` reads, at once.

        Args:
          path: the file.
          zero_based: whether the first feature gets the index 0 or 1.

        Raises:
          InputError: the file cannot be written; what was there before is left.
        """
        kept = np.flatnonzero(self.low != self.high)
        rows = zip(
            kept + (not zero_based),
            shortest(self.low[kept]),
            shortest(self.high[kept]),
            strict=True,
        )
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
        mean, deviation = _moments(x)
        return Scaling(-1.0, 1.0, mean - deviation, mean + deviation)
    low, high = _extremes(x)
    if scale == "min_max":
        return Scaling(0.0, 1.0, low, high)
    if scale == "max_abs":
        most = np.maximum(np.abs(low), np.abs(high))
        return Scaling(-1.0, 1.0, -most, most)
    raise InputError(f"scale: {scale!r} is not one of {', '.join(SCALES)}")


def read_scaling(path: Path, *, zero_based: bool = False) -> Scaling:
    """Reads a file of svm-scale's ranges.

    Args:
      path: the file.
      zero_based: whether the first feature has the index 0 or 1.

    Returns:
      The scaling of as many features as the largest index needs; those that the file lacks
      become 0.

    Raises:
      InputError: the file cannot be read or is no such file.
    """
    try:
        text = path.read_text()
        if text and not text.endswith("\n"):
            raise InputError(f"{path}: is cut short, its last line has no line break")
        head, bounds, *rows = text.splitlines()
        lower, upper = (float(word) for word in bounds.split())
        ends: dict[int, list[float]] = {}
        for row in rows:
            index, *words = row.split()
            least, most = map(float, words)
            feature = int(index) - (not zero_based)
            if not 0 <= feature < LARGEST // 16:
                raise ValueError(f"no feature {index}")
            ends[feature] = [least, most]
        low, high = np.zeros((2, max(ends, default=-1) + 1))
        low[list(ends)], high[list(ends)] = np.array(list(ends.values())).reshape(-1, 2).T
        if head != "x" or not np.isfinite([lower, upper, *low, *high]).all():
            raise ValueError(head)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise InputError(
            f"{path}: is no file of ranges of features as svm-scale writes it"
        ) from None
    return Scaling(lower, upper, low, high)


def _extremes(x: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = x.min(axis=0), x.max(axis=0)
    if sparse.issparse(x):
        low, high = (extreme.toarray().reshape(-1) for extreme in (low, high))
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def _moments(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation, which is 0 where it would be one of rounding only."""
    if sparse.issparse(x):
        moments: Any = mean_variance_axis(sparse.csr_matrix(x, dtype=np.float64), axis=0)
        mean, variance = moments
    else:
        mean, variance = x.mean(0, dtype=np.float64), x.var(0, dtype=np.float64)
    low, high = _extremes(x)  # whose difference a sum of many rows may exceed by rounding
    deviation = np.minimum(np.sqrt(np.maximum(variance, 0)), high - low)
    least = 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(deviation > least, deviation, 0.0)
