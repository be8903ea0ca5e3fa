"""Linear support vector classification and regression, of dense or sparse features."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxml.svm import linear
from jaxml.svm._validation import check_choice, check_integer, check_number
from jaxml.svm.estimators._weights import class_weights, encode_labels, sample_weights


@dataclass(kw_only=True, eq=False, repr=False)
class _LinearEstimator(BaseEstimator):
    tol: float = 1e-4
    C: float = 1.0
    fit_intercept: bool = True
    intercept_scaling: float | None = 1.0
    max_iter: int = 1000
    warm_start: bool = False
    verbose: Any = False

    # Overridden by the hyper-parameters of the estimators that have them.
    loss = ""
    penalty = "l2"
    epsilon = 0.0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check(self) -> None:
        check_number("C", self.C, above=0)
        check_number("tol", self.tol, above=0)
        if self.intercept_scaling is not None:
            check_number("intercept_scaling", self.intercept_scaling, above=0)
        check_integer("max_iter", self.max_iter, 1)

    def _read(self, X: Any, *, reset: bool, y: Any = "no_validation", **checks: Any) -> Any:
        dtypes = [np.float64, np.float32]
        return validate_data(self, X, y, reset=reset, accept_sparse="csr", dtype=dtypes, **checks)

    def _solve(self, x: Any, targets: np.ndarray, weights: np.ndarray) -> linear.LinearFit:
        """Solves the problems of `targets` `[problems, samples]` and sets the shared attributes."""
        shape = len(targets), x.shape, issparse(x)
        last_shape, last_state = getattr(self, "_state", None) or (None, None)
        report: Any = self.verbose if callable(self.verbose) else print if self.verbose else None
        found = linear.fit(
            x,
            targets,
            np.broadcast_to(self.C * weights, targets.shape),
            loss=self.loss,
            penalty=self.penalty,
            epsilon=self.epsilon,
            intercept_penalty=self._intercept_penalty(),
            tolerance=self.tol,
            max_steps=self.max_iter,
            start=last_state if self.warm_start and shape == last_shape else None,
            report=report,
        )
        self._state = (shape, found.state) if self.warm_start or not found.converged else None
        self.n_iter_, self.converged_ = found.steps, found.converged
        self.relative_gap_ = float(found.certificate.relative_gap.max())
        self.objective_ = float(found.certificate.primal.sum())
        self.support_ = np.flatnonzero(found.certificate.variables.any(0))
        return found

    def _intercept_penalty(self) -> float:
        """Returns the weight of the intercept's square in the objective, or magnitude for l1."""
        if not self.fit_intercept:
            return linear.NO_INTERCEPT
        if self.intercept_scaling is None:
            return 0.0
        return 1 / float(self.intercept_scaling) ** (1 if self.penalty == "l1" else 2)


@dataclass(eq=False, repr=False)
class LinearSVC(ClassifierMixin, _LinearEstimator):
    r"""Linear classifier, one-vs-rest for several classes.

    .. math:: \min_{w, b} \tfrac12 \|w\|^2 + \tfrac12 (b / s)^2
              + C \sum_i c_i \ell(y_i (w^\top x_i + b))

    for each class, all solved together to a duality gap that is evaluated in float64. Names are
    those of scikit-learn's `LinearSVC`, and the objective is liblinear's. There is no `dual`,
    `random_state` or `multi_class`, because one deterministic method solves all problems.

    Args:
      penalty: "l2" as above; or "l1", the sum of absolute weights, for the squared hinge only.
      loss: "squared_hinge" or "hinge".
      tol: largest duality gap relative to the primal objective, which bounds the relative excess of
        the objective over the optimum. scikit-learn's `tol` bounds the gradient.
      C: penalty parameter of the summed loss, > 0.
      intercept_scaling: s, > 0; the larger it is, the less the intercept is penalized. None leaves
        it unpenalized, as in libsvm.
      class_weight: factors of C as a dict from class to factor; "balanced" for factors inversely
        proportional to the summed sample weights of the classes; None for 1.
      max_iter: limit of Newton steps; ten are usually enough.
      warm_start: whether to start from the last solution, for data of the same shape.
      verbose: whether to print the progress after each step, or a function that receives it.

    Attributes:
      coef_: `[classes, features]`, `[1, features]` for two classes.
      intercept_: `[classes]`, `[1]` for two classes.
      n_iter_: number of steps.
      duality_gap_: `[problems]` bounds of the excess of each objective over its optimum.
      relative_gap_: largest gap relative to its objective.
      objective_: primal objective, summed over the problems, as in liblinear.
      support_: indices of the samples with a non-zero dual variable in some problem.
      converged_: whether the relative gap is within `tol`.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> x, y = load_iris(return_X_y=True)
      >>> model = LinearSVC().fit(x, y)
      >>> model.coef_.shape, bool(model.relative_gap_ <= 1e-4)
      ((3, 4), True)
    """

    penalty: str = "l2"
    loss: str = "squared_hinge"
    _: KW_ONLY
    class_weight: Any = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the classifier to `[samples]` classes; the weights are non-negative factors of C."""
        self._check()
        x, y = self._read(X, reset=True, y=y)
        self.classes_, labels = encode_labels(y)
        weights = sample_weights(sample_weight, x.shape[0])
        weights = weights * class_weights(self.class_weight, self.classes_, labels, weights)[labels]
        positive = np.arange(len(self.classes_))[:, None] == labels
        if len(self.classes_) == 2:
            positive = positive[1:]
        found = self._solve(x, np.where(positive, 1.0, -1.0), weights)
        self.coef_, self.intercept_ = found.state.weights, found.state.intercept
        self.duality_gap_ = found.certificate.primal - found.certificate.dual
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Computes `[samples, classes]` decision values, `[samples]` for two classes."""
        check_is_fitted(self)
        values = self._read(X, reset=False) @ self.coef_.T + self.intercept_
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> np.ndarray:
        """Predicts the `[samples]` classes with the highest decision values."""
        values = self.decision_function(X)
        return self.classes_[values.argmax(1) if values.ndim > 1 else (values > 0).astype(int)]

    def _check(self) -> None:
        super()._check()
        check_choice("penalty", self.penalty, ("l1", "l2"))
        losses = ("squared_hinge",) if self.penalty == "l1" else ("hinge", "squared_hinge")
        check_choice("loss", self.loss, losses)


@dataclass(kw_only=True, eq=False, repr=False)
class LinearSVR(RegressorMixin, _LinearEstimator):
    r"""Linear regressor with the epsilon-insensitive loss.

    .. math:: \min_{w, b} \tfrac12 \|w\|^2 + \tfrac12 (b / s)^2
              + C \sum_i c_i \max(0, |y_i - w^\top x_i - b| - \epsilon)

    Names are those of scikit-learn's `LinearSVR`, and the objective is liblinear's.

    Args:
      epsilon: half the width of the insensitive tube, >= 0, in the unit of the targets.
      loss: "epsilon_insensitive" as above, or "squared_epsilon_insensitive".
      Other arguments are those of `LinearSVC`, without `penalty` and `class_weight`.

    Attributes:
      coef_: `[features]`.
      intercept_: `[1]`.
      duality_gap_: bound of the excess of the objective over the optimum.
      Other attributes are those of `LinearSVC`.

    Example:
      >>> from sklearn.datasets import load_diabetes
      >>> x, y = load_diabetes(return_X_y=True)
      >>> LinearSVR(C=10.0).fit(x, y).coef_.shape
      (10,)
    """

    epsilon: float = 0.0
    loss: str = "epsilon_insensitive"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the regressor to `[samples]` targets; the weights are non-negative factors of C."""
        self._check()
        x, y = self._read(X, reset=True, y=y, y_numeric=True)
        weights = sample_weights(sample_weight, x.shape[0])
        found = self._solve(x, np.asarray(y, np.float64)[None], weights)
        self.coef_, self.intercept_ = found.state.weights[0], found.state.intercept
        self.duality_gap_ = float((found.certificate.primal - found.certificate.dual)[0])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predicts `[samples]` targets."""
        check_is_fitted(self)
        return self._read(X, reset=False) @ self.coef_ + self.intercept_

    def _check(self) -> None:
        super()._check()
        check_choice("loss", self.loss, ("epsilon_insensitive", "squared_epsilon_insensitive"))
        check_number("epsilon", self.epsilon, least=0)
