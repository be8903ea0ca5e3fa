"""Solvers of linear support vector machines, and training to a verified duality gap."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from jaxml.errors import InputError
from jaxml.svm._threads import blas_threads
from jaxml.svm.linear._examples import Examples, as_examples
from jaxml.svm.linear._l1 import solve_l1
from jaxml.svm.linear._newton import solve_l2
from jaxml.svm.linear._problems import LinearProblems
from jaxml.svm.linear._solution import (
    Limits,
    LinearProgress,
    LinearSolution,
    LinearState,
    relative_gap,
)

# The penalty of an intercept that is fixed at 0.
NO_INTERCEPT = np.inf
# Sums of products of larger features overflow.
_LARGEST = 1e100
# How often a solution is improved whose gap float64 finds too large, and each factor of the goal.
_ATTEMPTS, _SHARPER = 3, 0.3


def solve(
    problems: LinearProblems,
    examples: Examples,
    *,
    loss: str,
    penalty: str = "l2",
    start: LinearState | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 1000,
    report: Callable[[LinearProgress], None] | None = None,
    precise: bool = False,
) -> LinearSolution:
    """Minimizes each problem until its relative duality gap is within the tolerance.

    Args:
      problems: The problems.
      examples: Their examples.
      loss: One of `LOSSES`.
      penalty: "l2", or "l1" with the squared hinge loss: the L1 norm of the weights plus
        `intercept_penalty` times the absolute intercept.
      start: The state to start from. None starts from zero, or from the solution for a subsample.
      tolerance: Tolerance of the duality gap, relative to the primal.
      max_steps: Maximum number of Newton steps.
      report: Called with the progress after each step. It may raise `KeyboardInterrupt` to stop.
      precise: Whether all products are in float64, instead of float32 first for large examples.

    Returns:
      The solution, or the best points that were found.

    Raises:
      InputError: More than 8192 of more than 4096 features have non-zero weights with "l1".
    """
    problems, limits = problems.to_float64(), Limits(tolerance, max_steps, report)
    if penalty == "l1":
        return solve_l1(problems, examples, start, limits)
    return solve_l2(problems, examples, loss, start, limits, precise=precise)


class Certificate(NamedTuple):
    """The primal objectives of solutions, and lower bounds of the optima, in float64."""

    primal: np.ndarray  # `[problems]`
    dual: np.ndarray  # `[problems]`: the dual objectives of `variables`
    variables: np.ndarray  # `[problems, examples]`: feasible dual variables

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
        dual[k] = each.feasible(dual[k], is_balanced=bool(rho[k] == 0))
    decisions, sums = _products(examples, weights, dual)
    decisions += intercept[:, None]
    total = dual.sum(1)
    with blas_threads(1):  # threads wait for each other longer than these sums take
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
    with blas_threads(1):
        value = np.array([each.dual(row) for each, row in zip(losses, dual, strict=True)])
    return Certificate(regularizer + lost, value - conjugate, dual)


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


@dataclass(frozen=True)
class LinearFit:
    """Verified solutions of linear problems."""

    state: LinearState  # the weights and intercepts, from which another call can resume
    certificate: Certificate
    steps: int  # number of Newton steps
    converged: bool  # whether all relative gaps of the certificate are within the tolerance


def fit(
    x: Any,
    target: np.ndarray,
    cost: np.ndarray,
    *,
    loss: str,
    penalty: str = "l2",
    epsilon: float = 0.0,
    intercept_penalty: float = 1.0,
    tolerance: float = 1e-4,
    max_steps: int = 1000,
    start: LinearState | None = None,
    report: Callable[[LinearProgress], None] | None = None,
) -> LinearFit:
    """Solves problems over the same examples and verifies the solutions in float64.

    `x` is an array or matrix for `as_examples`, and `target` and `cost` `[problems, examples]` and
    the numbers `epsilon` and `intercept_penalty` are those of `LinearProblems`. Other arguments are
    those of `solve`; the tolerance is that of the verified gap.

    Returns:
      The solutions. `sklearn.exceptions.ConvergenceWarning` is issued if a gap is too large.
    """
    examples, count = _checked(x), len(target)
    problems = LinearProblems(
        np.asarray(target, np.float64),
        np.asarray(cost, np.float64),
        np.full(count, float(epsilon)),
        np.full(count, float(intercept_penalty)),
    )
    goal, steps, attempts = tolerance, 0, 0
    while True:
        found = solve(
            problems, examples, loss=loss, penalty=penalty, start=start, tolerance=goal,
            max_steps=max_steps - steps, report=report, precise=attempts > 0,
        )  # fmt: skip
        start, steps, attempts = found.state, steps + found.progress.steps, attempts + 1
        certificate = certify(problems, examples, start, loss=loss, penalty=penalty)
        converged = bool((certificate.relative_gap <= tolerance).all())
        # A solver that has stalled in float64 would stall again.
        ended = found.interrupted or not found.converged or steps >= max_steps
        if converged or ended or attempts == _ATTEMPTS:
            break
        goal *= _SHARPER
    if not converged:
        advice = "scale the features, or decrease C"
        if steps >= max_steps:
            advice = "increase max_iter, or refit with warm_start=True to continue"
        warnings.warn(
            f"after {steps} steps the relative duality gap is "
            f"{certificate.relative_gap.max():.1e}, not {tolerance:g}; {advice}",
            ConvergenceWarning,
            stacklevel=3,
        )
    return LinearFit(start, certificate, steps, converged)


def _checked(x: Any) -> Examples:
    """Wraps the examples, and raises `InputError` if products of them could overflow."""
    if isinstance(x, Examples):
        return x
    values = x.data if scipy.sparse.issparse(x) else x
    if values.size and max(abs(float(values.max())), abs(float(values.min()))) > _LARGEST:
        raise InputError(f"`X` must have no values beyond {_LARGEST:g}; scale the features")
    return as_examples(x)
