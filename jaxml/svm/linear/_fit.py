"""Training of linear support vector machines to a verified duality gap."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from jaxml.errors import InputError
from jaxml.svm.linear._certificate import Certificate, certify
from jaxml.svm.linear._dense import DenseExamples, StreamedExamples
from jaxml.svm.linear._examples import Examples, as_examples
from jaxml.svm.linear._l1 import solve_l1
from jaxml.svm.linear._newton import Report, solve
from jaxml.svm.linear._problems import LinearProblems
from jaxml.svm.linear._solution import LinearSolution, LinearState
from jaxml.svm.linear._sparse import SparseExamples

# The penalty of an intercept that is fixed at 0.
NO_INTERCEPT = np.inf
# Sums of products of larger features overflow.
_LARGEST = 1e100
# How often a solution is improved whose gap float64 finds too large, and each factor of the goal.
_ATTEMPTS, _SHARPER = 3, 0.3


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
      target: `[problems, examples]`: -1 and 1, or real values.
      cost: `[problems, examples]`: C times the sample weight, non-negative.
      loss: One of `LOSSES`.
      penalty: "l2", or "l1" with the squared hinge loss.
      epsilon: Half the width of the insensitive tube in regression.
      intercept_penalty: Weight of the intercept's penalty. With 0 the intercept is free, with
        `NO_INTERCEPT` it is fixed at 0.
      tolerance: Tolerance of the verified duality gap, relative to the primal.
      max_steps: Maximum number of Newton steps.
      start: The state to start from.
      report: Called with the progress after each step. It may raise `KeyboardInterrupt` to stop.

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
    is_l1 = penalty == "l1"
    solver = solve_l1 if is_l1 else partial(solve, loss=loss)
    state, certificate, steps = _solve_and_certify(
        partial(solver, problems, examples, report=report),
        partial(certify, problems, examples, loss=loss, l1=is_l1),
        start, tolerance, max_steps, has_precision=not is_l1,
    )  # fmt: skip
    converged = bool((certificate.relative_gap <= tolerance).all())
    if not converged:
        advice = "scale the features, or decrease C"
        if steps >= max_steps:
            advice = "increase max_iter, or refit with warm_start=True to continue"
        gap = certificate.relative_gap.max()
        warnings.warn(
            f"after {steps} steps the relative duality gap is {gap:.1e}, not {tolerance:g}; "
            f"{advice}",
            ConvergenceWarning,
            stacklevel=3,
        )
    return LinearFit(state.weights, state.intercept, certificate, steps, converged, state)


def _solve_and_certify(
    solve: Callable[..., LinearSolution],
    certify: Callable[..., Certificate],
    start: LinearState | None,
    tolerance: float,
    max_steps: int,
    *,
    has_precision: bool,
) -> tuple[LinearState, Certificate, int]:
    """Solves with smaller tolerances while the certified gap is too large."""
    goal, steps = tolerance, 0
    options = {}
    for _ in range(_ATTEMPTS):
        found = solve(start=start, tolerance=goal, max_steps=max_steps - steps, **options)
        start, steps = found.state, steps + found.progress.steps
        certificate = certify(start.weights, start.intercept, start.dual)
        # A solver that has stalled in float64 would stall again.
        ended = found.interrupted or not found.converged or steps >= max_steps
        if ended or (certificate.relative_gap <= tolerance).all():
            break
        goal *= _SHARPER
        options = {"precise": True} if has_precision else {}
    return start, certificate, steps


def _checked(x: Any) -> Examples:
    """Wraps the examples, and raises `InputError` if products of them could overflow."""
    if isinstance(x, DenseExamples | SparseExamples | StreamedExamples):
        return x
    values = x.data if scipy.sparse.issparse(x) else x
    if values.size and max(abs(float(values.max())), abs(float(values.min()))) > _LARGEST:
        raise InputError(f"`X` must have no values beyond {_LARGEST:g}; scale the features")
    return as_examples(x)
