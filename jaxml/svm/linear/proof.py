"""Bounds the distance of a linear solution from the optimum, in float64."""

from typing import NamedTuple

import numpy as np

from jaxml.svm.linear.problems import LinearProblems
from jaxml.svm.linear.rows import Rows


class Proof(NamedTuple):
    """Both objectives of each problem: no point is better than the dual.

    Attributes:
      primal: `[problems]` float64.
      dual: `[problems]` float64, of a feasible point.
      variables: `[problems, rows]` float64: that point.
    """

    primal: np.ndarray
    dual: np.ndarray
    variables: np.ndarray

    @property
    def relative_gap(self) -> np.ndarray:
        """`[problems]`: primal minus dual, relative to the primal; infinite where not finite."""
        return relative_gap(self.primal, self.dual)


def relative_gap(primal: np.ndarray, dual: np.ndarray) -> np.ndarray:
    """Divides primal minus dual by the primal; infinite where either is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap = (primal - dual) / np.maximum(np.abs(primal), 1e-300)
    return np.where(np.isfinite(gap), gap, np.inf)


def prove(
    problems: LinearProblems,
    rows: Rows,
    weights: np.ndarray,
    intercept: np.ndarray,
    variables: np.ndarray,
    *,
    loss: str,
    l1: bool = False,
) -> Proof:
    """Evaluates both objectives of a solution.

    Args:
      problems: that were solved.
      rows: the examples.
      weights: `[problems, features]`.
      intercept: `[problems]`.
      variables: `[problems, rows]` of the dual. Rounding and the equality constraint of a free
        intercept may make them infeasible: the nearest feasible point is taken.
      loss: one of `jaxml.svm.linear.problems.LOSSES`.
      l1: whether the penalty is the sum of the absolute weights, the intercept's included.

    Returns:
      The proof.
    """
    problems = problems.in_double()
    weights, intercept = np.asarray(weights, np.float64), np.asarray(intercept, np.float64)
    losses, weight = problems.losses(loss), problems.intercept
    dual = np.array(variables, np.float64)
    for k, each in enumerate(losses):
        low, high = each.bounds()
        dual[k] = balanced(dual[k], low, high) if weight[k] == 0 else np.clip(dual[k], low, high)
    products, sums = _through(rows, weights, dual)
    products += intercept[:, None]
    own = dual.sum(1)
    lost = np.array([each.primal(line) for each, line in zip(losses, products, strict=True)])
    priced = np.where(np.isfinite(weight), weight, 0)
    inverse = np.where(priced > 0, 1 / np.where(priced > 0, priced, 1), 0)
    if l1:
        largest = np.maximum(np.abs(sums).max(1, initial=0), np.abs(own) * inverse)
        dual /= np.maximum(largest, 1)[:, None]
        penalty = np.abs(weights).sum(1) + priced * np.abs(intercept)
        taken = np.zeros_like(penalty)
    else:
        penalty = (np.square(weights).sum(1) + priced * np.square(intercept)) / 2
        taken = (np.square(sums).sum(1) + np.square(own) * inverse) / 2
    value = np.array([each.dual(line) for each, line in zip(losses, dual, strict=True)])
    return Proof(penalty + lost, value - taken, dual)


def balanced(point: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Finds the nearest point within bounds that sums to 0, by bisection of its shift.

    Args:
      point: `[rows]`.
      low: `[rows]`, at most 0.
      high: `[rows]`, at least 0.

    Returns:
      `[rows]`, within the bounds; its sum is 0 up to rounding.
    """
    if low.any() and high.any():
        size = np.abs(point).max(initial=0.0)
        below, above = -2 * size - 1, 2 * size + 1
        shift = 0.0
        for _ in range(100):
            shift = (below + above) / 2
            if np.clip(point - shift, low, high).sum() > 0:
                below = shift
            else:
                above = shift
        found = np.clip(point - shift, low, high)
        free = (low < found) & (found < high)
        if free.any():  # what the bisection leaves is shared by the variables that can move
            found = np.where(free, found - found.sum() / free.sum(), found)
        return np.clip(found, low, high)
    return np.zeros_like(point)


def _through(rows: Rows, weights: np.ndarray, dual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[problems, rows]` products and `[problems, features]` sums, in one pass."""
    products, sums = np.empty_like(dual), np.zeros(weights.T.shape)
    turned = np.ascontiguousarray(weights.T)
    for part, x in rows.blocks():
        x = x.astype(np.float64, copy=False)
        products[:, part] = (x @ turned).T
        sums += x.T @ np.ascontiguousarray(dual[:, part].T)
    return products, sums.T
