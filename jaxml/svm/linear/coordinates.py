r"""Coordinates of the weights in which the features are centred and of similar scale.

With examples $\tilde x = (x - m) / \sigma$ the same function has the weights $\tilde w$ and the
intercept $\tilde b$, where

.. math:: w = \tilde w / \sigma, \quad b = \tilde b - m^\top w = v^\top (\tilde w, \tilde b)

so the penalty of the posed problem is $\tfrac12 \|\tilde w / \sigma\|^2 + \tfrac{\rho}{2}
(v^\top (\tilde w, \tilde b))^2$: a diagonal and one direction. Sums of squares of centred examples
keep digits that those of distant ones lose.
"""

from dataclasses import dataclass

import numpy as np

from jaxml.svm.linear.rows import Rows, SparseRows, sample

# Features are left as they are up to this ratio of mean and deviation, and of two deviations.
FAR, UNLIKE = 8.0, 1e6


@dataclass(frozen=True)
class Coordinates:
    """A shift and a scale of the features, `[features]` each in float64."""

    shift: np.ndarray
    scale: np.ndarray

    @property
    def shifted(self) -> bool:
        """Whether the intercept is another one than that of the posed problem."""
        return bool(self.shift.any())

    @property
    def direction(self) -> np.ndarray:
        """`[features + 1]`: v, whose product with weights and intercept is the posed intercept."""
        return np.append(-self.shift / self.scale, 1.0)

    def enter(self, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """`[problems, features + 1]` from posed weights and intercepts."""
        weights, intercept = np.asarray(weights, np.float64), np.asarray(intercept, np.float64)
        own = intercept + weights @ self.shift
        return np.concatenate([weights * self.scale, own[:, None]], axis=1)

    def leave(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The posed weights `[problems, features]` and intercepts `[problems]`."""
        weights = theta[:, :-1] / self.scale
        return weights, theta[:, -1] - weights @ self.shift

    def sums(self, sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Sums of posed examples, from those of centred ones and of their coefficients."""
        if not self.shifted:
            return sums if (self.scale == 1).all() else sums * self.scale
        return sums * self.scale + total[:, None] * self.shift


def standardize(rows: Rows) -> tuple[Rows, Coordinates]:
    """Centres and scales dense features, where some are far from 0 or of another scale."""
    same = Coordinates(np.zeros(rows.num_features), np.ones(rows.num_features))
    if isinstance(rows, SparseRows):
        return rows, same
    some = sample(rows)
    shift, scale = some.mean(0), some.std(0)
    constant = scale <= 1e-14 * np.abs(shift)
    shift = np.where(constant, some[0], shift)
    known = scale[~constant]
    near = (np.abs(shift) <= FAR * np.where(constant, 1, scale)).all()
    alike = not len(known) or (known.max() <= UNLIKE * known.min() and 1e-9 < known.max() < 1e9)
    if near and alike:
        return rows, same
    found = Coordinates(shift, np.where(constant, 1.0, scale))
    return rows.standardized(found.shift, found.scale), found
