"""Solvers of linear support vector machines, and training to a verified duality gap."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from jaxml.errors import InputError
from jaxml.svm.linear._certificate import Certificate, certify
from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._l1 import solve_l1
from jaxml.svm.linear._newton import Report, solve_l2
from jaxml.svm.linear._problems import LinearProblems
from jaxml.svm.linear._solution import LinearSolution, LinearState
from jaxml.svm.linear._sparse import as_examples

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
    report: Report | None = None,
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
    if penalty == "l1":
        return solve_l1(
            problems, examples, start=start, tolerance=tolerance, max_steps=max_steps, report=report
        )
    return solve_l2(
        problems, examples, loss=loss, start=start, tolerance=tolerance, max_steps=max_steps,
        report=report, precise=precise,
    )  # fmt: skip


@dataclass(frozen=True)
class LinearFit:
    """Solutions of linear problems.

    Attributes:
      weights: `[problems, features]` float64.
      intercept: `[problems]` float64.
      certificate: The primal and dual objectives.
      steps: Number of Newton steps.
      converged: Whether all relative gaps of the certificate are within the tolerance.
      state: The state from which another call can resume.
    """

    weights: np.ndarray
    intercept: np.ndarray
    certificate: Certificate
    steps: int
    converged: bool
    state: LinearState


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
    report: Report | None = None,
) -> LinearFit:
    """Solves problems over the same examples and verifies the solutions in float64.

    Args:
      x: `[examples, features]`, as accepted by `as_examples`.
      target: See `LinearProblems`.
      cost: See `LinearProblems`.
      loss: See `solve`.
      penalty: See `solve`.
      epsilon: Half the width of the insensitive tube in regression.
      intercept_penalty: Weight of the intercept's penalty. With 0 the intercept is free, with
        `NO_INTERCEPT` it is fixed at 0.
      tolerance: Tolerance of the verified duality gap, relative to the primal.
      max_steps: See `solve`.
      start: See `solve`.
      report: See `solve`.

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
        _warn(certificate, steps, tolerance, is_budget_spent=steps >= max_steps)
    return LinearFit(start.weights, start.intercept, certificate, steps, converged, start)


def _warn(certificate: Certificate, steps: int, tolerance: float, *, is_budget_spent: bool) -> None:
    advice = "scale the features, or decrease C"
    if is_budget_spent:
        advice = "increase max_iter, or refit with warm_start=True to continue"
    warnings.warn(
        f"after {steps} steps the relative duality gap is {certificate.relative_gap.max():.1e}, "
        f"not {tolerance:g}; {advice}",
        ConvergenceWarning,
        stacklevel=4,
    )


def _checked(x: Any) -> Examples:
    """Wraps the examples, and raises `InputError` if products of them could overflow."""
    if isinstance(x, Examples):
        return x
    values = x.data if scipy.sparse.issparse(x) else x
    if values.size and max(abs(float(values.max())), abs(float(values.min()))) > _LARGEST:
        raise InputError(f"`X` must have no values beyond {_LARGEST:g}; scale the features")
    return as_examples(x)
