"""The dual of one kernel problem in float64 on the host, without compilation.

Small problems, and problems whose kernel or whose solution needs more digits than float32 has, are
solved here. Pairs of variables are moved as in `jaxml.svm.kernel.working_set`; where that converges
slowly, an interior-point method takes over, whose speed does not depend on the conditioning. Larger
problems are decomposed into working sets, whose rows of the kernel are kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from jaxml.svm._threads import blas_threads
from jaxml.svm.kernel import interior_point
from jaxml.svm.kernel.host_problem import HostProblem

# A problem of so many columns is solved as a whole.
LARGEST_WHOLE = 1024
# Columns of a working set of a larger problem.
WORKING_SET = 512
# Bytes of rows of the kernel that are kept.
ROWS_BYTES = 2**30
# Rounds of a larger problem without a lower violation or objective, after which it ends.
PATIENCE = 30

# The kernel's float64 entries for rows and columns, both as indices of columns.
Block = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class HostSolution:
    """Where a problem stands.

    Attributes:
      value: `[variables]`.
      score: `[variables]`: minus the sign times the gradient, from the values alone.
      violation: at most the tolerance where it is solved.
      rounds: working sets that were solved.
      steps: pairs that were moved.
      interrupted: whether the keyboard stopped it.
    """

    value: np.ndarray
    score: np.ndarray
    violation: float
    rounds: int = 0
    steps: int = 0
    interrupted: bool = False


Report = Callable[[HostSolution], None]


def solve(
    problem: HostProblem,
    block: Block,
    value: np.ndarray,
    *,
    tolerance: float,
    max_rounds: int | None = None,
    report: Report | None = None,
) -> HostSolution:
    """Solves a problem from feasible values.

    Args:
      problem: the variables.
      block: the kernel.
      value: `[variables]` feasible values.
      tolerance: of the violation.
      max_rounds: after how many rounds it ends unsolved; None for no limit.
      report: called after each round; may raise `KeyboardInterrupt`.

    Returns:
      The solution, or the best that was found.
    """
    whole = problem.num_columns <= LARGEST_WHOLE
    run = _solve_whole if whole else _solve_by_working_sets
    return run(problem, block, value, tolerance, max_rounds, report)


def _solve_whole(
    problem: HostProblem,
    block: Block,
    value: np.ndarray,
    tolerance: float,
    max_rounds: int | None,
    report: Report | None,
) -> HostSolution:
    everything = np.arange(problem.num_columns)
    # Threads of BLAS gain little on such small matrices, and lose much on busy processors.
    with blas_threads(1):
        return _solve_dense(
            problem, block(everything, everything), value, tolerance, max_rounds, report
        )


def _solve_dense(
    problem: HostProblem,
    kernel: np.ndarray,
    value: np.ndarray,
    tolerance: float,
    max_rounds: int | None,
    report: Report | None,
) -> HostSolution:
    best = _at(problem, kernel, value, HostSolution(value, value, np.inf))
    now = best
    try:
        for number, budget in enumerate((1, None, 1, 20, 20)):
            before = best.violation
            if before <= tolerance or now.rounds == max_rounds:
                break
            if budget is None:
                value, taken = interior_point.solve(problem, kernel, 0.5 * tolerance), 0
            else:
                steps = budget * pair_steps(kernel, len(now.value))
                value, taken = move_pairs(problem, kernel, best, 0.5 * tolerance, steps)
            last = replace(now, rounds=now.rounds + 1, steps=now.steps + taken)
            now = _at(problem, kernel, value, last)
            if now.violation < best.violation:
                best = now
            if report:
                report(now)
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


def pair_steps(kernel: np.ndarray, num_variables: int) -> int:
    """As many steps as take about as long as the interior-point method."""
    size = len(kernel)
    return max(4 * num_variables, int(size + size**3 / 1.2e5))


def move_pairs(
    problem: HostProblem,
    kernel: np.ndarray,
    start: HostSolution,
    tolerance: float,
    max_steps: int,
) -> tuple[np.ndarray, int]:
    """Moves pairs of variables until none violates by more than the tolerance.

    Args:
      problem: the variables.
      kernel: `[columns, columns]`.
      start: values and their scores.
      tolerance: of the violation.
      max_steps: after how many steps it ends.

    Returns:
      `[variables]` values, and the number of steps.
    """
    sign, upper, column = problem.sign, problem.upper, problem.column
    value, score = start.value.copy(), start.score.copy()
    diagonal = np.diagonal(kernel)[column]
    least = max(1e-12, 1e-15 * float(diagonal.max(initial=0.0)))
    # Added to scores, these leave out what may not move in a direction.
    rise = np.where(problem.rising(value), 0.0, -np.inf)
    fall = np.where(problem.falling(value), 0.0, np.inf)
    plain = problem.is_one_to_one

    def row(variable: int) -> np.ndarray:
        entries = kernel[column[variable]]
        return entries if plain else entries[column]

    for step in range(max_steps):
        chosen, worst = None, tolerance
        for part in problem.families:
            first = part.start + int((score[part] + rise[part]).argmax())
            difference = score[first] + rise[first] - (score[part] + fall[part])
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
            rise[one] = 0.0 if (above if positive else below) else -np.inf
            fall[one] = 0.0 if (below if positive else above) else np.inf
    return value, max_steps


def _move(
    value: np.ndarray, sign: np.ndarray, upper: np.ndarray, first: int, second: int, by: float
) -> float:
    """Moves a pair, the first by its sign and the second against it; bounds are met exactly."""
    end_first = upper[first] if sign[first] > 0 else 0.0
    end_second = 0.0 if sign[second] > 0 else upper[second]
    room_first, room_second = abs(end_first - value[first]), abs(end_second - value[second])
    by = min(by, room_first, room_second)
    value[first] = end_first if by == room_first else value[first] + sign[first] * by
    value[second] = end_second if by == room_second else value[second] - sign[second] * by
    return by


class _KeptRows:
    """Rows of the kernel of a problem, of which as many are kept as there is memory for."""

    def __init__(self, block: Block, num_columns: int) -> None:
        self.block, self.everything = block, np.arange(num_columns)
        self.most = max(WORKING_SET, ROWS_BYTES // (8 * num_columns))
        self.kept: dict[int, np.ndarray] = {}

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """`[len(columns), columns]`."""
        missing = np.array([c for c in columns.tolist() if c not in self.kept], int)
        if len(self.kept) + len(missing) > self.most:
            kept = set(columns.tolist())
            self.kept = {c: row for c, row in self.kept.items() if c in kept}
        if len(missing):
            self.kept.update(
                zip(missing.tolist(), self.block(missing, self.everything), strict=True)
            )
        return np.stack([self.kept[c] for c in columns.tolist()])


def _solve_by_working_sets(
    problem: HostProblem,
    block: Block,
    value: np.ndarray,
    tolerance: float,
    max_rounds: int | None,
    report: Report | None,
) -> HostSolution:
    rows = _KeptRows(block, problem.num_columns)
    now = _fresh(problem, rows, HostSolution(value, value, np.inf))
    best, waited, interrupted, is_fresh = now, 0, False, True
    try:
        while now.rounds != max_rounds and waited < PATIENCE:
            if now.violation <= tolerance:
                if is_fresh:
                    break
                now, is_fresh = _fresh(problem, rows, now), True
                continue
            now, is_fresh = _round(problem, rows, now, tolerance), False
            waited = 0 if now.violation < 0.9 * best.violation else waited + 1
            best = now if now.violation < best.violation else best
            if report:
                report(now)
    except KeyboardInterrupt:
        interrupted = True
    best = now if now.violation <= tolerance else best
    best = _fresh(problem, rows, best)
    return replace(best, rounds=now.rounds, steps=now.steps, interrupted=interrupted)


def _fresh(problem: HostProblem, rows: _KeptRows, now: HostSolution) -> HostSolution:
    """Recomputes the scores from the values, without the rounding errors of the updates."""
    weight = problem.by_column(problem.sign * now.value)
    products = np.zeros(problem.num_columns)
    used = np.flatnonzero(weight)
    for start in range(0, len(used), WORKING_SET):
        part = used[start : start + WORKING_SET]
        products += weight[part] @ rows(part)
    score = -problem.sign * problem.linear - products[problem.column]
    return replace(now, score=score, violation=problem.violation(now.value, score))


def _round(
    problem: HostProblem, rows: _KeptRows, now: HostSolution, tolerance: float
) -> HostSolution:
    """Solves a working set and updates all scores."""
    chosen = _working_set(problem, now)
    columns, place = np.unique(problem.column[chosen], return_inverse=True)
    kernel_rows = rows(columns)
    inner = kernel_rows[:, columns]
    weight = np.bincount(place, problem.sign[chosen] * now.value[chosen], len(columns))
    score = now.score[chosen]
    # What the variables outside contribute stays fixed: it belongs to the linear term.
    linear = -problem.sign[chosen] * (score + (inner @ weight)[place])
    families = _within(problem, chosen)
    part = HostProblem(
        column=place,
        sign=problem.sign[chosen],
        linear=linear,
        upper=problem.upper[chosen],
        total=np.array([problem.sign[chosen][f] @ now.value[chosen][f] for f in families]),
        families=families,
        num_columns=len(columns),
    )
    goal = max(0.1 * now.violation, 0.5 * tolerance)
    found = _solve_whole(part, lambda *_: inner, now.value[chosen], goal, None, None)
    value = now.value.copy()
    value[chosen] = found.value
    change = np.bincount(place, problem.sign[chosen] * found.value, len(columns)) - weight
    score = now.score - (change @ kernel_rows)[problem.column]
    violation = problem.violation(value, score)
    return HostSolution(value, score, violation, now.rounds + 1, now.steps + found.steps)


def _working_set(problem: HostProblem, now: HostSolution) -> np.ndarray:
    """Variables in their order: the worst of either direction, and free ones near to them."""
    taken = np.zeros(len(now.value), bool)
    share = WORKING_SET // (4 * len(problem.families))
    high = np.where(problem.rising(now.value), now.score, -np.inf)
    low = np.where(problem.falling(now.value), now.score, np.inf)
    for part in problem.families:
        for worst in (-high[part], low[part]):
            most = min(share, len(worst))
            order = np.argpartition(worst, most - 1)[:most]
            taken[part.start + order[np.isfinite(worst[order])]] = True
    free = np.flatnonzero((now.value > 0) & (now.value < problem.upper) & ~taken)
    room = max(WORKING_SET - int(taken.sum()), 0)
    if len(free) > room:
        free = np.random.default_rng(now.rounds).permutation(free)[:room]
    taken[free] = True
    return np.flatnonzero(taken)


def _within(problem: HostProblem, chosen: np.ndarray) -> tuple[slice, ...]:
    """The families among the chosen variables, which are in order."""
    ends = [int(np.searchsorted(chosen, part.stop)) for part in problem.families]
    starts = [0, *ends[:-1]]
    return tuple(slice(a, b) for a, b in zip(starts, ends, strict=True) if b > a)
