"""Sequential minimal optimization of one dual problem in float64 on the host."""

import numpy as np

from jaxml.svm.kernel._host_problem import HostProblem


def pair_steps(kernel: np.ndarray, num_variables: int) -> int:
    """Returns the number of steps that take about as long as the interior-point method."""
    size = len(kernel)
    return max(4 * num_variables, int(size + size**3 / 1.2e5))


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
    at = problem.variables(value, np.zeros_like(value))
    up, low = at.up(), at.low()

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
