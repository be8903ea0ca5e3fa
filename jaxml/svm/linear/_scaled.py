r"""Linear problems over standardized examples: their objectives, gradients and dual bounds.

With examples $\tilde x = (x - m) / \sigma$, the same decision function has weights $\tilde w$ and
an intercept $\tilde b$ such that

.. math:: w = \tilde w / \sigma, \quad b = \tilde b - m^\top w = v^\top (\tilde w, \tilde b),

so the regularizer is $\tfrac12 \|\tilde w / \sigma\|^2 + \tfrac{\rho}{2} (v^\top (\tilde w, \tilde
b))^2$, a diagonal plus a rank-one term. Sums of squares of centred examples keep digits that are
lost far from the origin. Points are `theta` = (weights, intercept), `[problems, features + 1]`.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxml.svm._threads import blas_threads
from jaxml.svm.linear._examples import Examples, SparseExamples
from jaxml.svm.linear._problems import LinearProblems, is_squared

# Up to this many entries of the examples, float64 costs little more than float32.
FEW_ENTRIES = 2**23
# Features are standardized beyond these ratios of mean to deviation, and of two deviations.
_MAX_DISTANCE, _MAX_SCALE_RATIO = 8.0, 1e6
# Examples from which the means and the deviations are estimated.
_SAMPLE = 4096


@dataclass
class Iterate:
    """The current point of all problems."""

    theta: np.ndarray  # `[problems, features + 1]`
    decision: np.ndarray  # `[problems, examples]`: decision values
    multipliers: np.ndarray  # `[problems, examples]`
    penalty: np.ndarray  # `[problems]`: sigma of the augmented Lagrangian


class Evaluation(NamedTuple):
    """Gradients and objectives of the k problems `indices`."""

    indices: np.ndarray  # `[k]`
    gradient: np.ndarray  # `[k, features + 1]`
    primal: np.ndarray  # `[k]`
    dual_value: np.ndarray  # `[k]`: the dual objectives of `dual`
    dual: np.ndarray  # `[k, examples]`: feasible dual variables
    slope: np.ndarray  # `[k, examples]`: the curvatures of `Loss.update_dual`

    def select(self, indices: np.ndarray) -> "Evaluation":
        """Selects some of the problems."""
        if len(indices) == len(self.indices):
            return self
        place = np.searchsorted(self.indices, indices)
        return Evaluation(*(array[place] for array in self))


class ScaledProblems:
    """Problems over standardized examples, with products in one dtype."""

    def __init__(self, problems: LinearProblems, examples: Examples, loss: str, dtype: Any) -> None:
        self.problems, self.loss, self.dtype = problems, loss, dtype
        self.losses = problems.losses(loss)
        self.examples, self.shift, self.scale = _standardize(examples)
        self.is_shifted = bool(self.shift.any())
        # The regularizer: a diagonal, plus rho times the square of the original intercept v theta.
        rho = problems.intercept_penalty
        self.diagonal = np.append(1 / np.square(self.scale), 0.0)
        self.rho = np.where(np.isfinite(rho), rho, 0)
        self.along = np.append(-self.shift / self.scale, 1.0)
        # A free intercept has no curvature; one example's worth keeps its steps short.
        one = np.maximum((2 if is_squared(loss) else 1) * problems.cost.max(1), 1e-300)
        if self.is_shifted:
            self.corner = np.where(rho > 0, 1e-8 * np.minimum(rho, one), one)
        else:
            self.corner = np.where(rho > 0, np.minimum(rho, 1e200), one)

    def to_theta(self, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Converts original weights and intercepts to theta."""
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

    def decisions(self, theta: np.ndarray) -> np.ndarray:
        """`[problems, examples]`: the decision values."""
        with self.blas():
            products = self.examples.products(theta[:, :-1].astype(self.dtype))
        return np.ascontiguousarray(products, np.float64) + theta[:, -1:]

    def weighted_sums(self, dual: np.ndarray) -> np.ndarray:
        """`[problems, features]`: the examples weighted by dual variables."""
        with self.blas():
            return self.examples.weighted_sums(dual.astype(self.dtype)).astype(np.float64)

    def blas(self) -> AbstractContextManager[Any]:
        """Enables all BLAS threads for products with many examples."""
        is_large = self.examples.num_examples * self.examples.num_features > FEW_ENTRIES
        return blas_threads(None) if is_large else nullcontext()

    def regularizer_gradient(self, k: Any, theta: np.ndarray) -> np.ndarray:
        """`[features + 1]` for problem k."""
        return self.diagonal * theta + self.rho[k] * (self.along @ theta) * self.along

    def evaluate(self, index: np.ndarray, at: Iterate) -> Evaluation:
        """Evaluates some problems at the current point."""
        updates = [
            self.losses[k].update_dual(at.decision[k], at.multipliers[k], at.penalty[k])
            for k in index
        ]
        dual, slope = (np.stack(arrays) for arrays in zip(*updates, strict=True))
        sums, total = self.weighted_sums(dual), dual.sum(1)
        gradient = np.concatenate([-sums, -total[:, None]], axis=1)
        primal = np.empty(len(index))
        for j, k in enumerate(index):
            regularizer = self.regularizer_gradient(k, at.theta[k])
            gradient[j] += regularizer
            primal[j] = self.losses[k].primal(at.decision[k]) + regularizer @ at.theta[k] / 2
        dual, value = self._dual_bound(index, dual, (sums, total))
        return Evaluation(index, gradient, primal, value, dual, slope)

    def evaluate_ahead(self, now: Evaluation, change: np.ndarray) -> Evaluation:
        """Evaluates the dual after a Newton step that changes the decision values.

        At high costs these dual variables keep digits that the residuals have lost.
        """
        dual, value = self._dual_bound(now.indices, now.dual - now.slope * change, None)
        return now._replace(dual=dual, dual_value=value, primal=np.full(len(value), np.inf))

    def _dual_bound(
        self, index: np.ndarray, dual: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Makes dual variables `[len(index), examples]` feasible and evaluates the dual objective.

        `known` are sums of the examples weighted by the variables, and of the variables, if these
        are within their bounds.
        """
        rho = self.problems.intercept_penalty[index]
        is_free, dual = rho == 0, dual.copy()
        changed = np.flatnonzero(is_free) if known is not None else np.arange(len(index))
        for j in changed:
            dual[j] = self.losses[index[j]].feasible(dual[j], is_balanced=bool(is_free[j]))
        shape = (len(index), self.examples.num_features)
        sums, total = known or (np.empty(shape), np.empty(len(index)))
        if len(changed):
            sums, total = sums.copy(), total.copy()
            sums[changed], total[changed] = self.weighted_sums(dual[changed]), dual[changed].sum(1)
        norm = np.square(self.original_sums(sums, total)).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            norm += np.where(rho > 0, np.square(total) / rho, 0)
        value = [self.losses[k].dual(row) for k, row in zip(index, dual, strict=True)]
        return dual, np.array(value) - norm / 2


def _standardize(examples: Examples) -> tuple[Examples, np.ndarray, np.ndarray]:
    """Standardizes dense features if some are far from 0 or of very different scales.

    Returns:
      The examples, and the shift m and the scale sigma of their features.
    """
    zero, one = np.zeros(examples.num_features), np.ones(examples.num_features)
    if isinstance(examples, SparseExamples):
        return examples, zero, one
    index = np.unique(np.linspace(0, examples.num_examples - 1, _SAMPLE).astype(int))
    x = examples.x[index if examples.num_examples > _SAMPLE else slice(None)]
    sample = np.asarray(x, np.float64)
    shift, scale = sample.mean(0), sample.std(0)
    constant = scale <= 1e-14 * np.abs(shift)
    shift = np.where(constant, sample[0], shift)
    known = scale[~constant]
    near = (np.abs(shift) <= _MAX_DISTANCE * np.where(constant, 1, scale)).all()
    alike = not len(known) or (
        known.max() <= _MAX_SCALE_RATIO * known.min() and 1e-9 < known.max() < 1e9
    )
    if near and alike:
        return examples, zero, one
    scale = np.where(constant, 1.0, scale)
    return examples.standardized(shift, scale), shift, scale
