"""What the kernel machines share: data and settings checked, the solver run, its end told."""

import math
import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxml.errors import InputError
from jaxml.svm import kernel as kernel_solver
from jaxml.svm.estimators.space import Space, fit_space, is_number
from jaxml.svm.kernel import ColumnGroups, DualProblems, KernelProgress, KernelSolution

# The device's numbers are of float32, where float64 is not switched on.
LARGEST = float(np.finfo(np.float32).max)


class Solved(NamedTuple):
    """Problems that were solved, in float64.

    Attributes:
      value: `[problems, sides, columns]` variables.
      weight: `[problems, columns]`: of each column in the output, the signed sum of its sides.
      threshold: `[families, problems]`: the score that separates rising from falling variables.
      noise: `[problems]`: scores that differ by less are equal, up to rounding.
    """

    value: np.ndarray
    weight: np.ndarray
    threshold: np.ndarray
    noise: np.ndarray


class KernelMachine(BaseEstimator):
    """Base of the estimators: a kernel, a budget, and the solution of dual problems.

    A subclass has the settings `kernel`, `degree`, `gamma`, `coef0`, `tol`, `cache_size`,
    `max_iter`, `warm_start` and `verbose`, and says which more are numbers within bounds.
    """

    # Name -> the lowest value, whether it is allowed itself, and the highest.
    _bounds: ClassVar[dict[str, tuple[float, bool, float]]] = {}
    # Whether the intercept costs nothing, and so the weights of the vectors sum to 0.
    _free_intercept: ClassVar[bool] = True

    kernel: Any
    degree: int
    gamma: Any
    coef0: float
    tol: float
    cache_size: float
    max_iter: int
    warm_start: bool
    verbose: bool | Callable[[KernelProgress], None]

    support_: np.ndarray
    support_vectors_: np.ndarray
    dual_coef_: np.ndarray
    intercept_: np.ndarray
    primal_: Any
    dual_: Any

    def __sklearn_tags__(self) -> Any:
        """The kinds of input: a precomputed kernel has rows and columns of examples."""
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.input_tags.sparse = self.kernel != "precomputed"
        return tags

    @property
    def coef_(self) -> np.ndarray:
        """`[problems, features]` weights of the features, of the linear kernel only."""
        if self.kernel != "linear":
            raise AttributeError("coef_ is only there where kernel='linear'")
        check_is_fitted(self)
        return self._pair_weights().T @ self.support_vectors_

    def _pair_weights(self) -> np.ndarray:
        """`[support vectors, problems]`: what each counts in the output of each problem."""
        return self.dual_coef_.T

    # The unit of the tolerance, from the thresholds of a problem; None for that of the scores.
    _score_scale: ClassVar[Any] = None

    def _check_settings(self) -> None:
        """Checks the numbers among the settings."""
        bounds = {"tol": (0.0, False, math.inf), "cache_size": (0.0, False, math.inf)}
        for name, (low, inclusive, high) in {**bounds, **self._bounds}.items():
            value = getattr(self, name)
            if not (
                is_number(value) and (low <= value if inclusive else low < value) and value <= high
            ):
                least = f"{'at least' if inclusive else 'above'} {low:g}"
                most = f" and at most {high:g}" if high < math.inf else ""
                raise InputError(f"{name}: {value!r} is not allowed, it is a number {least}{most}")
        rounds = self.max_iter
        if not isinstance(rounds, int | np.integer) or (rounds < 1 and rounds != -1):
            raise InputError(f"max_iter: {rounds!r} is not allowed, it is -1 or an int above 0")

    def _read(self, X: Any, *, reset: bool, y: Any = "no_validation", **checks: Any) -> Any:
        """Data as floating NumPy arrays; sparse ones are made dense."""
        sparse_kinds = False if self.kernel == "precomputed" else "csr"
        checks = {"dtype": [np.float64, np.float32], "accept_sparse": sparse_kinds, **checks}
        found: Any = validate_data(self, X, y, reset=reset, **checks)
        x, *rest = found if isinstance(found, tuple) else (found,)
        x = x.toarray() if sparse.issparse(x) else x
        return (x, *rest) if rest else x

    def _read_weights(self, sample_weight: Any, x: np.ndarray) -> np.ndarray:
        """Weights of samples in float64; those without a positive one do not take part."""
        weights = _check_sample_weight(sample_weight, x, dtype=np.float64)
        weights = np.maximum(weights, 0.0)
        if not weights.any():
            raise InputError("sample_weight: at least one must be positive, all are 0 or negative")
        self.shape_fit_ = x.shape
        self._taken = np.flatnonzero(weights)
        return weights

    def _take(self, x: np.ndarray) -> np.ndarray:
        """The samples that take part: one of weight 0 is as if it was not there."""
        if len(self._taken) == len(x):
            return x
        is_square = self.kernel == "precomputed" and x.shape[0] == x.shape[1]
        return x[np.ix_(self._taken, self._taken)] if is_square else x[self._taken]

    def _make_space(self, x: np.ndarray) -> Space:
        self._space = fit_space(
            self.kernel,
            x,
            gamma=self.gamma,
            coef0=self.coef0,
            degree=self.degree,
            free_intercept=self._free_intercept,
        )
        return self._space

    def _solve(
        self,
        x: np.ndarray,
        columns: ColumnGroups,
        problems: DualProblems,
        start: np.ndarray | None,
    ) -> Solved:
        """Solves the problems and sets what tells about it.

        Args:
          x: the data.
          columns: where its rows are.
          problems: over those columns.
          start: feasible values of variables, or None.
        """
        solution = kernel_solver.solve(
            problems,
            self._space.examples(x, columns.examples),
            columns.starts,
            start=start,
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
        self._variables = (columns.index, problems.sign, solution.value) if is_kept else None
        self._warn(solution)
        weight = (problems.sign * solution.value).sum(1)
        return Solved(solution.value, weight, solution.threshold, solution.noise)

    def _last_variables(self, columns: ColumnGroups, sign: np.ndarray) -> np.ndarray | None:
        """The variables of the last fit of problems of the same equations, where fits go on."""
        last = getattr(self, "_variables", None) if self.warm_start else None
        if last is None:
            return None
        index, last_sign, value = last
        same = np.array_equal(index, columns.index) and np.array_equal(last_sign, sign)
        return value if same else None

    def _warn(self, solution: KernelSolution) -> None:
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
            stacklevel=4,
        )

    def _set_support(self, x: np.ndarray, rows: np.ndarray) -> None:
        self.support_ = self._taken[rows].astype(np.int32)
        known = self._space.kernel != "precomputed"
        self.support_vectors_ = x[rows] if known else np.empty((0, 0), x.dtype)

    def _set_intercept(self, intercept: np.ndarray) -> None:
        """Sets the intercepts of the data as given, from those of the examples."""
        self.intercept_ = intercept
        if self._space.kernel == "linear" and self._space.origin is not None:
            self.intercept_ = intercept - self.coef_ @ self._space.origin

    def _outputs(self, x: np.ndarray) -> np.ndarray:
        """`[rows, problems]`: the outputs of each problem with its intercept, in float64."""
        if self._space.kernel == "precomputed":
            x = x[:, self.support_]
        weights = self._pair_weights()
        if self._space.kernel == "linear":
            return x @ (weights.T @ self.support_vectors_).T + self.intercept_
        return (
            self._space.outputs(x, self.support_vectors_, weights, tolerance=self.tol)
            + self.intercept_
        )

    def _read_fitted(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self._read(X, reset=False)


class SingleMachine(KernelMachine):
    """A machine of one problem, whose only output is a number."""

    def _set_coefficients(self, x: np.ndarray, columns: ColumnGroups, weight: np.ndarray) -> None:
        """Sets what is known of the support vectors, from the weight of each column."""
        by_row = np.zeros(len(x))
        held = columns.index[0] >= 0
        by_row[columns.index[0][held]] = weight[held]
        rows = np.flatnonzero(by_row)
        self._set_support(x, rows)
        self.dual_coef_ = by_row[None, rows]
        self.n_support_ = np.array([len(rows)], np.int32)
        for name in ("primal_", "dual_", "duality_gap_"):
            setattr(self, name, float(getattr(self, name)[0]))
        self.n_iter_ = int(np.max(self.n_iter_))

    def _output(self, X: Any) -> np.ndarray:
        """`[rows]`: the outputs with the intercept."""
        return self._outputs(self._read_fitted(X))[:, 0]


def feasible_start(
    upper: np.ndarray, total: np.ndarray | float, last: np.ndarray | None = None
) -> np.ndarray:
    """Variables that sum to a total along the last axis: the last ones, where they do still.

    Else the first ones are at their bounds.
    """
    before = np.cumsum(upper, axis=-1) - upper
    first = np.clip(total - before, 0.0, upper)
    if last is None or (last > upper * (1 + 1e-6)).any():
        return first
    same = np.allclose(last.sum(-1, dtype=np.float64), first.sum(-1), rtol=1e-4)
    return np.minimum(last, upper) if same else first


def rescaled(value: np.ndarray | None, upper: np.ndarray) -> np.ndarray | None:
    """Variables of another price, made to fit new bounds by one factor for each problem."""
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
