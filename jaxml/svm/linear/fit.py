"""A linear support vector machine from arrays to a proven solution: what the estimators share."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from jaxml.errors import InputError
from jaxml.svm.linear import l1, solver
from jaxml.svm.linear.problems import LinearProblems
from jaxml.svm.linear.proof import Proof, prove
from jaxml.svm.linear.rows import DenseRows, Rows, SparseRows, StreamedRows, as_rows
from jaxml.svm.linear.solver import LinearProgress, LinearSolution, LinearState

# The weight of an intercept's square that leaves none of it.
NO_INTERCEPT = np.inf
# Sums of products of larger features overflow.
LARGEST = 1e100
# How often a solution that is not proven is improved upon, and to which part of the tolerance.
ATTEMPTS, SHARPER = 3, 0.3


@dataclass(frozen=True)
class LinearFit:
    """A solution of some problems.

    Attributes:
      weights: `[problems, features]` float64.
      intercept: `[problems]` float64.
      proof: of both objectives.
      steps: of Newton's method.
      converged: whether the proven gaps are within the tolerance.
      state: from which it could resume.
    """

    weights: np.ndarray
    intercept: np.ndarray
    proof: Proof
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
    intercept: float = 1.0,
    tolerance: float = 1e-4,
    max_steps: int = 1000,
    start: LinearState | None = None,
    report: Callable[[LinearProgress], None] | None = None,
) -> LinearFit:
    """Solves problems over the same examples.

    Args:
      x: `[rows, features]`: as `rows.as_rows` takes it.
      target: `[problems, rows]`: -1 and 1, or real values.
      cost: `[problems, rows]`: C times the weight, at least 0.
      loss: one of `jaxml.svm.linear.problems.LOSSES`.
      penalty: l2, or with the squared hinge l1.
      epsilon: half the width of the tube of regression.
      intercept: weight of the intercept's penalty; 0 leaves it free, infinity fixes it at 0.
      tolerance: of the proven gap, relative to the primal.
      max_steps: of Newton's method.
      start: where to begin.
      report: called with the progress after each step.

    Returns:
      The solution. Where it is not proven, `sklearn.exceptions.ConvergenceWarning` is issued.
    """
    rows = _rows(x)
    count = len(target)
    problems = LinearProblems(
        np.asarray(target, np.float64),
        np.asarray(cost, np.float64),
        np.full(count, float(epsilon)),
        np.full(count, float(intercept)),
    )
    solve = l1.solve if penalty == "l1" else partial(solver.solve, loss=loss)
    options = {"start": start, "max_steps": max_steps, "report": report}
    state, proof, steps = _solve_until_proven(
        solve, problems, rows, loss=loss, l1=penalty == "l1", tolerance=tolerance, **options
    )
    converged = bool((proof.relative_gap <= tolerance).all())
    if not converged:
        warnings.warn(
            f"after {steps} steps the relative duality gap is {proof.relative_gap.max():.1e}, not "
            f"{tolerance:g}; {_advice(steps >= max_steps)}",
            ConvergenceWarning,
            stacklevel=3,
        )
    return LinearFit(state.weights, state.intercept, proof, steps, converged, state)


def _advice(budget_spent: bool) -> str:
    again = "increase max_iter, or refit with warm_start=True to continue"
    return again if budget_spent else "scale the features, or use a smaller C"


def _solve_until_proven(
    solve: Callable[..., LinearSolution],
    problems: LinearProblems,
    rows: Rows,
    *,
    loss: str,
    l1: bool,
    tolerance: float,
    max_steps: int,
    start: LinearState | None,
    report: Callable[[LinearProgress], None] | None,
) -> tuple[LinearState, Proof, int]:
    """Solves to a smaller gap than asked for, where the proof in float64 finds that too large."""
    goal, steps, attempts = tolerance, 0, 0
    while True:
        found = solve(
            problems,
            rows,
            start=start,
            tolerance=goal,
            max_steps=max_steps - steps,
            report=report,
            precise=attempts > 0,
        )
        start, steps, attempts = found.state, steps + found.progress.steps, attempts + 1
        state = found.state
        proof = prove(problems, rows, state.weights, state.intercept, state.dual, loss=loss, l1=l1)
        proven = (proof.relative_gap <= tolerance).all()
        # A solver that has stalled in float64 would do so again.
        ended = found.interrupted or not found.converged or steps >= max_steps
        if proven or ended or attempts == ATTEMPTS:
            return state, proof, steps
        goal *= SHARPER


def _rows(x: Any) -> Rows:
    """The examples, whose numbers are small enough to be multiplied."""
    if isinstance(x, DenseRows | SparseRows | StreamedRows):
        return x
    values = x.data if scipy.sparse.issparse(x) else x
    if values.size and max(abs(float(values.max())), abs(float(values.min()))) > LARGEST:
        raise InputError(f"X: values beyond {LARGEST:g} are not allowed; scale the data")
    return as_rows(x)
