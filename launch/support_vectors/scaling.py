"""Linear scaling of features, and svm-scale's files of feature ranges."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from jaxml.errors import InputError, choose
from launch.outputs import write_text
from launch.support_vectors.config import SCALES

# Limit of bytes of sparse features that are made dense.
LARGEST = 2**33


@dataclass(frozen=True, eq=False)
class Scaling:
    r"""Maps each feature linearly; constant features, with `a = b`, become 0.

    .. math:: x \mapsto l + (u - l) (x - a) / (b - a)

    Attributes:
      lower: l.
      upper: u.
      low: `[features]` a.
      high: `[features]` b.
    """

    lower: float
    upper: float
    low: np.ndarray
    high: np.ndarray

    def apply(self, x: Any) -> Any:
        """Scales `[n, features]` dense or sparse features to float64.

        The result is dense if zeros do not stay zero, and may then have at most `LARGEST` bytes.
        """
        differs = self.high != self.low
        width = np.where(differs, self.high - self.low, 1.0)
        factor = np.where(differs, (self.upper - self.lower) / width, 0.0)
        # For ranges symmetric about 0, the middle is exact.
        middle = (self.lower + self.upper) / 2
        offset = np.where(self.low == -self.high, middle, self.lower - factor * self.low)
        offset = np.where(differs, offset, 0.0)
        if sparse.issparse(x):
            if not offset.any():
                return sparse.csr_array(x.multiply(factor[None]))
            if 8 * x.shape[0] * x.shape[1] > LARGEST:
                raise InputError(
                    f"--scale must be max_abs for {x.shape[0]} x {x.shape[1]} sparse features, "
                    f"which others make dense"
                )
            x = x.toarray()
        return x * factor + offset

    def resized(self, num_features: int) -> "Scaling":
        """Returns the scaling of fewer features, or of more, which become 0."""
        low, high = np.zeros((2, num_features))
        low[: len(self.low)] = self.low[:num_features]
        high[: len(self.high)] = self.high[:num_features]
        return replace(self, low=low, high=high)

    def write(self, path: Path, *, zero_based: bool = False) -> None:
        """Writes a file for `svm-scale -r`, whose first feature has index 0 or 1."""
        kept = np.flatnonzero(self.low != self.high)
        columns = map(shortest, (self.low[kept], self.high[kept]))
        rows = zip(map(str, kept + (not zero_based)), *columns, strict=True)
        lines = ["x", " ".join(shortest(np.array([self.lower, self.upper]))), *map(" ".join, rows)]
        write_text(path, "\n".join([*lines, ""]))


def shortest(values: np.ndarray) -> list[str]:
    """Formats float64 numbers in the fewest digits that identify them."""
    return [repr(value).removesuffix(".0") for value in values.tolist()]


def fit_scaling(scale: str, x: Any) -> Scaling | None:
    """Fits a scaling to `[n, features]` dense or sparse features.

    "min_max" scales to [0, 1], "standard" to mean 0 and variance 1, "max_abs" to [-1, 1] without an
    offset; for "none" the result is None.

    Example:
      >>> scaling = fit_scaling("min_max", np.array([[1.0, 5.0], [3.0, 5.0]]))
      >>> scaling.apply(np.array([[2.0, 5.0]])).tolist()
      [[0.5, 0.0]]
    """
    choose(dict.fromkeys(SCALES), scale, "--scale")
    if scale == "none":
        return None
    if scale == "standard":
        mean, deviation = _moments(x)
        return Scaling(-1.0, 1.0, mean - deviation, mean + deviation)
    low, high = _extremes(x)
    if scale == "min_max":
        return Scaling(0.0, 1.0, low, high)
    most = np.maximum(np.abs(low), np.abs(high))
    return Scaling(-1.0, 1.0, -most, most)


def read_scaling(path: Path, *, zero_based: bool = False) -> Scaling:
    """Reads a file of svm-scale, whose first feature has index 0 or 1; omitted ones become 0."""
    try:
        text = path.read_text()
        if text and not text.endswith("\n"):
            raise InputError(f"{path}: the file is truncated, its last line has no line break")
        head, bounds, *rows = text.splitlines()
        lower, upper = (float(word) for word in bounds.split())
        table = np.array([row.split() for row in rows], np.float64).reshape(len(rows), 3)
        index = table[:, 0] - (not zero_based)
        if not ((index >= 0) & (index < LARGEST // 16) & (index % 1 == 0)).all():
            raise ValueError(index)
        low, high = np.zeros((2, int(index.max(initial=-1)) + 1))
        low[index.astype(int)], high[index.astype(int)] = table[:, 1:].T
        if head != "x" or not np.isfinite([lower, upper, *low, *high]).all():
            raise ValueError(head)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path}: must be a file of feature ranges from svm-scale") from None
    return Scaling(lower, upper, low, high)


def _extremes(x: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = x.min(axis=0), x.max(axis=0)
    if sparse.issparse(x):
        low, high = (extreme.toarray().reshape(-1) for extreme in (low, high))
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def _moments(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and standard deviations; deviations that are rounding errors become 0."""
    if sparse.issparse(x):
        moments: Any = mean_variance_axis(sparse.csr_matrix(x, dtype=np.float64), axis=0)
        mean, variance = moments
    else:
        mean, variance = x.mean(0, dtype=np.float64), x.var(0, dtype=np.float64)
    low, high = _extremes(x)  # sums over many samples may exceed this range by rounding
    deviation = np.minimum(np.sqrt(np.maximum(variance, 0)), high - low)
    least = 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(deviation > least, deviation, 0.0)
