"""Linear support vector classification, as an estimator of scikit-learn."""

from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxml.errors import InputError
from jaxml.svm import linear
from jaxml.svm.estimators.class_weights import class_weights
from jaxml.svm.estimators.space import is_number
from jaxml.svm.linear import LinearFit, LinearState


class LinearSVC(ClassifierMixin, BaseEstimator):
    r"""One linear problem for each class against the rest, all solved at once and proven.

    .. math:: \min_{w, b} \tfrac12 \|w\|^2 + \tfrac12 (b / s)^2
              + C \sum_i c_i \ell(y_i (w^\top x_i + b))

    Args:
      penalty: l2 as above, or l1, with the squared hinge: the sums of absolute values in the place
        of half the squares.
      loss: squared_hinge or hinge.
      tol: of the duality gap, as a part of the primal: a bound of the relative excess of the
        objective over the optimum, evaluated in float64. scikit-learn's is of the gradient.
      C: above 0: weight of the summed loss.
      fit_intercept: whether there is an intercept.
      intercept_scaling: s, above 0: the larger, the less the intercept is penalised, as b / s; None
        leaves it free, as libsvm does.
      class_weight: factors of C by class, or "balanced": inversely proportional to the summed
        sample weights of the classes, so that a weight of k counts as k samples.
      max_iter: steps of Newton's method, of which ten are many.
      warm_start: whether `fit` goes on from the last solution, of data of the same shape.
      verbose: whether each step is printed, or who is told of it.

    Attributes:
      classes_: the labels.
      coef_: `[classes, features]`, `[1, features]` for two classes.
      intercept_: `[classes]`, `[1]` for two classes.
      n_iter_: steps taken.
      duality_gap_: `[problems]`: how much each objective exceeds its optimum at most.
      relative_gap_: the largest of them, as a part of its objective.
      objective_: the primal, summed over the problems, as liblinear counts it.
      support_: rows that count in a solution: those with a dual variable that is not 0.
      converged_: whether the relative gap is within `tol`.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> x, y = load_iris(return_X_y=True)
      >>> model = LinearSVC().fit(x, y)
      >>> model.coef_.shape, bool(model.relative_gap_ <= 1e-4)
      ((3, 4), True)

    Source: the names are scikit-learn's `LinearSVC`, the objective is liblinear's. There is no
    `dual`, `random_state` or `multi_class`: one deterministic method solves one-vs-rest problems.
    """

    def __init__(
        self,
        penalty: str = "l2",
        loss: str = "squared_hinge",
        *,
        tol: float = 1e-4,
        C: float = 1.0,
        fit_intercept: bool = True,
        intercept_scaling: float | None = 1.0,
        class_weight: Any = None,
        max_iter: int = 1000,
        warm_start: bool = False,
        verbose: Any = 0,
    ) -> None:
        self.penalty = penalty
        self.loss = loss
        self.tol = tol
        self.C = C
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Solves the problems.

        Args:
          X: `[examples, features]`, dense or sparse.
          y: `[examples]` labels.
          sample_weight: `[examples]` factors of C, at least 0.

        Raises:
          ValueError: a parameter or the data are not what they have to be.
        """
        self._check()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"y: one class only, {self.classes_[0]}; a classifier needs two or more"
            )
        weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True, copy=True
        )
        weight *= class_weights(self.class_weight, self.classes_, labels, weight)[labels]
        ones = np.arange(len(self.classes_))[:, None] == labels
        if len(self.classes_) == 2:
            ones = ones[1:]
        target = np.where(ones, 1.0, -1.0)
        found = linear.fit(
            X,
            target,
            np.broadcast_to(self.C * weight, target.shape),
            loss=self.loss,
            penalty=self.penalty,
            intercept_penalty=intercept_weight(
                self.fit_intercept, self.intercept_scaling, power=1 if self.penalty == "l1" else 2
            ),
            tolerance=self.tol,
            max_steps=self.max_iter,
            start=kept_state(self, X, len(target)),
            report=reporter(self.verbose),
        )
        self.coef_, self.intercept_, self.n_iter_ = found.weights, found.intercept, found.steps
        self.duality_gap_ = found.certificate.primal - found.certificate.dual
        self.relative_gap_ = float(found.certificate.relative_gap.max())
        self.objective_ = float(found.certificate.primal.sum())
        self.support_ = np.flatnonzero(found.certificate.variables.any(0))
        self.converged_ = found.converged
        keep_state(self, X, found)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """`[examples, classes]`, `[examples]` for two classes: positive decides for a class."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        values = X @ self.coef_.T + self.intercept_
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: Any) -> np.ndarray:
        """`[examples]` labels."""
        values = self.decision_function(X)
        best = (values > 0).astype(int) if values.ndim == 1 else values.argmax(1)
        return self.classes_[best]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check(self) -> None:
        losses = ("hinge", "squared_hinge") if self.penalty == "l2" else ("squared_hinge",)
        check_choice("penalty", self.penalty, ("l1", "l2"))
        check_choice("loss", self.loss, losses)
        check_linear(self)


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raises `InputError` unless the value is one of those that are allowed."""
    if value not in allowed:
        raise InputError(f"{name}: {value!r} is not allowed, it is {' or '.join(allowed)}")


def check_linear(estimator: Any) -> None:
    """Raises `InputError` unless the numbers of a linear estimator are in range."""
    for name in ("C", "tol"):
        value = getattr(estimator, name)
        if not is_number(value) or not 0 < value < np.inf:
            raise InputError(f"{name}: {value!r} is not allowed, it is a number above 0")
    scaling = estimator.intercept_scaling
    if scaling is not None and (not is_number(scaling) or not 0 < scaling < np.inf):
        raise InputError(
            f"intercept_scaling: {scaling!r} is not allowed, it is a number above 0, or None"
        )
    if not isinstance(estimator.max_iter, int | np.integer) or estimator.max_iter < 1:
        raise InputError(
            f"max_iter: {estimator.max_iter!r} is not allowed, it is an int of at least 1"
        )


def intercept_weight(fit_intercept: bool, scaling: float | None, *, power: int = 2) -> float:
    """The weight of the intercept's penalty, which is its square or, with 1, its magnitude."""
    if not fit_intercept:
        return linear.NO_INTERCEPT
    return 0.0 if scaling is None else 1 / float(scaling) ** power


def keep_state(estimator: Any, x: Any, found: LinearFit) -> None:
    """So that the next fit can go on from where this one ends."""
    estimator._state = None
    if estimator.warm_start or not found.converged:
        estimator._state = (found.weights.shape[0], x.shape, issparse(x)), found.state


def kept_state(estimator: Any, x: Any, num_problems: int) -> LinearState | None:
    """Of the fit before, where that was of as many problems, examples and features."""
    kept = getattr(estimator, "_state", None)
    if not estimator.warm_start or kept is None:
        return None
    of, state = kept
    return state if of == (num_problems, x.shape, issparse(x)) else None


def reporter(verbose: Any) -> Any:
    """Who is told of each step: whoever was given, print, or None."""
    return verbose if callable(verbose) else print if verbose else None
