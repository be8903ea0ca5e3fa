"""Optimality certificates of linear solutions: primal and dual objectives in float64."""

from typing import NamedTuple

import numpy as np

from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._problems import LinearProblems
from jaxml.svm.linear._solution import LinearState, relative_gap


class Certificate(NamedTuple):
    """The primal objectives of solutions, and lower bounds of the optima.

    Attributes:
      primal: `[problems]` float64.
      dual: `[problems]` float64: the dual objectives of `variables`.
      variables: `[problems, examples]` float64: feasible dual variables.
    """

    primal: np.ndarray
    dual: np.ndarray
    variables: np.ndarray

    @property
    def relative_gap(self) -> np.ndarray:
        """The duality gap over the primal, `[problems]`; infinite if not finite."""
        return relative_gap(self.primal, self.dual)


def certify(
    problems: LinearProblems,
    examples: Examples,
    state: LinearState,
    *,
    loss: str,
    penalty: str = "l2",
) -> Certificate:
    """Evaluates the primal and the dual objective of a state in float64.

    Dual variables are projected to feasible ones. The arguments are those of `solve`.
    """
    problems = problems.to_float64()
    weights, intercept, dual = (np.array(array, np.float64) for array in state[:3])
    losses, rho = problems.losses(loss), problems.intercept_penalty
    for k, each in enumerate(losses):
        low, high = each.bounds()
        dual[k] = balance(dual[k], low, high) if rho[k] == 0 else np.clip(dual[k], low, high)
    decisions, sums = _products(examples, weights, dual)
    decisions += intercept[:, None]
    total = dual.sum(1)
    lost = np.array([each.primal(row) for each, row in zip(losses, decisions, strict=True)])
    finite = np.where(np.isfinite(rho), rho, 0)
    inverse = np.where(finite > 0, 1 / np.where(finite > 0, finite, 1), 0)
    if penalty == "l1":
        largest = np.maximum(np.abs(sums).max(1, initial=0), np.abs(total) * inverse)
        dual /= np.maximum(largest, 1)[:, None]
        regularizer = np.abs(weights).sum(1) + finite * np.abs(intercept)
        conjugate = np.zeros_like(regularizer)
    else:
        regularizer = (np.square(weights).sum(1) + finite * np.square(intercept)) / 2
        conjugate = (np.square(sums).sum(1) + np.square(total) * inverse) / 2
    value = np.array([each.dual(row) for each, row in zip(losses, dual, strict=True)])
    return Certificate(regularizer + lost, value - conjugate, dual)


def balance(point: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Projects a point onto a box that contains 0 and the hyperplane of sum 0, by bisection."""
    if not (low.any() and high.any()):
        return np.zeros_like(point)
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
    if free.any():  # the variables within their bounds share the remainder of the bisection
        found = np.where(free, found - found.sum() / free.sum(), found)
    return np.clip(found, low, high)


def _products(
    examples: Examples, weights: np.ndarray, dual: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Products with the weights and sums weighted by the dual variables, in one pass."""
    products, sums = np.empty_like(dual), np.zeros(weights.T.shape)
    transposed = np.ascontiguousarray(weights.T)
    for part, x in examples.blocks():
        x = x.astype(np.float64, copy=False)
        products[:, part] = (x @ transposed).T
        sums += x.T @ np.ascontiguousarray(dual[:, part].T)
    return products, sums.T
