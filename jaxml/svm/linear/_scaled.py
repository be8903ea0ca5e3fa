"""Linear problems over standardized examples: their objectives, gradients and dual bounds."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxml.svm._threads import blas_threads
from jaxml.svm.linear._certificate import balance
from jaxml.svm.linear._coordinates import standardize
from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._problems import LinearProblems, is_squared

# Up to this many entries of the examples, float64 costs little more than float32.
FEW_ENTRIES = 2**23


@dataclass
class Iterate:
    """The current point of all problems.

    Attributes:
      theta: `[problems, features + 1]`: weights and intercepts in standardized coordinates.
      decision: `[problems, examples]`: decision values.
      multipliers: `[problems, examples]`.
      penalty: `[problems]`: sigma of the augmented Lagrangian.
    """

    theta: np.ndarray
    decision: np.ndarray
    multipliers: np.ndarray
    penalty: np.ndarray


class Evaluation(NamedTuple):
    """Gradients `[k, features + 1]` and objectives `[k]` of the k problems `indices`.

    `dual` `[k, examples]` are feasible dual variables of the bound `dual_value`, and `slope` are
    the curvatures of `jaxml.svm.linear._problems.DualUpdate`.
    """

    indices: np.ndarray
    gradient: np.ndarray
    primal: np.ndarray
    dual_value: np.ndarray
    dual: np.ndarray
    slope: list[np.ndarray]

    def select(self, indices: np.ndarray) -> "Evaluation":
        """Selects some of the problems."""
        if len(indices) == len(self.indices):
            return self
        place = np.searchsorted(self.indices, indices)
        gradient, primal, dual_value, dual = (array[place] for array in self[1:5])
        slope = [self.slope[j] for j in place]
        return Evaluation(indices, gradient, primal, dual_value, dual, slope)


class ScaledProblems:
    """Problems over standardized examples, with products in one dtype."""

    def __init__(self, problems: LinearProblems, examples: Examples, loss: str, dtype: Any) -> None:
        self.problems, self.loss, self.dtype = problems, loss, dtype
        self.losses = problems.losses(loss)
        self.examples, self.coordinates = standardize(examples)
        # The regularizer: a diagonal, plus rho times the square of the original intercept.
        rho = problems.intercept_penalty
        self.diagonal = np.append(1 / np.square(self.coordinates.scale), 0.0)
        self.rho = np.where(np.isfinite(rho), rho, 0)
        self.along = self.coordinates.intercept_direction
        # A free intercept has no curvature; one example's worth keeps its steps short.
        one = np.maximum((2 if is_squared(loss) else 1) * problems.cost.max(1), 1e-300)
        if self.coordinates.is_shifted:
            self.corner = np.where(rho > 0, 1e-8 * np.minimum(rho, one), one)
        else:
            self.corner = np.where(rho > 0, np.minimum(rho, 1e200), one)

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
        dual = np.stack([update.dual for update in updates])
        sums, total = self.weighted_sums(dual), dual.sum(1)
        gradient = np.concatenate([-sums, -total[:, None]], axis=1)
        primal = np.empty(len(index))
        for j, k in enumerate(index):
            regularizer = self.regularizer_gradient(k, at.theta[k])
            gradient[j] += regularizer
            primal[j] = self.losses[k].primal(at.decision[k]) + regularizer @ at.theta[k] / 2
        dual, value = self._dual_bound(index, dual, (sums, total))
        return Evaluation(index, gradient, primal, value, dual, [each.slope for each in updates])

    def evaluate_ahead(self, now: Evaluation, change: np.ndarray) -> Evaluation:
        """Evaluates the dual after a Newton step that changes the decision values.

        At high costs these dual variables keep digits that the residuals have lost.
        """
        ahead = now.dual - np.stack(now.slope) * change
        dual, value = self._dual_bound(now.indices, ahead, None)
        return now._replace(dual=dual, dual_value=value, primal=np.full(len(value), np.inf))

    def _dual_bound(
        self, index: np.ndarray, dual: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Makes dual variables feasible and evaluates the dual objective.

        Args:
          index: The problems.
          dual: `[len(index), examples]`.
          known: Sums of the examples weighted by `dual`, and of `dual`, if it is within its bounds.
        """
        rho = self.problems.intercept_penalty[index]
        dual = dual.copy()
        for j, k in enumerate(index):
            low, high = self.losses[k].bounds()
            if rho[j] == 0:
                dual[j] = balance(dual[j], low, high)
            elif known is None:
                np.clip(dual[j], low, high, out=dual[j])
        changed = np.flatnonzero(rho == 0) if known is not None else np.arange(len(index))
        shape = (len(index), self.examples.num_features)
        sums, total = known or (np.empty(shape), np.empty(len(index)))
        if len(changed):
            sums, total = sums.copy(), total.copy()
            sums[changed], total[changed] = self.weighted_sums(dual[changed]), dual[changed].sum(1)
        norm = np.square(self.coordinates.original_sums(sums, total)).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            norm += np.where(rho > 0, np.square(total) / rho, 0)
        value = [self.losses[k].dual(row) for k, row in zip(index, dual, strict=True)]
        return dual, np.array(value) - norm / 2
