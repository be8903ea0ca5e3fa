"""Solution of dual problems to a violation that is verified in float64.

Problems whose kernel float32 represents well enough are solved on the device. The scores of the
solutions are then recomputed in float64, for the variables where this can matter, and problems that
float32 did not solve continue in float64 on the host. Small problems are solved on the host from
the start, because compilation would take longer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from jaxml.svm._threads import for_each
from jaxml.svm.kernel import _device_solver, _host_solver
from jaxml.svm.kernel._host_kernel import HostExamples, HostKernel, take
from jaxml.svm.kernel._host_problem import HostProblem, host_problem
from jaxml.svm.kernel._problems import DualProblems, KernelProgress, Variables
from jaxml.svm.kernels import Kernel

# Seconds of moving pairs on the host that are less than a compilation.
_HOST_SECONDS = 0.5
# Up to this many columns, all problems share one kernel matrix on the host.
_SHARED_COLUMNS = 2048
# The ratio of the expected error of scores to the tolerance above which float32 does not help.
_HOPELESS = 100.0
# The relative rounding error of scores in float64.
_NOISE = 1e-13
# How often tolerances are adjusted to a better solution.
_RESCALINGS = 6
# The ratio of the device's tolerance, which leaves room for its rounding errors.
_DEVICE_TOLERANCE = 0.9


@runtime_checkable
class KernelExamples(Protocol):
    """Examples as columns of a kernel matrix, on the host and on the device."""

    host_kernel: HostKernel  # in float64
    host_examples: HostExamples  # `[columns, ...]`
    device_kernel: Kernel
    rounding: float  # a bound of the absolute error of entries of `device_kernel`

    def device_examples(self) -> jax.Array:
        """Returns the examples `[columns, ...]` of `device_kernel`."""
        ...


@dataclass
class KernelSolution:
    """Solutions of dual problems in float64."""

    value: np.ndarray  # `[problems, k, columns]`
    threshold: np.ndarray  # `[constraints, problems]`: the scores that separate I_up from I_low
    violation: np.ndarray  # `[problems]`
    rounds: np.ndarray  # `[problems]`: number of working sets solved
    tolerance: np.ndarray  # `[problems]`: tolerances of the violation
    gap: np.ndarray  # `[problems]`: duality gaps, with the thresholds as intercepts
    dual: np.ndarray  # `[problems]`: dual objectives, lower bounds of the primal
    noise: np.ndarray  # `[problems]`: rounding errors of the scores
    interrupted: bool = False  # whether a `KeyboardInterrupt` ended the solver
    steps: int = 0  # number of pairs moved

    @property
    def unsolved(self) -> np.ndarray:
        """`[problems]`: whether the violation exceeds the tolerance."""
        return ~(self.violation <= self.tolerance)  # NaN is not solved

    @property
    def converged(self) -> bool:
        """Returns whether all problems are solved to the tolerance."""
        return not self.unsolved.any()

    @property
    def largest_violation(self) -> float:
        """The largest violation, in units of the tolerance that was asked for."""
        return float((self.violation / self.tolerance).max() * self.tolerance.max())


def solve(
    problems: DualProblems,
    examples: KernelExamples,
    starts: np.ndarray,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-3,
    scale: Callable[[np.ndarray], float] | None = None,
    max_rounds: int | None = None,
    memory: float = 2e9,
    report: Callable[[KernelProgress], None] | None = None,
) -> KernelSolution:
    """Solves all problems until their violations are within the tolerance, in float64.

    Args:
      problems: Problems of one kernel.
      examples: The columns.
      starts: `[groups]`: the first column of each group.
      start: `[problems, k, columns]` feasible values; None starts at zero.
      tolerance: Tolerance of the violation, as in libsvm.
      scale: A function of a problem's thresholds `[constraints]` that returns the unit of its
        tolerance, at most 1; None for 1.
      max_rounds: Maximum number of rounds; None for no limit.
      memory: Bytes for rows of the kernel matrix on the device.
      report: Called with the progress after each round. It may raise `KeyboardInterrupt` to stop.

    Returns:
      The solutions, or the values that were reached.

    Raises:
      InputError: The memory does not hold one working set.
    """
    if start is None:
        start = np.zeros_like(problems.upper)
    run = _Run(problems, examples, starts, start, tolerance, max_rounds, report)
    if not run.is_for_host():
        run.solve_on_device(memory)
    run.solve_on_host()
    for _ in range(_RESCALINGS):
        if scale is None or not run.rescale(scale):
            break
        run.solve_on_host()
    return run.found


@dataclass
class _Run:
    """The arguments of `solve`, and the current solutions."""

    problems: DualProblems
    examples: KernelExamples
    starts: np.ndarray
    start: np.ndarray
    tolerance: float
    max_rounds: int | None
    report: Callable[[KernelProgress], None] | None

    def __post_init__(self) -> None:
        problems = self.problems
        self.count, _, width = problems.sign.shape
        size = width // problems.groups.shape[1]
        inside = np.arange(width)
        self.column = np.asarray(self.starts)[problems.groups][:, inside // size] + inside % size
        self.found = KernelSolution(
            value=np.array(self.start, np.float64),
            threshold=np.zeros((1 + problems.two_constraints, self.count)),
            violation=np.full(self.count, np.inf),
            rounds=np.zeros(self.count, int),
            tolerance=np.full(self.count, self.tolerance),
            gap=np.full(self.count, np.inf),
            dual=np.zeros(self.count),
            noise=np.zeros(self.count),
        )

    def extract(self, number: int) -> tuple[HostProblem, np.ndarray]:
        """Returns a problem, and its columns among all examples."""
        arrays = (array[number] for array in (*self.problems[1:4], self.start))
        problem = host_problem(*arrays, two=self.problems.two_constraints)
        return problem, self.column[number][problem.columns]

    def store(
        self, number: int, problem: HostProblem, value: np.ndarray, score: np.ndarray
    ) -> None:
        """Stores the solution of a problem."""
        found, thresholds = self.found, problem.thresholds(value, score)
        found.value[number].reshape(-1)[problem.index] = value
        found.threshold[:, number] = thresholds
        found.violation[number] = problem.violation(value, score)
        variables = Variables(value, score, problem.sign, problem.upper)
        found.gap[number] = variables.gap(thresholds)
        found.dual[number] = value @ (problem.sign * score - problem.linear) / 2

    def is_for_host(self) -> bool:
        """Returns whether the host is faster, or the digits of the device do not suffice."""
        upper = self.problems.upper
        sizes = (upper > 0).any(1).sum(1)
        seconds = (2e-5 * sizes * (1 + sizes / 2000)).sum()
        if sizes.max() <= _host_solver.LARGEST_WHOLE and seconds <= _HOST_SECONDS:
            return True
        expected = self.examples.rounding * np.sqrt(np.square(upper).sum((1, 2)).max())
        expected += np.finfo(np.float32).eps * np.abs(self.problems.linear).max()
        return bool(expected > _HOPELESS * self.tolerance)

    def solve_on_device(self, memory: float) -> None:
        """Solves all problems on the device, and evaluates the solutions in float64."""
        solver = _device_solver.DeviceSolver(
            self.problems, self.examples.device_kernel, self.examples.device_examples(),
            self.starts, memory=memory,
        )  # fmt: skip
        solution = solver.run(
            self.start,
            tolerance=_DEVICE_TOLERANCE * self.tolerance,
            max_rounds=self.max_rounds,
            report=self.report,
        )
        self.found.rounds = np.asarray(solution.rounds)
        self.found.steps = solution.progress.steps
        self.found.interrupted = solution.interrupted

        def evaluate(number: int) -> None:
            problem, columns = self.extract(number)
            value = solution.value[number].reshape(-1)[problem.index]
            # Bounds are met exactly in the dtype of the device.
            at_bound = value >= problem.upper.astype(value.dtype)
            value = problem.project(np.where(at_bound, problem.upper, value.astype(np.float64)))
            score = solution.score[number].reshape(-1)[problem.index].astype(np.float64)
            score = self.exact_scores(problem, columns, value, score)
            self.store(number, problem, value, score)

        for_each(evaluate, range(self.count), threads=self.examples.host_kernel.is_thread_safe)

    def exact_scores(
        self, problem: HostProblem, columns: np.ndarray, value: np.ndarray, score: np.ndarray
    ) -> np.ndarray:
        """Computes scores in float64, except of variables that are clearly optimal at 0."""
        weight = problem.by_column(problem.sign * value)
        error = self.examples.rounding * np.abs(weight).sum()
        error += np.finfo(np.float32).eps * np.abs(problem.linear).max(initial=0.0)
        level = problem.spread(problem.thresholds(value, score))
        is_optimal = problem.sign * (level - score) > 2 * error + self.tolerance
        is_open = (value > 0) | ~is_optimal
        wanted = np.flatnonzero(problem.by_column(is_open.astype(float)))
        if not len(wanted):
            return score
        used = np.flatnonzero(weight)
        products = self.examples.host_kernel.weighted_sums(
            take(self.examples.host_examples, columns[wanted]),
            take(self.examples.host_examples, columns[used]),
            weight[used],
            threads=self.count == 1,
        )
        place = np.full(problem.num_columns, -1)
        place[wanted] = np.arange(len(wanted))
        at = place[problem.column]
        return np.where(at >= 0, -problem.sign * problem.linear - products[at], score)

    def solve_on_host(self) -> None:
        """Solves the unsolved problems."""
        for number in np.flatnonzero(self.found.unsolved).tolist():
            self.solve_one(number)

    def solve_one(self, number: int) -> None:
        """Solves one problem on the host."""
        found = self.found
        problem, columns = self.extract(number)
        rounds, steps = int(found.rounds.max(initial=0)), found.steps

        def notify(now: _host_solver.HostSolution) -> None:
            """Reports a round of this problem as progress of all."""
            self.store(number, problem, now.value, now.score)
            known = np.isfinite(found.violation)
            assert self.report is not None
            self.report(
                KernelProgress(
                    rounds=rounds + now.rounds,
                    steps=steps + now.steps,
                    violation=float(found.violation[known].max()),
                    objective=-float(found.dual.sum()),
                    num_unsolved=int(found.unsolved.sum()),
                    gap=float(found.gap[known].sum()),
                    num_support=int(np.count_nonzero(now.value)),
                )
            )

        left = None
        if self.max_rounds is not None:
            left = max(self.max_rounds - int(found.rounds[number]), 0)
        limits = _host_solver.Limits(
            float(found.tolerance[number]),
            0 if found.interrupted else left,
            notify if self.report else None,
        )
        value = found.value[number].reshape(-1)[problem.index]
        solution = _host_solver.solve(problem, self.block(columns), value, limits)
        found.rounds[number] += solution.rounds
        found.steps += solution.steps
        found.interrupted |= solution.interrupted
        self.store(number, problem, solution.value, solution.score)

    def block(self, columns: np.ndarray) -> _host_solver.Block:
        """Returns a function for the kernel matrix of some columns."""
        kernel, examples = self.examples.host_kernel, self.examples.host_examples
        if len(examples[0]) <= _SHARED_COLUMNS and self.count > 1:
            shared = self.shared_matrix
            return lambda i, j: shared[np.ix_(columns[i], columns[j])]
        mine = take(examples, columns)
        return lambda i, j: kernel.matrix(take(mine, i), take(mine, j))

    @cached_property
    def shared_matrix(self) -> np.ndarray:
        """The kernel matrix of all examples."""
        examples = self.examples.host_examples
        return self.examples.host_kernel.matrix(examples, examples)

    def rescale(self, scale: Callable[[np.ndarray], float]) -> bool:
        """Tightens the tolerances of problems with small scores; returns if any is unsolved."""
        found = self.found
        largest = self.examples.host_kernel.max_entry(self.examples.host_examples)
        for number, threshold in enumerate(found.threshold.T):
            found.noise[number] = _NOISE * largest * np.abs(found.value[number]).sum()
            least = min(found.noise[number], self.tolerance)
            found.tolerance[number] = max(self.tolerance * min(1.0, scale(threshold)), least)
        return bool(found.unsolved.any())
