"""Dual problems solved to a violation that holds in float64.

Problems whose kernel float32 represents well enough are solved on the device. The scores of the
solution are then recomputed in float64, of those variables for which it can make a difference, and
problems that float32 did not solve continue in float64 on the host. Small problems are solved there
from the beginning, because compilation would take longer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from jaxml.svm._threads import for_each
from jaxml.svm.kernel import host_solver, solver
from jaxml.svm.kernel.host_kernel import HostKernel, Rows, take
from jaxml.svm.kernel.host_problem import HostProblem, host_problem
from jaxml.svm.kernel.solver import DualProblems, Progress
from jaxml.svm.kernels import Kernel

# Seconds of moving pairs on the host that are less than a compilation.
_HOST_SECONDS = 0.5
# Up to so many columns all problems share one kernel matrix on the host.
_SHARED_COLUMNS = 2048
# How much larger than the tolerance the expected error of a score may be for float32 to help.
_HOPELESS = 100.0
# The part of the largest term of a score below which its digits mean nothing.
_NOISE = 1e-13
# How often the unit of the tolerance is taken from a better solution.
_RESCALINGS = 6
# The part of the tolerance that the device solves to, which leaves some for its rounding errors.
_DEVICE_PART = 0.9


@runtime_checkable
class Examples(Protocol):
    """The columns of the kernel matrix."""

    kernel: HostKernel
    rows: Rows
    function: Kernel
    # A bound of the absolute error of the kernel's entries on the device.
    rounding: float

    def on_device(self) -> jax.Array:
        """`[columns, ...]` examples for `function`."""
        ...


@dataclass
class Certified:
    """Solutions of all problems in float64.

    Attributes:
      value: `[problems, sides, columns]`.
      score: `[problems, sides, columns]`: minus the sign times the gradient; 0 without a variable.
      threshold: `[families, problems]`.
      violation: `[problems]`: of the optimality conditions.
      rounds: `[problems]`: working sets solved.
      tolerance: `[problems]`: of the violation.
      gap: `[problems]`: primal minus dual, with the thresholds as the intercepts.
      dual: `[problems]`: the dual objective, to be maximised: a lower bound of the primal.
      noise: `[problems]`: scores that differ by less are equal, up to rounding.
      interrupted: whether the keyboard stopped it.
      steps: pairs that were moved.
    """

    value: np.ndarray
    score: np.ndarray
    threshold: np.ndarray
    violation: np.ndarray
    rounds: np.ndarray
    tolerance: np.ndarray
    gap: np.ndarray
    dual: np.ndarray
    noise: np.ndarray
    interrupted: bool = False
    steps: int = 0

    @property
    def unsolved(self) -> np.ndarray:
        """`[problems]`: which ones violate by more than the tolerance."""
        return ~(self.violation <= self.tolerance)  # NaN is not solved

    @property
    def converged(self) -> bool:
        """Whether no problem violates by more than the tolerance."""
        return not self.unsolved.any()

    @property
    def largest_violation(self) -> float:
        """In the unit of the tolerance that was asked for."""
        return float((self.violation / self.tolerance).max() * self.tolerance.max())


def solve(
    problems: DualProblems,
    examples: Examples,
    starts: np.ndarray,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-3,
    scale: Callable[[np.ndarray], float] | None = None,
    max_rounds: int | None = None,
    memory: float = 2e9,
    report: Callable[[Progress], None] | None = None,
) -> Certified:
    """Solves all problems until none violates by more than the tolerance, in float64.

    Args:
      problems: of one kernel.
      examples: the columns.
      starts: `[groups]`: the first column of each group.
      start: `[problems, sides, columns]` feasible values; None starts at zero.
      tolerance: of the violation, as libsvm's.
      scale: the unit of the tolerance at most 1, as a function of a solution's thresholds
        `[families]`; None for 1.
      max_rounds: after how many rounds it ends unsolved; None for as many as it takes.
      memory: bytes for rows of the kernel on the device.
      report: called after each round.

    Returns:
      The solutions, or how far they came.

    Raises:
      InputError: the memory does not hold one working set.
    """
    if start is None:
        start = np.zeros_like(problems.upper)
    run = _Run(problems, examples, starts, start, tolerance, max_rounds, report)
    if not run.is_for_host():
        run.on_device(memory)
    run.on_host()
    if scale is not None:
        for _ in range(_RESCALINGS):
            if not run.rescale(scale):
                break
            run.on_host()
    return run.found


class _Run:
    """The problems on the host, and where each of them stands."""

    def __init__(
        self,
        problems: DualProblems,
        examples: Examples,
        starts: np.ndarray,
        start: np.ndarray,
        tolerance: float,
        max_rounds: int | None,
        report: Callable[[Progress], None] | None,
    ) -> None:
        self.problems, self.examples, self.starts, self.start = problems, examples, starts, start
        self.max_rounds, self.report = max_rounds, report
        count, sides, width = problems.sign.shape
        size = width // problems.groups.shape[1]
        inside = np.arange(width)
        first = np.asarray(starts)[problems.groups]
        self.column = first[:, inside // size] + inside % size
        self.count = count
        families = 1 + problems.two_families
        self.found = Certified(
            value=np.array(start, np.float64),
            score=np.zeros((count, sides, width)),
            threshold=np.zeros((families, count)),
            violation=np.full(count, np.inf),
            rounds=np.zeros(count, int),
            tolerance=np.full(count, tolerance),
            gap=np.full(count, np.inf),
            dual=np.zeros(count),
            noise=np.zeros(count),
        )
        self.tolerance = tolerance
        self.shared: np.ndarray | None = None

    def parts(self, number: int) -> tuple[HostProblem, np.ndarray, np.ndarray]:
        """A problem, the indices of its variables, and its columns among all examples."""
        _, sign, linear, upper, two = self.problems
        problem, index, columns = host_problem(
            sign[number], linear[number], upper[number], self.start[number], two=two
        )
        return problem, index, self.column[number][columns]

    def is_for_host(self) -> bool:
        """Whether the host is faster, or the device's digits are far too few."""
        sizes = (self.problems.upper > 0).any(1).sum(1)
        seconds = (2e-5 * sizes * (1 + sizes / 2000)).sum()
        if sizes.max() <= host_solver.LARGEST_WHOLE and seconds <= _HOST_SECONDS:
            return True
        upper = self.problems.upper
        expected = self.examples.rounding * np.sqrt(np.square(upper).sum((1, 2)).max())
        expected += np.finfo(np.float32).eps * np.abs(self.problems.linear).max()
        return bool(expected > _HOPELESS * self.tolerance)

    def on_device(self, memory: float) -> None:
        """Solves all problems on the device, and evaluates the solution in float64."""
        solution = solver.solve(
            self.problems,
            self.examples.function,
            self.examples.on_device(),
            self.starts,
            start=self.start,
            tolerance=_DEVICE_PART * self.tolerance,
            max_rounds=self.max_rounds,
            memory=memory,
            report=self.report,
        )
        self.found.rounds = np.asarray(solution.rounds)
        self.found.steps = solution.progress.steps
        self.found.interrupted = solution.interrupted

        def evaluate(number: int) -> None:
            problem, index, columns = self.parts(number)
            value = solution.value[number].reshape(-1)[index]
            # Bounds are met exactly, in the digits of the device.
            at_bound = value >= problem.upper.astype(value.dtype)
            value = problem.project(np.where(at_bound, problem.upper, value.astype(np.float64)))
            score = solution.score[number].reshape(-1)[index].astype(np.float64)
            score = self.exact_scores(problem, columns, value, score)
            violation = problem.violation(value, score)
            self.settle(number, problem, index, value, score, violation)

        for_each(evaluate, range(self.count), threads=self.examples.kernel.is_ours)

    def exact_scores(
        self, problem: HostProblem, columns: np.ndarray, value: np.ndarray, score: np.ndarray
    ) -> np.ndarray:
        """Scores in float64, of those columns whose variables are not clearly at 0."""
        weight = problem.by_column(problem.sign * value)
        unit = np.finfo(np.float32).eps
        error = self.examples.rounding * np.abs(weight).sum()
        error += unit * np.abs(problem.linear).max(initial=0.0)
        slack = 2 * error + self.tolerance
        level = problem.spread(problem.thresholds(value, score))
        is_open = (value > 0) | ~(problem.sign * (level - score) > slack)
        wanted = np.flatnonzero(problem.by_column(is_open.astype(float)))
        used = np.flatnonzero(weight)
        rows = self.examples.rows
        products = self.examples.kernel.weighted(
            take(rows, columns[wanted]),
            take(rows, columns[used]),
            weight[used],
            threads=self.count == 1,
        )
        place = np.full(problem.num_columns, -1)
        place[wanted] = np.arange(len(wanted))
        at = place[problem.column]
        exact = -problem.sign * problem.linear
        if len(wanted):
            exact = exact - products[at]
        return np.where(at >= 0, exact, score)

    def on_host(self) -> None:
        """Solves what is not solved yet."""
        for number in np.flatnonzero(self.found.unsolved).tolist():
            left = None
            if self.max_rounds is not None:
                left = self.max_rounds - int(self.found.rounds[number])
            if self.found.interrupted or (left is not None and left <= 0):
                left = 0
            problem, index, columns = self.parts(number)
            value = self.found.value[number].reshape(-1)[index]
            solution = host_solver.solve(
                problem,
                self.block_of(columns),
                value,
                tolerance=float(self.found.tolerance[number]),
                max_rounds=left,
                report=self.reporter(number, problem),
            )
            self.found.rounds[number] += solution.rounds
            self.found.steps += solution.steps
            self.found.interrupted |= solution.interrupted
            self.settle(number, problem, index, solution.value, solution.score, solution.violation)

    def rescale(self, scale: Callable[[np.ndarray], float]) -> bool:
        """Tightens the tolerances of problems whose scores are small; whether any is unsolved."""
        found = self.found
        largest = self.examples.kernel.largest(self.examples.rows)
        for number, threshold in enumerate(found.threshold.T):
            found.noise[number] = _NOISE * largest * np.abs(found.value[number]).sum()
            least = min(found.noise[number], self.tolerance)
            wanted = self.tolerance * min(1.0, scale(threshold))
            found.tolerance[number] = max(wanted, least)
        return bool(self.found.unsolved.any())

    def block_of(self, columns: np.ndarray) -> host_solver.Block:
        """Entries of the kernel of a problem's columns."""
        kernel, rows = self.examples.kernel, self.examples.rows
        if len(rows[0]) <= _SHARED_COLUMNS and self.count > 1:
            if self.shared is None:
                self.shared = kernel.matrix(rows, rows)
            shared = self.shared
            return lambda i, j: shared[np.ix_(columns[i], columns[j])]
        mine = take(rows, columns)
        return lambda i, j: kernel.matrix(take(mine, i), take(mine, j))

    def settle(
        self,
        number: int,
        problem: HostProblem,
        index: np.ndarray,
        value: np.ndarray,
        score: np.ndarray,
        violation: float,
    ) -> None:
        """Keeps where a problem stands."""
        found = self.found
        found.value[number].reshape(-1)[index] = value
        found.score[number].reshape(-1)[index] = score
        found.violation[number] = violation
        levels = self.note(number, problem, value, score)
        if len(levels):
            found.threshold[:, number] = levels

    def note(
        self, number: int, problem: HostProblem, value: np.ndarray, score: np.ndarray
    ) -> np.ndarray:
        """Keeps the objectives of a problem, and returns its thresholds."""
        levels = problem.thresholds(value, score)
        level = problem.spread(levels)
        slope = problem.sign * (level - score)
        apart = value * np.maximum(slope, 0) + (problem.upper - value) * np.maximum(-slope, 0)
        self.found.gap[number] = apart.sum()
        self.found.dual[number] = value @ (problem.sign * score - problem.linear) / 2
        return levels

    def reporter(self, number: int, problem: HostProblem) -> host_solver.Report | None:
        """Reports a round of one problem as the progress of all."""
        report = self.report
        if report is None:
            return None
        rounds, steps = int(self.found.rounds.max(initial=0)), self.found.steps

        def tell(now: host_solver.HostSolution) -> None:
            violation = self.found.violation.copy()
            violation[number] = now.violation
            self.note(number, problem, now.value, now.score)
            known = np.isfinite(violation)
            report(
                Progress(
                    rounds=rounds + now.rounds,
                    steps=steps + now.steps,
                    violation=float(violation[known].max()),
                    objective=-float(self.found.dual.sum()),
                    num_unsolved=int((~(violation <= self.found.tolerance)).sum()),
                    gap=float(self.found.gap[known].sum()),
                    num_support=int(np.count_nonzero(now.value)),
                )
            )

        return tell
