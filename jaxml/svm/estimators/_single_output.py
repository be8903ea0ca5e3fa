"""Support vector regression and novelty detection with kernels: one problem with one output."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import OutlierMixin, RegressorMixin

from jaxml.svm._validation import check_number
from jaxml.svm.estimators._kernel import LARGEST, KernelEstimator, feasible_start
from jaxml.svm.kernel import DualProblems, KernelSolution, single_group


class SingleOutputEstimator(KernelEstimator):
    """Base of the kernel estimators that solve one problem and have one real output."""

    def _problem_weights(self) -> np.ndarray:
        return self.dual_coef_.T

    def _fit_output(
        self, x: np.ndarray, sign: np.ndarray, linear: np.ndarray, upper: np.ndarray
    ) -> KernelSolution:
        """Solves the problem whose arrays are `[variables of a sample, samples]`.

        Sets all fitted attributes but the intercept.
        """
        columns = single_group(len(x))
        fill = ((0, 0), (0, columns.index.shape[1] - len(x)))
        problems = DualProblems(
            np.zeros((1, 1), int),
            np.pad(sign, fill, mode="edge")[None],
            np.pad(linear, fill, mode="edge")[None],
            np.pad(upper, fill)[None],
        )
        solution, weight = self._solve(x, columns, problems)
        self._set_support(x, np.zeros(len(x), int), weight[:, : len(x)])
        for name in ("primal_", "dual_", "duality_gap_"):
            setattr(self, name, float(getattr(self, name)[0]))
        self.n_iter_ = int(np.max(self.n_iter_))
        return solution


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
      n_iter_, primal_, dual_, duality_gap_: scalars.
      Other attributes are those of `SVC` for one pair, without those of the classes.

    Example:
      >>> model = SVR(kernel="linear", C=100.0, epsilon=0.5).fit([[0.0], [2.0]], [0.0, 4.0])
      >>> model.predict([[0.0], [1.0]]).round(3).tolist(), model.coef_.round(3).tolist()
      ([0.5, 2.0], [[1.5]])
    """

    C: float = 1.0
    epsilon: float = 0.1

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the regressor to `[samples]` targets; see `SVC.fit`."""
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
        """Predicts `[samples]` targets in float64; see `SVC.predict`."""
        return self._outputs(X)[:, 0]

    def _check(self) -> None:
        super()._check()
        check_number("C", self.C, above=0, most=LARGEST)
        check_number("epsilon", self.epsilon, least=0, most=LARGEST)


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
        """Fits the detector; see `SVC.fit`. `y` is ignored."""
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
        """Computes the `[samples]` scores minus the offset, which are positive for inliers."""
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
