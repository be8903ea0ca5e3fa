"""A linear support vector machine from arrays to a proven solution: what the estimators share."""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from jaxml.errors import InputError
from jaxml.svm.linear import l1, solver
from jaxml.svm.linear.problems import LinearProblems
from jaxml.svm.linear.proof import Proof, prove
from jaxml.svm.linear.rows import DenseRows, Rows, SparseRows, StreamedRows, as_rows, stays_sparse
from jaxml.svm.linear.solver import LinearProgress, LinearSolution, LinearState

# The weight of an intercept's square that leaves none of it.
NO_INTERCEPT = 1e12
# Up to so many rows, sizes are rounded up, so that sets of similar sizes share programs.
MOST_PADDED = 4096
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
      state: from which it could go on.
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
      x: `[rows, features]`: as `rows.as_rows` takes it; float64 is cast where jax works in float32.
      target: `[problems, rows]`: -1 and 1, or real values.
      cost: `[problems, rows]`: C times the weight, at least 0.
      loss: one of `jaxml.svm.linear.problems.LOSSES`.
      penalty: l2, or with the squared hinge l1.
      epsilon: half the width of the tube of regression.
      intercept: weight of the intercept's penalty; 0 leaves it free.
      tolerance: of the proven gap, as a part of the primal.
      max_steps: of Newton's method.
      start: where to begin.
      report: is told after each step where it stands.

    Returns:
      The solution. Where it is not proven, `sklearn.exceptions.ConvergenceWarning` is issued.
    """
    with _precision(x):
        rows, count = _prepare(x)
        dtype, padding = rows.dtype, ((0, 0), (0, rows.num_rows - count))
        problems = LinearProblems(
            jnp.asarray(np.pad(target, padding, constant_values=1), dtype),
            jnp.asarray(np.pad(cost, padding), dtype),
            jnp.full(len(target), epsilon, dtype),
            jnp.full(len(target), intercept, dtype),
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
            f"{tolerance:g}; more max_iter, or warm_start=True and fit again, goes on",
            ConvergenceWarning,
            stacklevel=3,
        )
    weights, own, _ = _host(state)
    features = x.shape[1] if hasattr(x, "shape") else rows.num_features
    return LinearFit(
        weights[:, :features].astype(np.float64),
        own.astype(np.float64) * (intercept < NO_INTERCEPT),
        proof._replace(variables=proof.variables[:, :count]),
        steps,
        converged,
        state,
    )


def _precision(x: Any) -> Any:
    """Float64 where the products are SciPy's, to which it makes little difference.

    Sparse features are often counts, of very different sizes: in float32 it ends far from the
    optimum of those.
    """
    by_scipy = scipy.sparse.issparse(x) and stays_sparse(x) and jax.default_backend() == "cpu"
    return jax.enable_x64(True) if by_scipy else contextlib.nullcontext()


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
    """To a smaller gap than asked for, where the proof in float64 finds that too large."""
    goal, steps, attempts = tolerance, 0, 0
    while True:
        left = max_steps - steps
        found = solve(problems, rows, start=start, tolerance=goal, max_steps=left, report=report)
        start, steps, attempts = found.state, steps + found.progress.steps, attempts + 1
        proof = prove(problems, rows, *_host(found.state), loss=loss, l1=l1)
        proven = (proof.relative_gap <= tolerance).all()
        if proven or found.interrupted or steps >= max_steps or attempts == ATTEMPTS:
            return found.state, proof, steps
        goal *= SHARPER


def _host(state: LinearState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.asarray(state.weights), np.asarray(state.intercept), np.asarray(state.dual)


def _prepare(x: Any) -> tuple[Rows, int]:
    """The rows in the working precision, padded where they are few, and how many there are."""
    if isinstance(x, DenseRows | SparseRows | StreamedRows):
        return x, x.num_rows
    working = np.float64 if jax.config.read("jax_enable_x64") else np.float32
    count, features = x.shape
    try:
        with np.errstate(over="raise"):
            x = x.astype(working, copy=False)
    except FloatingPointError as error:
        raise InputError(
            f"X: values beyond {np.finfo(working).max:.2g} are not allowed; scale the data, or "
            "set jax_enable_x64"
        ) from error
    if scipy.sparse.issparse(x):
        rows = as_rows(x)
        if not isinstance(rows, DenseRows) or count > MOST_PADDED:
            return rows, count
        x = np.asarray(rows.x)
    if count > MOST_PADDED:
        return as_rows(x), count
    padded = 1 << max(6, (count - 1).bit_length())
    return as_rows(np.pad(x, ((0, padded - count), (0, -features % 8)))), count
