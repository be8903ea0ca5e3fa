"""Solution of one dual problem in float64 on the host, without compilation.

The device solver leaves small problems to this one, and those whose kernel or solution needs more
digits than float32 has. Pairs of variables are moved; if that converges slowly, an interior-point
method takes over, which does not depend on the conditioning. Larger problems are decomposed into
working sets, with a cache of rows of the kernel matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from jaxml.svm._threads import blas_threads
from jaxml.svm.kernel import _interior_point
from jaxml.svm.kernel._host_problem import HostProblem

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


class Limits(NamedTuple):
    """When to stop, and the callback of each round, which may raise `KeyboardInterrupt`."""

    tolerance: float
    max_rounds: int | None = None
    report: Callable[[HostSolution], None] | None = None


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

    def at(value: np.ndarray, rounds: int, steps: int) -> HostSolution:
        score = problem.scores(kernel, value)
        return HostSolution(value, score, problem.violation(value, score), rounds, steps)

    goal = 0.5 * limits.tolerance
    # The number of steps that take about as long as the interior-point method.
    size = len(kernel)
    most = max(4 * len(value), int(size + size**3 / 1.2e5))
    best = now = at(value, 0, 0)
    try:
        for number, budget in enumerate((1, None, 1, 20, 20)):
            before = best.violation
            if before <= limits.tolerance or now.rounds == limits.max_rounds:
                break
            if budget is None:
                value, taken = _interior_point.solve(problem, kernel, goal), 0
            else:
                value, taken = move_pairs(
                    problem, kernel, best.value, best.score, goal, budget * most
                )
            now = at(value, now.rounds + 1, now.steps + taken)
            if now.violation < best.violation:
                best = now
            if limits.report:
                limits.report(now)
            if number > 1 and best.violation > 0.5 * before:
                break
    except KeyboardInterrupt:
        best = replace(best, interrupted=True)
    return replace(best, rounds=now.rounds, steps=now.steps)


def move_pairs(
    problem: HostProblem,
    kernel: np.ndarray,
    value: np.ndarray,
    score: np.ndarray,
    tolerance: float,
    max_steps: int,
) -> tuple[np.ndarray, int]:
    """Moves pairs until the violation is within the tolerance; returns values and their number."""
    sign, upper, column = problem.sign, problem.upper, problem.column
    value, score = value.copy(), score.copy()
    diagonal = np.diagonal(kernel)[column]
    least = max(1e-12, 1e-15 * float(diagonal.max(initial=0.0)))
    # Added to scores, these exclude the variables that are not in I_up or I_low.
    parts = problem.variables(value, np.zeros_like(value))
    up = np.concatenate([part.up() for part in parts])
    low = np.concatenate([part.low() for part in parts])

    def row(variable: int) -> np.ndarray:
        entries = kernel[column[variable]]
        return entries if problem.is_one_to_one else entries[column]

    for step in range(max_steps):
        chosen, worst = None, tolerance
        for part in problem.constraints:
            first = part.start + int((score[part] + up[part]).argmax())
            difference = score[first] + up[first] - (score[part] + low[part])
            violation = difference.max()
            if violation > worst:
                chosen, worst = (part, first, difference), violation
        if chosen is None:
            return value, step
        part, first, difference = chosen
        row_first = row(first)
        curvature = diagonal[first] + diagonal[part] - 2 * row_first[part]
        np.maximum(curvature, least, out=curvature)
        np.maximum(difference, 0, out=difference)
        second = int((difference * difference / curvature).argmax())
        by = difference[second] / curvature[second]
        second += part.start
        by = _move(value, sign, upper, first, second, by)
        score -= by * (row_first - row(second))
        for one in (first, second):
            positive = sign[one] > 0
            above, below = value[one] < upper[one], value[one] > 0
            up[one] = 0.0 if (above if positive else below) else -np.inf
            low[one] = 0.0 if (below if positive else above) else np.inf
    return value, max_steps


def _move(
    value: np.ndarray, sign: np.ndarray, upper: np.ndarray, first: int, second: int, by: float
) -> float:
    """Moves the first along its sign and the second against it; bounds are met exactly."""
    end_first = upper[first] if sign[first] > 0 else 0.0
    end_second = 0.0 if sign[second] > 0 else upper[second]
    room_first, room_second = abs(end_first - value[first]), abs(end_second - value[second])
    by = min(by, room_first, room_second)
    value[first] = end_first if by == room_first else value[first] + sign[first] * by
    value[second] = end_second if by == room_second else value[second] - sign[second] * by
    return by


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
            if limits.report:
                limits.report(now)
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
    ends = [0, *(int(np.searchsorted(chosen, part.stop)) for part in problem.constraints)]
    constraints = tuple(slice(a, b) for a, b in pairwise(ends) if b > a)
    part = HostProblem(
        index=chosen,
        columns=columns,
        column=place,
        sign=sign,
        linear=linear,
        upper=problem.upper[chosen],
        total=np.array([sign[each] @ start[each] for each in constraints]),
        constraints=constraints,
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
    parts = problem.variables(now.value, now.score)
    for part, variables in zip(problem.constraints, parts, strict=True):
        for worst in (-variables.up(), variables.low()):
            most = min(quota, len(worst))
            order = np.argpartition(worst, most - 1)[:most]
            taken[part.start + order[np.isfinite(worst[order])]] = True
    free = np.flatnonzero((now.value > 0) & (now.value < problem.upper) & ~taken)
    room = max(_WORKING_SET - int(taken.sum()), 0)
    if len(free) > room:
        free = np.random.default_rng(now.rounds).permutation(free)[:room]
    taken[free] = True
    return np.flatnonzero(taken)
