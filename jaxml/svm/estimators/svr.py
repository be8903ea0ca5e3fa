"""Support vector regression with kernels."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin

from jaxml.svm.estimators.base import LARGEST, SingleMachine, rescaled
from jaxml.svm.kernel import DualProblems, single_group


class SVR(RegressorMixin, SingleMachine):
    r"""Regression that is free of cost within a tube.

    .. math::
      \min_{w, b} \tfrac12 |w|^2
      + \sum_i C_i \max(0, |\langle w, \phi(x_i) \rangle + b - y_i| - \epsilon)

    Args:
      kernel: as of `SVC`.
      degree: as of `SVC`.
      gamma: as of `SVC`.
      coef0: as of `SVC`.
      tol: the violation of the optimality conditions to end at, in the unit of the targets.
      C: the price of an error, above 0.
      epsilon: half the width of the tube, at least 0, in the unit of the targets.
      cache_size: as of `SVC`.
      verbose: as of `SVC`.
      max_iter: as of `SVC`.
      warm_start: as of `SVC`.

    Attributes:
      support_: `[vectors]` rows of the data.
      support_vectors_: `[vectors, features]`; empty for a precomputed kernel.
      n_support_: `[1]`.
      dual_coef_: `[1, vectors]`.
      intercept_: `[1]`.
      coef_: `[1, features]`, of the linear kernel.
      n_iter_: rounds.
      fit_status_: 0 where it is solved to the tolerance, else 1.
      shape_fit_: of the data.
      primal_: the primal, at the fitted intercept.
      dual_: the lower bound that the variables prove.
      duality_gap_: primal minus dual, from scores in float64.
      relative_gap_: the gap over the primal.

    Example:
      >>> machine = SVR(kernel="linear", C=100.0, epsilon=0.5).fit([[0.0], [2.0]], [0.0, 4.0])
      >>> machine.predict([[0.0], [1.0]]).round(3).tolist(), machine.coef_.round(3).tolist()
      ([0.5, 2.0], [[1.5]])

    Source: scikit-learn's and libsvm's names and layouts; for what differs see `SVC`.
    """

    _bounds: ClassVar = {
        "C": (0.0, False, LARGEST),
        "epsilon": (0.0, True, LARGEST),
    }

    def __init__(
        self,
        *,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        tol: float = 1e-3,
        C: float = 1.0,
        epsilon: float = 0.1,
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
        self.C = C
        self.epsilon = epsilon
        self.cache_size = cache_size
        self.verbose = verbose
        self.max_iter = max_iter
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the machine.

        Args:
          X: `[rows, features]`, dense or sparse; for a precomputed kernel `[rows, rows]`.
          y: `[rows]` targets.
          sample_weight: `[rows]`: factors of C; rows of 0 or less do not count.

        Returns:
          Itself.

        Raises:
          InputError: settings or data that are not allowed; the message says what would be.
        """
        self._check_settings()
        x, y = self._read(X, reset=True, y=y, y_numeric=True)
        targets = np.asarray(y, np.float64)
        weights = self._read_weights(sample_weight, x)
        x, targets, weights = self._take(x), targets[self._taken], weights[self._taken]
        # The intercept is free, so that an offset of the targets only changes the intercept.
        offset = np.average(targets, weights=weights)
        targets = targets - offset
        self._make_space(x)
        columns = single_group(len(x))
        real, rows = columns.index[0] >= 0, np.maximum(columns.index[0], 0)
        target = np.where(real, targets[rows], 0.0)
        upper = np.where(real, self.C * weights[rows], 0.0)
        problems = DualProblems(
            np.zeros((1, 1), int),
            np.stack([np.ones_like(target), -np.ones_like(target)])[None],
            np.stack([self.epsilon - target, self.epsilon + target])[None],
            np.stack([upper, upper])[None],
        )
        last = self._last_variables(columns, problems.sign)
        solved = self._solve(x, columns, problems, rescaled(last, problems.upper))
        self._set_coefficients(x, columns, solved.weight[0])
        self._set_intercept(solved.threshold[0] + offset)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The output of each row.

        Args:
          X: `[rows, features]`; for a precomputed kernel `[rows, fitted rows]`.

        Returns:
          `[rows]`, float64.
        """
        return self._output(X)
