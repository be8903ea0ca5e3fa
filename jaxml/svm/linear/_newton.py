r"""Newton's method for linear support vector machines with an L2 penalty.

The squared losses have second derivatives almost everywhere, so Newton's method with an exact line
search ends after a finite number of steps. The other losses are minimized by the augmented
Lagrangian method, as a sequence of such problems (see `jaxml.svm.linear._problems`).

Vectors are float64. Products with large dense examples are float32 as long as the duality gap
decreases, and float64 from there on.

Source: Keerthi and DeCoste, "A modified finite Newton method", 2005; Yan and Li, "An efficient
augmented Lagrangian method for support vector machine", 2022.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxml.svm._threads import blas_threads
from jaxml.svm.linear._examples import Examples, SparseExamples, StreamedExamples
from jaxml.svm.linear._newton_system import NewtonSystem, is_direct
from jaxml.svm.linear._problems import LinearProblems, is_classification, is_squared
from jaxml.svm.linear._scaled import FEW_ENTRIES, Evaluation, Iterate, ScaledProblems
from jaxml.svm.linear._solution import Limits, LinearProgress, LinearSolution, LinearState, Stall
from jaxml.svm.linear._span import is_spanned, solve_span

# From this many examples on, the solver starts from the solution for a subsample.
_MIN_SUBSAMPLED = 8192
# Steps without progress after which the dual is also evaluated ahead of each step.
_CAREFUL_AFTER = 3


def solve_l2(
    problems: LinearProblems,
    examples: Examples,
    loss: str,
    start: LinearState | None,
    limits: Limits,
    *,
    precise: bool = False,
) -> LinearSolution:
    """Implements `jaxml.svm.linear.solve` for L2 penalties."""
    interrupted, steps, found = False, 0, None
    if (
        start is None
        and isinstance(examples, SparseExamples)
        and is_spanned(problems, examples, loss)
    ):
        intercept = np.zeros(len(problems.target))
        if is_classification(loss):
            intercept = _majority_intercept(problems, loss)
        with blas_threads(1):
            found = solve_span(problems, examples, loss, limits, intercept)
        if found.converged or found.interrupted or found.progress.steps >= limits.max_steps:
            return found
        start, steps = found.state, found.progress.steps
    if start is None:
        start, interrupted = _initial_state(problems, examples, loss)
    if interrupted:
        limits = limits._replace(max_steps=0)
    for dtype in _dtypes(examples)[-1 if precise else 0 :]:
        precision = jax.enable_x64(True) if dtype == np.float64 else nullcontext()
        # BLAS threads wait for each other longer than products of short vectors take.
        with precision, blas_threads(1):
            found = _Newton(problems, examples, loss, dtype).run(start, limits, steps)
        start, steps = found.state, found.progress.steps
        if found.converged or found.interrupted or steps >= limits.max_steps:
            break
    assert found is not None
    return replace(found, interrupted=interrupted or found.interrupted)


def _dtypes(examples: Examples) -> list[Any]:
    """The dtypes of products, in the order in which they are tried."""
    few = examples.num_examples * examples.num_features <= FEW_ENTRIES
    if few and jax.default_backend() == "cpu":
        return [np.float64]
    if isinstance(examples, SparseExamples) and (examples.on_host or is_direct(examples)):
        return [np.float64]
    return [np.float32, np.float64]


def _initial_state(
    problems: LinearProblems, examples: Examples, loss: str
) -> tuple[LinearState, bool]:
    """Zeros, or a rough solution for a subsample, and whether that was interrupted."""
    count, num_examples = problems.target.shape
    weights, intercept = np.zeros((count, examples.num_features)), np.zeros(count)
    interrupted = False
    if num_examples >= _MIN_SUBSAMPLED and not isinstance(examples, StreamedExamples):
        index = np.sort(np.random.default_rng(0).permutation(num_examples)[: num_examples // 8])
        # A subsample is too easily separable at the full C, so C is reduced.
        target, cost = problems.target[:, index], 0.1 * problems.cost[:, index]
        part = problems._replace(target=target, cost=cost)
        rough = solve_l2(part, examples.subset(index), loss, None, Limits(0.1, max_steps=30))
        (weights, intercept, *_), interrupted = rough.state, rough.interrupted
    elif is_classification(loss) and isinstance(examples, SparseExamples):
        intercept = _majority_intercept(problems, loss)
    penalty = 0.5 * _penalty_unit(problems, loss)
    return LinearState(weights, intercept, np.zeros(problems.target.shape), penalty), interrupted


def _majority_intercept(problems: LinearProblems, loss: str) -> np.ndarray:
    """An intercept that predicts the larger class, where that is better than 0.

    At that intercept the examples of the larger class lie on the margin, so that the first steps
    of sparse problems involve those of the smaller class only.
    """
    positive = (problems.cost * (problems.target > 0)).sum(1)
    negative = (problems.cost * (problems.target < 0)).sum(1)
    growth = 4.0 if is_squared(loss) else 2.0  # the loss at the margin of the other class
    value = growth * np.minimum(positive, negative) + problems.intercept_penalty / 2
    larger = np.where(positive > negative, 1.0, -1.0)
    return np.where(value < positive + negative, larger, 0.0)


def _penalty_unit(problems: LinearProblems, loss: str) -> np.ndarray:
    """The penalty `[problems]` at which a typical residual takes beta to its bound."""
    cost = problems.cost.max(1)
    typical = np.ones(len(cost))
    if not is_classification(loss):
        used = problems.cost > 0
        number = np.maximum(used.sum(1), 1)
        mean = (problems.target * used).sum(1) / number
        typical = (np.abs(problems.target - mean[:, None]) * used).sum(1) / number
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = cost / typical
    return np.where(np.isfinite(unit) & (unit > 0), unit, 1)


@dataclass
class _Best:
    """The best primal and the best dual point of each problem so far."""

    theta: np.ndarray
    dual: np.ndarray
    primal: np.ndarray
    dual_value: np.ndarray

    def update(self, now: Evaluation, theta: np.ndarray) -> None:
        """Replaces the points that the evaluation improves upon."""
        better = now.primal < self.primal[now.indices]
        k = now.indices[better]
        self.theta[k], self.primal[k] = theta[k], now.primal[better]
        better = now.dual_value > self.dual_value[now.indices]
        k = now.indices[better]
        self.dual[k], self.dual_value[k] = now.dual[better], now.dual_value[better]

    def progress(self, steps: int) -> LinearProgress:
        """Returns a copy of the objectives."""
        return LinearProgress(steps, self.primal.copy(), self.dual_value.copy())


class _Newton:
    """Newton's method in one dtype."""

    def __init__(self, problems: LinearProblems, examples: Examples, loss: str, dtype: Any) -> None:
        self.scaled = ScaledProblems(problems, examples, loss, dtype)
        self.system = NewtonSystem(self.scaled)

    def run(self, state: LinearState, limits: Limits, steps: int) -> LinearSolution:
        """Iterates until convergence, stalling, the step limit or an interruption."""
        scaled, count = self.scaled, len(self.scaled.losses)
        theta = scaled.to_theta(state.weights, state.intercept)
        best = _Best(
            theta.copy(), np.array(state.dual), np.full(count, np.inf), np.full(count, -np.inf)
        )
        progress = best.progress(steps)
        stall = Stall(100 if scaled.dtype == np.float64 else 20)
        unsolved, penalty, interrupted = np.arange(count), np.array(state.penalty), False
        try:
            at = Iterate(theta, scaled.decisions(theta), np.array(state.dual), penalty)
            while True:
                now = scaled.evaluate(unsolved, at)
                best.update(now, theta)
                progress = best.progress(steps)
                limits.notify(progress, best.dual)
                unsolved = np.flatnonzero(~limits.solved(progress))
                if not len(unsolved) or steps >= limits.max_steps or stall.update(progress):
                    break
                now = now.select(unsolved)
                if not is_squared(scaled.loss):
                    now = self._update_multipliers(now, at, progress)
                self._step(now, at, best if stall.waited >= _CAREFUL_AFTER else None)
                steps += 1
        except KeyboardInterrupt:
            interrupted = True
        weights, intercept = scaled.from_theta(best.theta)
        intercept = np.where(np.isinf(scaled.problems.intercept_penalty), 0, intercept)
        end = LinearState(weights, intercept, best.dual, penalty)
        progress = replace(progress, steps=steps)
        return LinearSolution(end, progress, bool(limits.solved(progress).all()), interrupted)

    def _step(self, now: Evaluation, at: Iterate, best: _Best | None) -> None:
        """Moves each problem to the minimum along its Newton direction."""
        scaled = self.scaled
        direction = self.system.direction(now, at.penalty)
        change = scaled.decisions(direction)
        if best is not None:
            best.update(scaled.evaluate_ahead(now, change), at.theta)
        for j, k in enumerate(now.indices):
            gradient = scaled.regularizer_gradient(k, direction[j])
            step = scaled.losses[k].line_search(
                at.decision[k], change[j], at.multipliers[k], at.penalty[k],
                float(gradient @ at.theta[k]), float(gradient @ direction[j]),
            )  # fmt: skip
            at.theta[k] += step * direction[j]
            at.decision[k] += step * change[j]

    def _update_multipliers(
        self, now: Evaluation, at: Iterate, progress: LinearProgress
    ) -> Evaluation:
        """Updates the multipliers of problems whose inner problem is solved well enough."""
        scaled = self.scaled
        left = scaled.original_sums(now.gradient[:, :-1], now.gradient[:, -1])
        slack = np.square(left).sum(1) / 2
        gap = progress.primal - progress.dual
        index = now.indices[~(slack > 0.1 * gap[now.indices])]
        if not len(index):
            return now
        for k in index:
            at.multipliers[k], _ = scaled.losses[k].update_dual(
                at.decision[k], at.multipliers[k], at.penalty[k]
            )
        most = 500 if scaled.dtype == np.float32 else 1e5  # beyond, the curvature loses its digits
        limit = most * _penalty_unit(scaled.problems, scaled.loss)[index]
        penalty = at.penalty[index]
        at.penalty[index] = np.minimum(3 * penalty, np.maximum(limit, penalty))
        return scaled.evaluate(now.indices, at)
