"""Solution of one dual problem in float64 on the host, without compilation.

The device solver leaves small problems to this one, and those whose kernel or solution needs more
digits than float32 has. Pairs of variables are moved; if that converges slowly, an interior-point
method takes over, which does not depend on the conditioning. Larger problems are decomposed into
working sets, with a cache of rows of the kernel matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from jaxml.svm._threads import blas_threads
from jaxml.svm.kernel import _interior_point
from jaxml.svm.kernel._host_problem import HostProblem
from jaxml.svm.kernel._pairs import move_pairs, pair_steps

# The most columns of a problem that is not decomposed.
LARGEST_WHOLE = 1024
# Columns of a working set.
_WORKING_SET = 512
# Bytes of the cache of rows.
_CACHE_BYTES = 2**30
# Rounds without a decrease of the violation after which a decomposition ends.
_PATIENCE = 30

# Returns the kernel matrix in float64 for the indices of rows and columns.
Block = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class HostSolution:
    """The current or final point of a problem; see `KernelSolution`."""

    value: np.ndarray
    score: np.ndarray
    violation: float
    rounds: int = 0
    steps: int = 0
    interrupted: bool = False


@dataclass(frozen=True)
class Limits:
    """When to stop, and the callback of each round, which may raise `KeyboardInterrupt`."""

    tolerance: float
    max_rounds: int | None = None
    report: Callable[[HostSolution], None] | None = None

    def notify(self, now: HostSolution) -> None:
        """Reports a round."""
        if self.report:
            self.report(now)


def solve(problem: HostProblem, block: Block, value: np.ndarray, limits: Limits) -> HostSolution:
    """Solves a problem from feasible values; returns the best point that was found."""
    if problem.num_columns > LARGEST_WHOLE:
        return _solve_decomposed(problem, block, value, limits)
    every = np.arange(problem.num_columns)
    # BLAS threads gain little with small matrices, and are slow on busy processors.
    with blas_threads(1):
        return _solve_whole(problem, block(every, every), value, limits)


def _solve_whole(
    problem: HostProblem, kernel: np.ndarray, value: np.ndarray, limits: Limits
) -> HostSolution:
    """Alternates between pairs and the interior-point method, given the kernel matrix."""
    goal = 0.5 * limits.tolerance
    best = now = _at(problem, kernel, value, HostSolution(value, value, np.inf))
    try:
        for number, budget in enumerate((1, None, 1, 20, 20)):
            before = best.violation
            if before <= limits.tolerance or now.rounds == limits.max_rounds:
                break
            if budget is None:
                value, taken = _interior_point.solve(problem, kernel, goal), 0
            else:
                most = budget * pair_steps(kernel, len(value))
                value, taken = move_pairs(problem, kernel, best.value, best.score, goal, most)
            last = replace(now, rounds=now.rounds + 1, steps=now.steps + taken)
            now = _at(problem, kernel, value, last)
            if now.violation < best.violation:
                best = now
            limits.notify(now)
            if number > 1 and best.violation > 0.5 * before:
                break
    except KeyboardInterrupt:
        best = replace(best, interrupted=True)
    return replace(best, rounds=now.rounds, steps=now.steps)


def _at(
    problem: HostProblem, kernel: np.ndarray, value: np.ndarray, last: HostSolution
) -> HostSolution:
    score = problem.scores(kernel, value)
    return replace(last, value=value, score=score, violation=problem.violation(value, score))


class _RowCache:
    """Rows of the kernel matrix, as many as fit in memory."""

    def __init__(self, block: Block, num_columns: int) -> None:
        self._block, self._every = block, np.arange(num_columns)
        self._most = max(_WORKING_SET, _CACHE_BYTES // (8 * num_columns))
        self._rows: dict[int, np.ndarray] = {}

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """`[len(columns), columns]`."""
        wanted = columns.tolist()
        missing = np.array([c for c in wanted if c not in self._rows], int)
        if len(self._rows) + len(missing) > self._most:
            kept = set(wanted)
            self._rows = {c: row for c, row in self._rows.items() if c in kept}
        if len(missing):
            rows = self._block(missing, self._every)
            self._rows.update(zip(missing.tolist(), rows, strict=True))
        return np.stack([self._rows[c] for c in wanted])


def _solve_decomposed(
    problem: HostProblem, block: Block, value: np.ndarray, limits: Limits
) -> HostSolution:
    """Solves working sets, with rows of the kernel matrix."""
    rows = _RowCache(block, problem.num_columns)
    now = _recompute_scores(problem, rows, HostSolution(value, value, np.inf))
    best, waited, interrupted, is_exact = now, 0, False, True
    try:
        while now.rounds != limits.max_rounds and waited < _PATIENCE:
            if now.violation <= limits.tolerance:
                if is_exact:
                    break
                now, is_exact = _recompute_scores(problem, rows, now), True
                continue
            now, is_exact = _round(problem, rows, now, limits.tolerance), False
            waited = 0 if now.violation < 0.9 * best.violation else waited + 1
            best = now if now.violation < best.violation else best
            limits.notify(now)
    except KeyboardInterrupt:
        interrupted = True
    best = now if now.violation <= limits.tolerance else best
    best = _recompute_scores(problem, rows, best)
    return replace(best, rounds=now.rounds, steps=now.steps, interrupted=interrupted)


def _recompute_scores(problem: HostProblem, rows: _RowCache, now: HostSolution) -> HostSolution:
    """Computes the scores from the values, without the rounding errors of the updates."""
    weight = problem.by_column(problem.sign * now.value)
    products = np.zeros(problem.num_columns)
    used = np.flatnonzero(weight)
    for start in range(0, len(used), _WORKING_SET):
        part = used[start : start + _WORKING_SET]
        products += weight[part] @ rows(part)
    score = -problem.sign * problem.linear - products[problem.column]
    return replace(now, score=score, violation=problem.violation(now.value, score))


def _round(
    problem: HostProblem, rows: _RowCache, now: HostSolution, tolerance: float
) -> HostSolution:
    """Solves a working set and updates all scores."""
    chosen = _working_set(problem, now)
    columns, place = np.unique(problem.column[chosen], return_inverse=True)
    kernel_rows = rows(columns)
    kernel = kernel_rows[:, columns]
    sign, start = problem.sign[chosen], now.value[chosen]
    weight = np.bincount(place, sign * start, len(columns))
    # The contribution of the other variables is fixed, and part of the linear term.
    linear = -sign * (now.score[chosen] + (kernel @ weight)[place])
    constraints = _constraints_within(problem, chosen)
    part = HostProblem(
        column=place,
        sign=sign,
        linear=linear,
        upper=problem.upper[chosen],
        total=np.array([sign[each] @ start[each] for each in constraints]),
        constraints=constraints,
        num_columns=len(columns),
    )
    goal = max(0.1 * now.violation, 0.5 * tolerance)
    with blas_threads(1):
        found = _solve_whole(part, kernel, start, Limits(goal))
    value = now.value.copy()
    value[chosen] = found.value
    change = np.bincount(place, sign * found.value, len(columns)) - weight
    score = now.score - (change @ kernel_rows)[problem.column]
    violation = problem.violation(value, score)
    return HostSolution(value, score, violation, now.rounds + 1, now.steps + found.steps)


def _working_set(problem: HostProblem, now: HostSolution) -> np.ndarray:
    """The variables that violate most in either direction, and free variables; in order."""
    taken = np.zeros(len(now.value), bool)
    quota = _WORKING_SET // (4 * len(problem.constraints))
    at = problem.variables(now.value, now.score)
    up, low = at.up(), at.low()
    for part in problem.constraints:
        for worst in (-up[part], low[part]):
            most = min(quota, len(worst))
            order = np.argpartition(worst, most - 1)[:most]
            taken[part.start + order[np.isfinite(worst[order])]] = True
    free = np.flatnonzero((now.value > 0) & (now.value < problem.upper) & ~taken)
    room = max(_WORKING_SET - int(taken.sum()), 0)
    if len(free) > room:
        free = np.random.default_rng(now.rounds).permutation(free)[:room]
    taken[free] = True
    return np.flatnonzero(taken)


def _constraints_within(problem: HostProblem, chosen: np.ndarray) -> tuple[slice, ...]:
    """The chosen variables of each constraint."""
    ends = [int(np.searchsorted(chosen, part.stop)) for part in problem.constraints]
    starts = [0, *ends[:-1]]
    return tuple(slice(a, b) for a, b in zip(starts, ends, strict=True) if b > a)
