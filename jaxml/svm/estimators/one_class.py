"""The support of a distribution: what is unlike the most of the data."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import OutlierMixin

from jaxml.svm.estimators.base import SingleMachine, feasible_start
from jaxml.svm.kernel import DualProblems, single_group


class OneClassSVM(OutlierMixin, SingleMachine):
    r"""Outliers are where the output is below the quantile nu of the training rows.

    .. math::
      \min_{w, \rho} \tfrac12 |w|^2 - \nu V \rho
      + \sum_i v_i \max(0, \rho - \langle w, \phi(x_i) \rangle)

    Args:
      kernel: as of `SVC`.
      degree: as of `SVC`.
      gamma: as of `SVC`.
      coef0: as of `SVC`.
      tol: the violation of the optimality conditions to end at, in the unit of the scores.
      nu: in (0, 1]: at most this share of rows is outside, at least this share supports.
      cache_size: as of `SVC`.
      verbose: as of `SVC`.
      max_iter: as of `SVC`.
      warm_start: as of `SVC`; variables of another nu are not gone on from.

    Attributes:
      offset_: `[1]`: rho, what the scores of inliers are above.
      intercept_: `[1]`: minus the offset.
      support_: and all others as of `SVR`; V of the primal is the sum of the weights v.

    Example:
      >>> machine = OneClassSVM(kernel="linear", nu=0.5).fit([[1.0], [2.0], [3.0], [4.0]])
      >>> machine.predict([[0.0], [5.0]]).tolist()
      [-1, 1]

    Source: scikit-learn's and libsvm's names, layouts and scale; for what differs see `SVC`.
    """

    _bounds: ClassVar = {"nu": (0.0, False, 1.0)}
    _free_intercept: ClassVar = False

    def __init__(
        self,
        *,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        tol: float = 1e-3,
        nu: float = 0.5,
        cache_size: float = 2000,
        verbose: bool = False,
        max_iter: int = -1,
        warm_start: bool = False,
    ) -> None:
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.tol = tol
        self.nu = nu
        self.cache_size = cache_size
        self.verbose = verbose
        self.max_iter = max_iter
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fits the machine.

        Args:
          X: `[rows, features]`, dense or sparse; for a precomputed kernel `[rows, rows]`.
          y: not looked at.
          sample_weight: `[rows]`: how much each counts; rows of 0 or less do not.

        Returns:
          Itself.

        Raises:
          InputError: settings or data that are not allowed; the message says what would be.
        """
        del y
        self._check_settings()
        x = self._read(X, reset=True)
        weights = self._read_weights(sample_weight, x)
        x, weights = self._take(x), weights[self._taken]
        self._make_space(x)
        columns = single_group(len(x))
        rows = np.maximum(columns.index, 0)
        upper = np.where(columns.index >= 0, weights[rows], 0.0)[None]
        problems = DualProblems(
            np.zeros((1, 1), int), np.ones_like(upper), np.zeros_like(upper), upper
        )
        last = self._last_variables(columns, problems.sign)
        start = feasible_start(upper, self.nu * upper.sum(), last)
        solved = self._solve(x, columns, problems, start)
        self._set_coefficients(x, columns, solved.weight[0])
        self._set_intercept(solved.threshold[0])
        self.offset_ = -self.intercept_
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The score less the offset: positive inside.

        Args:
          X: `[rows, features]`; for a precomputed kernel `[rows, fitted rows]`.

        Returns:
          `[rows]`, float64.
        """
        return self._output(X)

    def score_samples(self, X: Any) -> np.ndarray:
        """The weighted sum of the products with the support vectors.

        Args:
          X: as of `decision_function`.

        Returns:
          `[rows]`, float64.
        """
        return self.decision_function(X) + self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Which rows are inliers.

        Args:
          X: as of `decision_function`.

        Returns:
          `[rows]`: 1 inside, -1 outside.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)
