r"""Newton's method for linear support vector machines with an L2 penalty.

The squared losses have second derivatives almost everywhere, so Newton's method with an exact line
search ends after a finite number of steps. The other losses are minimized by the augmented
Lagrangian method, as a sequence of such problems (see `jaxml.svm.linear._problems`).

Vectors are float64. Products with large dense examples are float32 as long as the duality gap
decreases, and float64 from there on.

Source: Keerthi and DeCoste, "A modified finite Newton method", 2005; Yan and Li, "An efficient
augmented Lagrangian method for support vector machine", 2022.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxml.svm._threads import blas_threads
from jaxml.svm.linear._dense import StreamedExamples
from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._newton_system import NewtonSystem, is_direct
from jaxml.svm.linear._problems import LinearProblems, is_squared
from jaxml.svm.linear._scaled import FEW_ENTRIES, Evaluation, Iterate, ScaledProblems
from jaxml.svm.linear._solution import LinearProgress, LinearSolution, LinearState, Stall
from jaxml.svm.linear._sparse import SparseExamples
from jaxml.svm.linear._start import penalty_unit, state_at, subsample, zero_state

# From this many examples on, the solver starts from the solution for a subsample.
_MIN_SUBSAMPLED = 8192
# Steps without progress after which the dual is also evaluated ahead of each step.
_CAREFUL_AFTER = 3

Report = Callable[[LinearProgress], None]


def solve_l2(
    problems: LinearProblems,
    examples: Examples,
    *,
    loss: str,
    start: LinearState | None,
    tolerance: float,
    max_steps: int,
    report: Report | None,
    precise: bool,
) -> LinearSolution:
    """Implements `jaxml.svm.linear.solve` for L2 penalties."""
    problems, interrupted = problems.to_float64(), False
    if start is None:
        start, interrupted = _initial_state(problems, examples, loss)
    if interrupted:
        max_steps = 0
    steps, found = 0, None
    for dtype in _dtypes(examples)[-1 if precise else 0 :]:
        precision = jax.enable_x64(True) if dtype == np.float64 else nullcontext()
        # BLAS threads wait for each other longer than products of short vectors take.
        with precision, blas_threads(1):
            newton = _Newton(problems, examples, loss, dtype)
            found = newton.run(start, tolerance, max_steps, report, steps)
        start, steps = found.state, found.progress.steps
        if found.converged or found.interrupted or steps >= max_steps:
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
    if isinstance(examples, StreamedExamples) or examples.num_examples < _MIN_SUBSAMPLED:
        return zero_state(problems, examples, loss), False
    part, index = subsample(problems, examples.num_examples)
    rough = solve_l2(
        part, examples.subset(index), loss=loss, start=None, tolerance=0.1, max_steps=30,
        report=None, precise=False,
    )  # fmt: skip
    state = state_at(problems, rough.state.weights, rough.state.intercept, loss)
    return state, rough.interrupted


class _Newton:
    """Newton's method in one dtype."""

    def __init__(self, problems: LinearProblems, examples: Examples, loss: str, dtype: Any) -> None:
        self.scaled = ScaledProblems(problems, examples, loss, dtype)
        self.system = NewtonSystem(self.scaled)

    def run(
        self,
        state: LinearState,
        tolerance: float,
        max_steps: int,
        report: Report | None,
        steps: int = 0,
    ) -> LinearSolution:
        """Iterates until convergence, stalling, the step limit or an interruption."""
        scaled, count = self.scaled, len(self.scaled.losses)
        theta = scaled.coordinates.to_theta(state.weights, state.intercept)
        best = _Best(
            theta.copy(), np.array(state.dual), np.full(count, np.inf), np.full(count, -np.inf)
        )
        progress = LinearProgress(steps, best.primal.copy(), best.dual_value.copy())
        stall = Stall(100 if scaled.dtype == np.float64 else 20)
        unsolved, penalty, interrupted = np.arange(count), np.array(state.penalty), False
        try:
            at = Iterate(theta, scaled.decisions(theta), np.array(state.dual), penalty)
            while True:
                now = scaled.evaluate(unsolved, at)
                best.update(now, theta)
                progress = replace(progress, primal=best.primal.copy(), dual=best.dual_value.copy())
                if report:
                    report(progress.with_support(best.dual))
                unsolved = np.flatnonzero(~(progress.relative_gap <= tolerance))
                if not len(unsolved) or progress.steps >= max_steps or stall.update(progress):
                    break
                now = now.select(unsolved)
                if not is_squared(scaled.loss):
                    now = self._update_multipliers(now, at, progress)
                self._step(now, at, best if stall.waited >= _CAREFUL_AFTER else None)
                progress = replace(progress, steps=progress.steps + 1)
        except KeyboardInterrupt:
            interrupted = True
        weights, intercept = scaled.coordinates.from_theta(best.theta)
        intercept = np.where(np.isinf(scaled.problems.intercept_penalty), 0, intercept)
        end = LinearState(weights, intercept, best.dual, penalty)
        converged = bool((progress.relative_gap <= tolerance).all())
        return LinearSolution(end, progress, converged, interrupted)

    def _step(self, now: Evaluation, at: Iterate, best: "_Best | None") -> None:
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
        left = scaled.coordinates.original_sums(now.gradient[:, :-1], now.gradient[:, -1])
        slack = np.square(left).sum(1) / 2
        gap = progress.primal - progress.dual
        ready = np.flatnonzero(~(slack > 0.1 * gap[now.indices]))
        if not len(ready):
            return now
        index = now.indices[ready]
        for k in index:
            update = scaled.losses[k].update_dual(at.decision[k], at.multipliers[k], at.penalty[k])
            at.multipliers[k] = update.dual
        most = 500 if scaled.dtype == np.float32 else 1e5  # beyond, the curvature loses its digits
        limit = most * penalty_unit(scaled.problems, scaled.loss)[index]
        penalty = at.penalty[index]
        at.penalty[index] = np.minimum(3 * penalty, np.maximum(limit, penalty))
        return scaled.evaluate(now.indices, at)


@dataclass
class _Best:
    """The best primal and the best dual point of each problem so far."""

    theta: np.ndarray
    dual: np.ndarray
    primal: np.ndarray
    dual_value: np.ndarray

    def update(self, now: Evaluation, theta: np.ndarray) -> None:
        """Replaces the points that the evaluation improves upon."""
        for j in np.flatnonzero(now.primal < self.primal[now.indices]):
            k = now.indices[j]
            self.theta[k], self.primal[k] = theta[k], now.primal[j]
        for j in np.flatnonzero(now.dual_value > self.dual_value[now.indices]):
            k = now.indices[j]
            self.dual[k], self.dual_value[k] = now.dual[j], now.dual_value[j]
