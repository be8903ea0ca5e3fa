"""Base classes of the kernel estimators; `SVC` documents their hyper-parameters and attributes."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxml.svm import kernel as kernel_solver
from jaxml.svm._validation import check_integer, check_number
from jaxml.svm.estimators._fitted_kernel import FittedKernel, KernelSamples, fit_kernel
from jaxml.svm.estimators._weights import sample_weights
from jaxml.svm.kernel import ColumnGroups, DualProblems, KernelProgress, KernelSolution

# Values on the device are float32 unless float64 is enabled.
LARGEST = float(np.finfo(np.float32).max)


@dataclass(kw_only=True, eq=False, repr=False)
class KernelEstimator(BaseEstimator):
    """Hyper-parameters, validation and fitted attributes that all kernel estimators share."""

    kernel: Any = "rbf"
    degree: int = 3
    gamma: Any = "scale"
    coef0: float = 0.0
    tol: float = 1e-3
    cache_size: float = 2000
    max_iter: int = -1
    warm_start: bool = False
    verbose: bool | Callable[[KernelProgress], None] = False

    # Whether the intercept is unpenalized, so that the dual weights sum to 0.
    _free_intercept: ClassVar[bool] = True
    # Maps the thresholds of a problem to the unit of the tolerance; None for the unit of the score.
    _score_scale: ClassVar[Any] = None
    # The arrangement and the values of the variables of the last fit, if they are kept.
    _variables = None

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray | None:
        """Returns feasible variables to start from, given those of the last fit or None."""
        return rescaled(last, problems.upper)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.input_tags.sparse = self.kernel != "precomputed"
        return tags

    @property
    def coef_(self) -> np.ndarray:
        """`[problems, features]` weights of the features; only defined for a linear kernel."""
        if self.kernel != "linear":
            raise AttributeError("coef_ is only available for kernel='linear'")
        check_is_fitted(self)
        return self._problem_weights().T @ self.support_vectors_

    def _problem_weights(self) -> np.ndarray:
        """Returns the `[vectors, problems]` weights of the support vectors in each output."""
        raise NotImplementedError

    def _check(self) -> None:
        check_number("tol", self.tol, above=0)
        check_number("cache_size", self.cache_size, above=0)
        if self.max_iter != -1:
            check_integer("max_iter", self.max_iter, 1, rule="-1 or an int >= 1")

    def _read(self, X: Any, *, reset: bool, y: Any = "no_validation", **checks: Any) -> Any:
        """Validates floating-point data, which may be sparse."""
        checks |= {"accept_sparse": False if self.kernel == "precomputed" else "csr"}
        return validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32], **checks)

    def _select(self, x: Any, given: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns the dense samples of positive weight, or their kernel matrix, and the weights.

        Sets `_used`, their indices.
        """
        x = x.toarray() if sparse.issparse(x) else x
        weights = sample_weights(given, len(x), negative=True)
        self.shape_fit_ = x.shape
        self._used = used = np.flatnonzero(weights)
        if len(used) == len(x):
            return x, weights
        is_square = self.kernel == "precomputed" and x.shape[0] == x.shape[1]
        return x[np.ix_(used, used)] if is_square else x[used], weights[used]

    def _solve(
        self, x: np.ndarray, columns: ColumnGroups, problems: DualProblems
    ) -> tuple[KernelSolution, np.ndarray]:
        """Solves dual problems, and sets the kernel, the objectives and the number of iterations.

        Also returns the `[problems, columns]` signed weights of the samples in the output.
        """
        self._kernel: FittedKernel = fit_kernel(
            self.kernel,
            x,
            gamma=self.gamma,
            coef0=self.coef0,
            degree=self.degree,
            free_intercept=self._free_intercept,
        )
        arrangement = (columns.index, problems.sign)
        last = self._variables if self.warm_start else None
        if last and not all(map(np.array_equal, last[0], arrangement)):
            last = None  # it had other equality constraints
        solution = kernel_solver.solve(
            problems,
            KernelSamples(self._kernel, x, columns.examples),
            columns.starts,
            start=self._start(problems, last and last[1]),
            tolerance=float(self.tol),
            scale=self._score_scale,
            max_rounds=None if self.max_iter == -1 else int(self.max_iter),
            memory=float(self.cache_size) * 2**20,
            report=self.verbose if callable(self.verbose) else _print if self.verbose else None,
        )
        self.primal_, self.dual_ = solution.dual + solution.gap, solution.dual
        self.duality_gap_ = solution.gap
        size = float(np.abs(self.primal_).sum())
        self.relative_gap_ = float(self.duality_gap_.sum()) / size if size else 0.0
        self.n_iter_ = solution.rounds
        self.fit_status_ = 0 if solution.converged else 1
        is_kept = self.warm_start or not solution.converged
        self._variables = (arrangement, solution.value) if is_kept else None
        return solution, (problems.sign * solution.value).sum(1)

    def _warn(self, solution: KernelSolution) -> None:
        """Warns the caller of `fit` if a problem is not solved to the tolerance."""
        if solution.converged:
            return
        if solution.interrupted:
            cause = "interrupted by the keyboard"
        elif self.max_iter != -1 and solution.rounds.max() >= self.max_iter:
            cause = f"max_iter={self.max_iter} reached; increase it"
        else:
            cause = "no further progress in float64; scale the features, or increase tol"
        warnings.warn(
            f"{cause}. The violation is {solution.largest_violation:.3g}, above tol={self.tol:g}, "
            f"and the relative gap {self.relative_gap_:.3g}. With warm_start=True, another fit "
            f"resumes from here.",
            ConvergenceWarning,
            stacklevel=3,
        )

    def _set_support(self, x: np.ndarray, labels: np.ndarray, coefficients: np.ndarray) -> None:
        """Sets the support vectors, in the order of their labels, and their coefficients."""
        rows = np.flatnonzero(coefficients.any(0))
        rows = rows[np.argsort(labels[rows], kind="stable")]
        self.dual_coef_ = coefficients[:, rows]
        self.support_ = self._used[rows].astype(np.int32)
        self.n_support_ = np.bincount(labels[rows], minlength=labels.max() + 1).astype(np.int32)
        is_precomputed = self._kernel.kernel == "precomputed"
        self.support_vectors_ = np.empty((0, 0), x.dtype) if is_precomputed else x[rows]

    def _set_intercept(self, intercept: np.ndarray) -> None:
        """Sets the intercepts for uncentered data, given those for centered data."""
        self.intercept_ = intercept
        if self._kernel.kernel == "linear" and self._kernel.origin is not None:
            self.intercept_ = intercept - self.coef_ @ self._kernel.origin

    def _outputs(self, X: Any) -> np.ndarray:
        """Returns the `[samples, problems]` outputs of each problem, in float64."""
        check_is_fitted(self)
        x = self._read(X, reset=False)
        x = x.toarray() if sparse.issparse(x) else x
        if self._kernel.kernel == "precomputed":
            x = x[:, self.support_]
        weights = self._problem_weights()
        if self._kernel.kernel == "linear":
            return x @ (weights.T @ self.support_vectors_).T + self.intercept_
        outputs = self._kernel.outputs(x, self.support_vectors_, weights, tolerance=self.tol)
        return outputs + self.intercept_


def feasible_start(
    upper: np.ndarray, total: np.ndarray | float, last: np.ndarray | None
) -> np.ndarray:
    """Returns variables that sum to `total` along the last axis.

    These are the last ones if they are feasible; otherwise the first variables are at their bounds.
    """
    before = np.cumsum(upper, axis=-1) - upper
    first = np.clip(total - before, 0.0, upper)
    if last is None or (last > upper * (1 + 1e-6)).any():
        return first
    same = np.allclose(last.sum(-1, dtype=np.float64), first.sum(-1), rtol=1e-4)
    return np.minimum(last, upper) if same else first


def rescaled(value: np.ndarray | None, upper: np.ndarray) -> np.ndarray | None:
    """Scales the variables of each problem by one factor <= 1, so that they satisfy new bounds."""
    if value is None:
        return None
    ratio = np.where(value > 0, upper / np.where(value > 0, value, 1), np.inf)
    factor = np.minimum(ratio.min(axis=(1, 2), keepdims=True), 1.0)
    return np.minimum(value * factor, upper)


def _print(progress: KernelProgress) -> None:
    sys.stdout.write(
        f"round {progress.rounds}: violation {progress.violation:.3g}, dual "
        f"{-progress.objective:.8g}, {progress.num_unsolved} problems unsolved\n"
    )
    sys.stdout.flush()
