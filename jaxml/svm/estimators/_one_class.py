"""Novelty detection with kernels."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import OutlierMixin

from jaxml.svm._checks import check_number
from jaxml.svm.estimators._kernel import SingleOutputEstimator, feasible_start
from jaxml.svm.kernel import DualProblems


@dataclass(kw_only=True, eq=False, repr=False)
class OneClassSVM(OutlierMixin, SingleOutputEstimator):
    r"""Detector of outliers, whose score is below the quantile nu of the training scores.

    .. math::
      \min_{w, \rho} \tfrac12 |w|^2 - \nu V \rho
      + \sum_i v_i \max(0, \rho - \langle w, \phi(x_i) \rangle)

    with the sample weights v and their sum V.

    Args:
      nu: in (0, 1]: at most this fraction of the samples are outliers, and at least this fraction
        are support vectors.
      tol: largest violation of the optimality conditions, in the unit of the scores.
      warm_start: as in `SVC`; variables of another nu are not reused.
      Other arguments, and the differences from scikit-learn, are those of `SVC`.

    Attributes:
      offset_: `[1]` threshold rho of the scores.
      intercept_: `[1]`, minus the offset.
      Other attributes are those of `SVR`.

    Example:
      >>> model = OneClassSVM(kernel="linear", nu=0.5).fit([[1.0], [2.0], [3.0], [4.0]])
      >>> model.predict([[0.0], [5.0]]).tolist()
      [-1, 1]
    """

    nu: float = 0.5
    _free_intercept: ClassVar = False

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fits the detector.

        Args:
          X: `[samples, features]`, dense or sparse, or a square matrix for a precomputed kernel.
          y: ignored.
          sample_weight: `[samples]` weights; samples whose weight is not positive are ignored.
        """
        del y
        self._check()
        x, weights = self._select(self._read(X, reset=True), sample_weight)
        upper = weights[None]
        solution = self._fit_output(x, np.ones_like(upper), np.zeros_like(upper), upper)
        self._set_intercept(solution.threshold[0])
        self.offset_ = -self.intercept_
        self._warn(solution)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Computes the `[samples]` scores minus the offset, which are positive for inliers.

        Args:
          X: `[samples, features]`, or `[samples, fitted samples]` for a precomputed kernel.
        """
        return self._outputs(X)[:, 0]

    def score_samples(self, X: Any) -> np.ndarray:
        """Computes the `[samples]` weighted sums of kernel values with the support vectors."""
        return self.decision_function(X) + self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Predicts 1 for inliers and -1 for outliers."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _check(self) -> None:
        super()._check()
        check_number("nu", self.nu, above=0, most=1)

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray:
        return feasible_start(problems.upper, self.nu * problems.upper.sum(), last)
