"""Support vector regression with kernels."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from jaxml.svm._checks import check_number
from jaxml.svm.estimators._kernel import LARGEST, SingleOutputEstimator, rescaled
from jaxml.svm.kernel import DualProblems


@dataclass(kw_only=True, eq=False, repr=False)
class SVR(RegressorMixin, SingleOutputEstimator):
    r"""Regressor that minimizes the epsilon-insensitive loss with a kernel.

    .. math::
      \min_{w, b} \tfrac12 |w|^2
      + \sum_i C_i \max(0, |\langle w, \phi(x_i) \rangle + b - y_i| - \epsilon)

    Args:
      C: penalty parameter, > 0.
      epsilon: half the width of the insensitive tube, >= 0, in the unit of the targets.
      tol: largest violation of the optimality conditions, in the unit of the targets.
      Other arguments, and the differences from scikit-learn, are those of `SVC`.

    Attributes:
      n_support_: `[1]`.
      dual_coef_: `[1, vectors]`.
      intercept_: `[1]`.
      coef_: `[1, features]`, for a linear kernel.
      n_iter_, primal_, dual_, duality_gap_: scalars.
      Other attributes are those of `SVC`, without those of the classes.

    Example:
      >>> model = SVR(kernel="linear", C=100.0, epsilon=0.5).fit([[0.0], [2.0]], [0.0, 4.0])
      >>> model.predict([[0.0], [1.0]]).round(3).tolist(), model.coef_.round(3).tolist()
      ([0.5, 2.0], [[1.5]])
    """

    C: float = 1.0
    epsilon: float = 0.1

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the regressor.

        Args:
          X: `[samples, features]`, dense or sparse, or a square matrix for a precomputed kernel.
          y: `[samples]` targets.
          sample_weight: `[samples]` factors of C; samples whose weight is not positive are ignored.
        """
        self._check()
        x, y = self._read(X, reset=True, y=y, y_numeric=True)
        x, weights = self._select(x, sample_weight)
        targets = np.asarray(y, np.float64)[self._used]
        # The intercept is free, so an offset of the targets only changes the intercept.
        offset = np.average(targets, weights=weights)
        targets = targets - offset
        ones, upper = np.ones_like(targets), self.C * weights
        solution = self._fit_output(
            x,
            sign=np.stack([ones, -ones]),
            linear=np.stack([self.epsilon - targets, self.epsilon + targets]),
            upper=np.stack([upper, upper]),
        )
        self._set_intercept(solution.threshold[0] + offset)
        self._warn(solution)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predicts `[samples]` targets in float64.

        Args:
          X: `[samples, features]`, or `[samples, fitted samples]` for a precomputed kernel.
        """
        return self._outputs(X)[:, 0]

    def _check(self) -> None:
        super()._check()
        check_number("C", self.C, above=0, most=LARGEST)
        check_number("epsilon", self.epsilon, least=0, most=LARGEST)

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray | None:
        return rescaled(last, problems.upper)
