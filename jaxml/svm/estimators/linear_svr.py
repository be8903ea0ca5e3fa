"""Linear support vector regression, as an estimator of scikit-learn."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxml.errors import InputError
from jaxml.svm import linear
from jaxml.svm.estimators.linear_svc import (
    check_choice,
    check_linear,
    intercept_weight,
    keep_state,
    kept_state,
    reporter,
)
from jaxml.svm.estimators.space import is_number


class LinearSVR(RegressorMixin, BaseEstimator):
    r"""A linear function that forgives errors within a tube, solved and proven.

    .. math:: \min_{w, b} \tfrac12 \|w\|^2 + \tfrac12 (b / s)^2
              + C \sum_i c_i \max(0, |y_i - w^\top x_i - b| - \epsilon)

    Args:
      epsilon: half the width of the tube, at least 0, in the units of y.
      tol: of the duality gap, as a part of the primal.
      C: above 0: weight of the summed loss.
      loss: epsilon_insensitive as above, or squared_epsilon_insensitive.
      fit_intercept: whether there is an intercept.
      intercept_scaling: s, above 0: the larger, the less the intercept is penalised; None leaves it
        free, as libsvm does.
      max_iter: steps of Newton's method.
      warm_start: whether `fit` goes on from the last solution.
      verbose: whether each step is printed, or who is told of it.

    Attributes:
      coef_: `[features]`.
      intercept_: `[1]`.
      n_iter_: steps taken.
      duality_gap_: how much the objective exceeds its optimum at most.
      relative_gap_: the same as a part of the objective.
      objective_: the primal.
      support_: rows that count in a solution: those with a dual variable that is not 0.
      converged_: whether the relative gap is within `tol`.

    Example:
      >>> from sklearn.datasets import load_diabetes
      >>> x, y = load_diabetes(return_X_y=True)
      >>> LinearSVR(C=10.0).fit(x, y).coef_.shape
      (10,)

    Source: the names are scikit-learn's `LinearSVR`, the objective is liblinear's. There is no
    `dual` or `random_state`, for the method is deterministic.
    """

    def __init__(
        self,
        *,
        epsilon: float = 0.0,
        tol: float = 1e-4,
        C: float = 1.0,
        loss: str = "epsilon_insensitive",
        fit_intercept: bool = True,
        intercept_scaling: float | None = 1.0,
        max_iter: int = 1000,
        warm_start: bool = False,
        verbose: Any = 0,
    ) -> None:
        self.epsilon = epsilon
        self.tol = tol
        self.C = C
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Solves the problem.

        Args:
          X: `[examples, features]`, dense or sparse.
          y: `[examples]` real targets.
          sample_weight: `[examples]` factors of C, at least 0.

        Raises:
          ValueError: a parameter or the data are not what they have to be.
        """
        allowed = ("epsilon_insensitive", "squared_epsilon_insensitive")
        check_choice("loss", self.loss, allowed)
        check_linear(self)
        if not is_number(self.epsilon) or not 0 <= self.epsilon < np.inf:
            raise InputError(f"epsilon: {self.epsilon!r} is not allowed, it is at least 0")
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True
        )
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        found = linear.fit(
            X,
            np.asarray(y, np.float64)[None],
            (self.C * weight)[None],
            loss=self.loss,
            epsilon=self.epsilon,
            intercept_penalty=intercept_weight(self.fit_intercept, self.intercept_scaling),
            tolerance=self.tol,
            max_steps=self.max_iter,
            start=kept_state(self, X, 1),
            report=reporter(self.verbose),
        )
        self.coef_, self.intercept_, self.n_iter_ = found.weights[0], found.intercept, found.steps
        self.duality_gap_ = float((found.certificate.primal - found.certificate.dual)[0])
        self.relative_gap_ = float(found.certificate.relative_gap[0])
        self.objective_ = float(found.certificate.primal[0])
        self.support_ = np.flatnonzero(found.certificate.variables.any(0))
        self.converged_ = found.converged
        keep_state(self, X, found)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """`[examples]` values."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_ + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
