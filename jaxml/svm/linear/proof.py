"""How far a linear solution is from the optimum at most, evaluated in float64."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.svm.linear import problems as linear_problems
from jaxml.svm.linear.problems import LinearProblems, is_of_classes, is_squared
from jaxml.svm.linear.rows import Rows
from jaxml.svm.objectives import box


class Proof(NamedTuple):
    """Both objectives of each problem: no point is better than the dual says.

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
        """`[problems]`: primal minus dual, as a part of the primal."""
        return (self.primal - self.dual) / np.maximum(np.abs(self.primal), 1e-300)


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
      variables: `[problems, rows]`: of the dual, not feasible by rounding or by the intercept's
        equation: the nearest point that is feasible is taken.
      loss: one of `jaxml.svm.linear.problems.LOSSES`.
      l1: whether the penalty is the sum of the absolute weights, the intercept's included.

    Returns:
      The proof.
    """
    with jax.enable_x64(True):
        exact = LinearProblems(*(jnp.asarray(np.asarray(part, np.float64)) for part in problems))
        weights, intercept = (np.asarray(part, np.float64) for part in (weights, intercept))
        dual = _feasible(exact, np.asarray(variables, np.float64), loss=loss)
        products, sums = _through(rows, weights, dual)
        products += intercept[:, None]
        own = dual.sum(1)
        lost = np.asarray(linear_problems.loss_sum(exact, jnp.asarray(products), loss=loss))
        weight = np.asarray(exact.intercept)
        if l1:
            priced = np.where(weight > 0, np.abs(own) / np.where(weight > 0, weight, 1), 0)
            largest = np.maximum(np.abs(sums).max(1), priced)
            dual /= np.maximum(largest, 1)[:, None]
            penalty = np.abs(weights).sum(1) + weight * np.abs(intercept)
            taken = np.zeros_like(penalty)
        else:
            penalty = (np.square(weights).sum(1) + weight * np.square(intercept)) / 2
            apart = np.where(weight > 0, np.square(own) / np.where(weight > 0, weight, 1), 0)
            taken = (np.square(sums).sum(1) + apart) / 2
        value = np.asarray(linear_problems.dual_sum(exact, jnp.asarray(dual), loss=loss)) - taken
    return Proof(penalty + lost, value, dual)


def _feasible(problems: LinearProblems, dual: np.ndarray, *, loss: str) -> np.ndarray:
    """The nearest point within the bounds and, where the intercept is free, of sum 0."""
    high = jnp.inf * problems.cost if is_squared(loss) else problems.cost
    high = jnp.where(problems.cost > 0, high, 0)
    low = -high
    if is_of_classes(loss):
        low = jnp.where(problems.target < 0, low, 0)
        high = jnp.where(problems.target > 0, high, 0)
    within = jnp.clip(jnp.asarray(dual), low, high)
    if (problems.intercept > 0).all():
        return np.array(within)
    level = jax.vmap(box.project)(within, low, high)
    return np.array(jnp.where((problems.intercept > 0)[:, None], within, level))


def _through(rows: Rows, weights: np.ndarray, dual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[problems, rows]` products and `[problems, features]` sums, in one pass."""
    products, sums = np.empty_like(dual), np.zeros_like(weights)
    for part, x in rows.blocks():
        x = x.astype(np.float64)
        products[:, part] = (x @ weights.T).T
        sums += (x.T @ dual[:, part].T).T
    return products, sums
