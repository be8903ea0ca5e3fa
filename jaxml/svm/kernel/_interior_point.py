"""A primal-dual interior-point method for one dual problem, in float64 on the host.

Each iteration solves one linear system with the kernel matrix plus a diagonal. The number of
iterations, 20 to 40, does not depend on the scale of the data or on the penalty parameter, where
moving pairs of variables can take millions of steps. The cost is cubic in the number of columns.

Source: Mehrotra, "On the implementation of a primal-dual interior point method", 1992; Ferris and
Munson, "Interior-point methods for massive support vector machines", 2002.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from jaxml.svm.kernel._host_problem import HostProblem

_MAX_ITERATIONS = 80


class _Point(NamedTuple):
    """An iterate: variables, distances to the upper bounds, and the multipliers."""

    value: np.ndarray
    room: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: np.ndarray


def solve(problem: HostProblem, kernel: np.ndarray, tolerance: float) -> np.ndarray:
    """Returns feasible values with the smallest violation that was found.

    Some are exactly at their bounds. Iterations stop at a violation within the tolerance.
    """
    diagonal = np.maximum(np.diagonal(kernel).mean(), 1e-300)
    point = _start(problem, kernel, diagonal)
    best, least = None, np.inf
    for _ in range(_MAX_ITERATIONS):
        with np.errstate(all="ignore"):
            moved = _step(problem, kernel, point)
        if moved is None:
            break
        point = moved
        size = np.abs(point.value).sum() * np.abs(point.level).max(initial=1e-300)
        gap = point.value @ point.low + point.room @ point.high
        if gap > 0.1 * (size + abs(problem.linear @ point.value)):
            continue
        for found in _rounded(problem, kernel, point, diagonal):
            violation = problem.violation(found, problem.scores(kernel, found))
            if violation < least:
                best, least = found, violation
        if least <= tolerance:
            break
    return problem.project(point.value) if best is None else best


def _start(problem: HostProblem, kernel: np.ndarray, diagonal: float) -> _Point:
    """A point within the bounds whose multipliers match its gradient."""
    scale = max(np.abs(problem.linear).max(), 1e-3)
    value = np.minimum(problem.upper / 2, scale / diagonal)
    slope = problem.gradient(kernel, value) * problem.sign
    level = np.array([np.median(slope[part]) for part in problem.constraints])
    excess = problem.sign * (slope - problem.spread(level))
    size = np.abs(excess).mean() + scale
    low, high = np.maximum(excess, 0) + size, np.maximum(-excess, 0) + size
    return _Point(value, problem.upper - value, low, high, level)


def _step(problem: HostProblem, kernel: np.ndarray, point: _Point) -> _Point | None:
    """One predictor-corrector step; None if the system can no longer be factorized."""
    value, room, low, high, level = point
    barrier = (value @ low + room @ high) / (2 * len(value))
    ratio = low / value + high / room
    solve = _factorize(problem, kernel, ratio)
    if solve is None:
        return None
    slope = problem.sign * problem.spread(level) - problem.gradient(kernel, value)
    missing = problem.total - problem.totals(value)

    def direction(target: Any, second_low: Any, second_high: Any) -> tuple[Any, ...]:
        to_low = (target - second_low) / value
        to_high = (target - second_high) / room
        by, by_level = solve(slope + to_low - to_high, missing)
        return by, by_level, to_low - low - low / value * by, to_high - high + high / room * by

    by, _, by_low, by_high = direction(0.0, 0.0, 0.0)
    step, dual_step = _length(value, by, room, -by), _length(low, by_low, high, by_high)
    left = (value + step * by) @ (low + dual_step * by_low)
    left += (room - step * by) @ (high + dual_step * by_high)
    centring = (left / (2 * len(value) * barrier)) ** 3
    by, by_level, by_low, by_high = direction(centring * barrier, by * by_low, -by * by_high)
    longest = min(_length(value, by, room, -by), _length(low, by_low, high, by_high))
    step = min(1.0, 0.995 * longest)
    change = (by, -by, by_low, by_high, by_level)
    moved = _Point(*(part + step * by_part for part, by_part in zip(point, change, strict=True)))
    positive = all((part > 0).all() for part in moved[:4])
    return moved if positive and np.isfinite(moved.level).all() else None


def _length(first: Any, by_first: Any, second: Any, by_second: Any) -> float:
    """The longest step, at most 1 / 0.995, that keeps both arrays positive."""
    shrink = max((-by_first / first).max(), (-by_second / second).max())
    return min(1 / shrink, 1 / 0.995) if shrink > 0 else 1 / 0.995


def _factorize(
    problem: HostProblem, kernel: np.ndarray, ratio: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """Factorizes the Newton system, with as little added to its diagonal as necessary.

    Returns:
      A function of the slope and the missing sums that returns the changes of the variables and of
      the levels; None if the system cannot be factorized.
    """
    by_column = 1 / problem.by_column(1 / ratio)
    size = np.diagonal(kernel).max() * np.finfo(float).eps
    for jitter in (0.0, 1.0, 1e2, 1e4, 1e6):
        matrix = kernel.copy()
        diagonal = by_column + jitter * size
        np.einsum("ii->i", matrix)[...] += diagonal
        try:
            factor = scipy.linalg.cho_factor(
                matrix.T, lower=True, overwrite_a=True, check_finite=False
            )
            break
        except np.linalg.LinAlgError:
            continue
    else:
        return None
    answers = scipy.linalg.cho_solve(factor, problem.members, check_finite=False)
    levels = problem.members.T @ answers

    def solve(slope: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pulled = problem.by_column(problem.sign * slope / ratio) * diagonal
        own = scipy.linalg.cho_solve(factor, pulled, check_finite=False)
        level = np.linalg.lstsq(levels, missing - problem.members.T @ own)[0]
        weight = own + answers @ level
        # This is kernel @ weight, from the system that the weight solves.
        products = pulled + problem.members @ level - diagonal * weight
        pull = problem.sign * (problem.spread(level) - products[problem.column])
        return (slope + pull) / ratio, level

    return solve


def _rounded(
    problem: HostProblem, kernel: np.ndarray, point: _Point, diagonal: float
) -> Iterator[np.ndarray]:
    """Rounds variables to their bounds, and then solves for the others exactly."""
    value = point.value.copy()
    value[point.value * diagonal < point.low] = 0
    at_top = point.room * diagonal < point.high
    value[at_top] = problem.upper[at_top]
    yield problem.project(value)
    for _ in range(4):
        free = np.flatnonzero((value > 0) & (value < problem.upper))
        if not len(free):
            break
        value = _solved_within(problem, kernel, value, free)
    yield problem.project(value)


def _solved_within(
    problem: HostProblem, kernel: np.ndarray, value: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """One Newton step of the free variables, clipped to their bounds."""
    column = problem.column[free]
    sign = problem.sign[free]
    inner = kernel[np.ix_(column, column)] * sign * sign[:, None]
    # Many examples on the margin make it singular: the ridge selects the nearest solution.
    np.einsum("ii->i", inner)[...] += 1e-9 * np.diagonal(inner).max() + 1e-300
    members = (sign[:, None] * problem.members[column]).astype(float)
    used = members.any(0)
    members = members[:, used]
    slope = -problem.gradient(kernel, value)[free]
    missing = (problem.total - problem.totals(value))[used]
    try:
        factor = scipy.linalg.cho_factor(inner, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return value
    answers = scipy.linalg.cho_solve(factor, np.column_stack([slope, members]), check_finite=False)
    levels = members.T @ answers[:, 1:]
    level = np.linalg.lstsq(levels, missing - members.T @ answers[:, 0])[0]
    by = answers[:, 0] + answers[:, 1:] @ level
    if not np.isfinite(by).all():
        return value
    moved = value.copy()
    moved[free] = np.clip(value[free] + by, 0, problem.upper[free])
    return moved
