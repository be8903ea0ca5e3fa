r"""Standardization of the features, with the objective of the original problem.

With examples $\tilde x = (x - m) / \sigma$, the same decision function has weights $\tilde w$ and
an intercept $\tilde b$ such that

.. math:: w = \tilde w / \sigma, \quad b = \tilde b - m^\top w = v^\top (\tilde w, \tilde b),

so the regularizer is $\tfrac12 \|\tilde w / \sigma\|^2 + \tfrac{\rho}{2} (v^\top (\tilde w, \tilde
b))^2$, a diagonal plus a rank-one term. Sums of squares of centred examples keep digits that are
lost far from the origin.
"""

from dataclasses import dataclass

import numpy as np

from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._sparse import SparseExamples

# Features are standardized beyond these ratios of mean to deviation, and of two deviations.
_MAX_DISTANCE, _MAX_SCALE_RATIO = 8.0, 1e6
# Examples from which the means and the deviations are estimated.
_SAMPLE = 4096


@dataclass(frozen=True)
class Coordinates:
    """The shift m and the scale sigma of the features, `[features]` float64 each.

    Points are `theta = (weights, intercept)` `[problems, features + 1]` of standardized examples.
    """

    shift: np.ndarray
    scale: np.ndarray

    @property
    def is_shifted(self) -> bool:
        """Returns whether the intercept differs from that of the original problem."""
        return bool(self.shift.any())

    @property
    def intercept_direction(self) -> np.ndarray:
        """`[features + 1]`: v, whose product with theta is the original intercept."""
        return np.append(-self.shift / self.scale, 1.0)

    def to_theta(self, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Converts original weights and intercepts to theta."""
        weights, intercept = np.asarray(weights, np.float64), np.asarray(intercept, np.float64)
        shifted = intercept + weights @ self.shift
        return np.concatenate([weights * self.scale, shifted[:, None]], axis=1)

    def from_theta(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Converts theta to original weights and intercepts."""
        weights = theta[:, :-1] / self.scale
        return weights, theta[:, -1] - weights @ self.shift

    def original_sums(self, sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Converts weighted sums of standardized examples, with weights of this total."""
        if not self.is_shifted:
            return sums if (self.scale == 1).all() else sums * self.scale
        return sums * self.scale + total[:, None] * self.shift


def standardize(examples: Examples) -> tuple[Examples, Coordinates]:
    """Standardizes dense features if some are far from 0 or of very different scales."""
    identity = Coordinates(np.zeros(examples.num_features), np.ones(examples.num_features))
    if isinstance(examples, SparseExamples):
        return examples, identity
    sample = _sample(examples)
    shift, scale = sample.mean(0), sample.std(0)
    constant = scale <= 1e-14 * np.abs(shift)
    shift = np.where(constant, sample[0], shift)
    known = scale[~constant]
    near = (np.abs(shift) <= _MAX_DISTANCE * np.where(constant, 1, scale)).all()
    alike = not len(known) or (
        known.max() <= _MAX_SCALE_RATIO * known.min() and 1e-9 < known.max() < 1e9
    )
    if near and alike:
        return examples, identity
    found = Coordinates(shift, np.where(constant, 1.0, scale))
    return examples.standardized(found.shift, found.scale), found


def _sample(examples: Examples) -> np.ndarray:
    """Evenly spaced examples in float64."""
    index = np.unique(np.linspace(0, examples.num_examples - 1, _SAMPLE).astype(int))
    x = examples.x[index if examples.num_examples > _SAMPLE else slice(None)]
    return np.asarray(x, np.float64)
