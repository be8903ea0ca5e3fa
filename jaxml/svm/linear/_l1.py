r"""Linear support vector machines with sparse weights: the L1 penalty and the squared hinge loss.

.. math:: \min_{w, b} \; |w|_1 + \rho |b| + \sum_i c_i \max(0, 1 - t_i (w^\top x_i + b))^2

The proximal Newton method minimizes a quadratic model of the loss plus the penalty by coordinate
descent, for all problems at once, and halves the step until the objective decreases enough.

With many features, each step moves an active set for each problem: the features whose weights are
not 0, and those that violate optimality most. The set is selected at each step from the
gradients of all features, which also decide convergence. The penalty starts large and decreases,
so that few weights are non-zero throughout.

Source: Yuan, Ho and Lin, "An improved GLMNET for L1-regularized logistic regression", 2012.
"""

import jax
import numpy as np

from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._l1_direction import ActiveSet, AllFeatures, ModelPoint
from jaxml.svm.linear._problems import LinearProblems
from jaxml.svm.linear._solution import Limits, LinearProgress, LinearSolution, LinearState, Stall

# Up to this many features, every step moves all of them.
_FEW_FEATURES = 4096
_HALVINGS = 12
# With many features, the penalties start large and are divided by the first factor whenever no
# gradient exceeds them by the second, until they have their final values.
_DECREASE, _SETTLED = 4.0, 2.0
# The penalty of an intercept that is fixed at 0.
_FIXED = 1e12


def solve_l1(
    problems: LinearProblems, examples: Examples, start: LinearState | None, limits: Limits
) -> LinearSolution:
    """Implements `jaxml.svm.linear.solve` for L1 penalties."""
    with jax.enable_x64(True):
        return _ProximalNewton(problems, examples, start).run(limits)


class _ProximalNewton:
    def __init__(
        self, problems: LinearProblems, examples: Examples, start: LinearState | None
    ) -> None:
        self.examples, self.losses = examples, problems.losses("squared_hinge")
        count, few = len(self.losses), examples.num_features <= _FEW_FEATURES
        self.weights = np.zeros((count, examples.num_features + 1))
        if start is not None:
            self.weights[:, :-1], self.weights[:, -1] = start.weights, start.intercept
        self.penalty = np.ones_like(self.weights)
        self.penalty[:, -1] = np.minimum(problems.intercept_penalty, _FIXED)
        self.is_fixed = np.isinf(problems.intercept_penalty)
        self.model = AllFeatures(examples, self.weights) if few else ActiveSet(examples)
        # The factors of the penalties.
        self.factor = np.full(count, 1.0 if few or start is not None else np.inf)
        self.best = start or self.state(np.zeros(problems.cost.shape))

    def state(self, dual: np.ndarray) -> LinearState:
        intercept = np.where(self.is_fixed, 0, self.weights[:, -1])
        return LinearState(self.weights[:, :-1].copy(), intercept, dual, np.ones(len(dual)))

    def run(self, limits: Limits) -> LinearSolution:
        """Iterates until convergence, stalling, the step limit or an interruption."""
        count = len(self.losses)
        progress = LinearProgress(0, np.full(count, np.inf), np.full(count, -np.inf))
        stall, interrupted, steps = Stall(), False, 0
        try:
            decision = self.decisions(self.weights)
            while True:
                dual, slope = self.update_dual(decision)
                sums = np.c_[self.examples.weighted_sums(dual), dual.sum(1)]
                primal, value, feasible = self.objectives(decision, sums, dual)
                if not (np.isfinite(primal).all() and np.isfinite(value).all()):
                    break
                progress = LinearProgress(steps, primal, value)
                self.best = self.state(feasible)
                limits.notify(progress, feasible)
                solved = limits.solved(progress)
                if solved.all() or steps >= limits.max_steps or stall.update(progress):
                    break
                unsolved = ~solved | (self.factor > 1)
                penalty = self.penalty * self.decrease_factor(sums)[:, None]
                self.step(decision, ModelPoint(slope, sums, self.weights, penalty, unsolved))
                steps += 1
        except KeyboardInterrupt:
            interrupted = True
        converged = bool(limits.solved(progress).all())
        return LinearSolution(self.best, progress, converged, interrupted)

    def update_dual(self, decision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes dual variables and their slopes, `[problems, examples]`."""
        rows = zip(self.losses, decision, strict=True)
        updates = [loss.update_dual(row, row, 0.0) for loss, row in rows]  # without multipliers
        dual, slope = (np.stack(arrays) for arrays in zip(*updates, strict=True))
        return dual, slope

    def objectives(
        self, decision: np.ndarray, sums: np.ndarray, dual: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Computes the primal, the dual, and the feasible dual variables of the latter."""
        lost = [loss.primal(row) for loss, row in zip(self.losses, decision, strict=True)]
        primal = np.array(lost) + (self.penalty * np.abs(self.weights)).sum(1)
        # Dual variables are feasible if no weighted sum exceeds the penalty of its weight.
        known = self.penalty > 0
        largest = np.where(known, np.abs(sums) / np.where(known, self.penalty, 1), 0).max(1)
        scaled = dual / np.maximum(largest, 1)[:, None]
        value = [loss.dual(row) for loss, row in zip(self.losses, scaled, strict=True)]
        return primal, np.array(value), scaled

    def decrease_factor(self, sums: np.ndarray) -> np.ndarray:
        """Decreases the factors of the penalties that have been met, and returns all."""
        largest = np.abs(sums[:, :-1]).max(1)
        lower = np.maximum(np.minimum(self.factor, largest) / _DECREASE, 1)
        self.factor = np.where(largest <= _SETTLED * self.factor, lower, self.factor)
        return self.factor

    def decisions(self, weights: np.ndarray) -> np.ndarray:
        """Computes the decision values `[problems, examples]`."""
        return np.ascontiguousarray(self.examples.products(weights[:, :-1])) + weights[:, -1:]

    def step(self, decision: np.ndarray, at: ModelPoint) -> None:
        """Moves the weights and the decision values."""
        direction = self.model.direction(at)
        change = self.decisions(direction)
        for k in range(len(self.losses)):
            step = self.line_search(k, decision[k], change[k], direction[k], at)
            self.weights[k] += step * direction[k]
            decision[k] += step * change[k]

    def line_search(
        self,
        k: int,
        decision: np.ndarray,
        change: np.ndarray,
        direction: np.ndarray,
        at: ModelPoint,
    ) -> float:
        """Returns the largest halved step with a sufficient decrease; 0 if there is none."""
        loss, weights, penalty = self.losses[k], self.weights[k], at.penalty[k]
        size = float(penalty @ np.abs(weights))
        now = loss.primal(decision) + size
        increase = float(penalty @ np.abs(weights + direction)) - size
        expected = increase - float(at.sums[k] @ direction)
        rounding = 8 * np.finfo(np.float64).eps * now  # near the optimum less than this is left
        for step in 0.5 ** np.arange(_HALVINGS):
            value = loss.primal(decision + step * change)
            value += float(penalty @ np.abs(weights + step * direction))
            if value <= now + 0.01 * step * expected + rounding:
                return float(step)
        return 0.0
