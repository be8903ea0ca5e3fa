"""Base of the kernel classifiers: one-vs-one problems, votes and probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.metaestimators import available_if

from jaxml.errors import InputError
from jaxml.svm import calibration, reductions
from jaxml.svm._checks import check_choice
from jaxml.svm.estimators._kernel import KernelEstimator
from jaxml.svm.estimators._validation import class_totals, encode_labels
from jaxml.svm.kernel import (
    ColumnGroups,
    DualProblems,
    KernelSolution,
    padded_size,
    pair_problems,
)
from jaxml.types import Array

_FOLDS = 5


def _has_probabilities(classifier: Any) -> bool:
    if not classifier.probability:
        raise AttributeError("predict_proba is only available for probability=True")
    return True


@dataclass(kw_only=True, eq=False, repr=False)
class PairwiseClassifier(ClassifierMixin, KernelEstimator):
    """Classifier with one binary problem for each pair of classes, solved as one batch."""

    probability: bool = False
    decision_function_shape: str = "ovr"
    break_ties: bool = False
    random_state: Any = None

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns the `[samples]` upper bounds of the variables."""
        raise NotImplementedError

    def _problems(self, bounded: DualProblems) -> DualProblems:
        """Completes problems whose signs and upper bounds are set."""
        raise NotImplementedError

    def _scale(self, solution: KernelSolution) -> tuple[np.ndarray, np.ndarray]:
        """Returns the factor of each problem's variables, and its intercept after scaling."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits a binary classifier to each pair of classes.

        Args:
          X: `[samples, features]`, dense or sparse, or a square matrix for a precomputed kernel.
          y: `[samples]` classes.
          sample_weight: `[samples]` factors of the upper bounds; samples whose weight is not
            positive are ignored.
        """
        self._check()
        x, y = self._read(X, reset=True, y=y)
        self.classes_, labels = encode_labels(y)
        x, weights = self._select(x, sample_weight)
        labels = labels[self._used]
        class_totals(self.classes_, labels, weights)
        self._fit_kernel(x)
        costs = self._costs(labels, weights)
        columns, bounded = pair_problems(labels, costs[None], len(self.classes_))
        problems = self._problems(bounded)
        solution, weight = self._solve(x, columns, problems)
        self._set_coefficients(x, labels, columns, problems.groups, weight, solution)
        if self.probability:
            self._slopes = self._calibrate(x, labels, weights)
        self._warn(solution)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predicts by the sign of the decision for two classes, by votes for more.

        Args:
          X: `[samples, features]`, or `[samples, fitted samples]` for a precomputed kernel.

        Returns:
          `[samples]` classes. Ties are resolved in favor of the first class, or of the highest
          decision if `break_ties` or `probability` is set.
        """
        if self.break_ties and self.decision_function_shape == "ovo":
            raise InputError(
                "`break_ties` must be False for decision_function_shape='ovo', got True"
            )
        decision = self._pair_decisions(X)
        if decision.ndim == 1:
            chosen = (decision > 0).astype(int)
        elif self.break_ties or self.probability:
            chosen = self._class_decisions(decision).argmax(1)
        else:
            chosen = _reduce(reductions.vote, decision, classes=len(self.classes_))
        return self.classes_[chosen]

    def decision_function(self, X: Any) -> np.ndarray:
        """Computes decision values, which are not divided by the norm of the weights.

        Args:
          X: as in `predict`.

        Returns:
          `[samples]` for two classes, positive for the second. Otherwise `[samples, classes]` votes
          with confidences ("ovr"), or `[samples, pairs]`, positive for the first of a pair ("ovo").
        """
        decision = self._pair_decisions(X)
        if decision.ndim == 1 or self.decision_function_shape == "ovo":
            return decision
        return self._class_decisions(decision)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Computes `[samples, classes]` probabilities, which are highest for the predicted class.

        See `jaxml.svm.calibration.calibrated_probabilities`. Requires `probability=True`.
        """
        decision = self._pair_decisions(X)
        if decision.ndim > 1:
            decision = self._class_decisions(decision)
        return _in_double(_probabilities, decision, self._slopes)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Computes the logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))

    def _check(self) -> None:
        super()._check()
        check_choice("decision_function_shape", self.decision_function_shape, ("ovr", "ovo"))

    def _set_coefficients(
        self,
        x: np.ndarray,
        labels: np.ndarray,
        columns: ColumnGroups,
        groups: np.ndarray,
        weight: np.ndarray,
        solution: KernelSolution,
    ) -> None:
        """Sets support vectors and coefficients in libsvm's order, and the intercepts."""
        factor, intercept = self._scale(solution)
        pairs = reductions.pairs(len(self.classes_))
        by_sample = np.zeros((len(self.classes_) - 1, len(x)))
        for (first, second), own, coefficients, by in zip(
            pairs, groups, weight, factor, strict=True
        ):
            used = np.flatnonzero(coefficients)
            rows = columns.index[own].reshape(-1)[used]
            slot = np.where(labels[rows] == first, second - 1, first)
            by_sample[slot, rows] = coefficients[used] * by
        rows = np.flatnonzero(by_sample.any(0))
        rows = rows[np.argsort(labels[rows], kind="stable")]
        self._set_support(x, rows)
        self.n_support_ = np.bincount(labels[rows], minlength=len(self.classes_)).astype(np.int32)
        side = -1.0 if len(pairs) == 1 else 1.0  # the second of two classes is positive
        self.dual_coef_ = side * by_sample[:, rows]
        self._set_intercept(side * intercept)

    def _problem_weights(self) -> np.ndarray:
        owner = np.repeat(np.arange(len(self.classes_)), self.n_support_)
        weights = np.zeros((len(owner), len(self.intercept_)))
        for problem, (first, second) in enumerate(reductions.pairs(len(self.classes_))):
            for own, other in ((first, second - 1), (second, first)):
                mine = owner == own
                weights[mine, problem] = self.dual_coef_[other, mine]
        return weights

    def _pair_decisions(self, X: Any) -> np.ndarray:
        decision = self._outputs(X)
        return decision[:, 0] if len(self.classes_) == 2 else decision

    def _class_decisions(self, decision: np.ndarray) -> np.ndarray:
        return _reduce(reductions.one_vs_rest_decisions, decision, classes=len(self.classes_))

    def _calibrate(self, x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Fits the slopes of the probabilities to cross-validated decisions."""
        fewest = np.bincount(labels).min()
        if fewest < 2:
            raise InputError("`probability` must be False if a class has only one sample, got True")
        folds = StratifiedKFold(min(_FOLDS, fewest), shuffle=True, random_state=self.random_state)
        model: Any = clone(self)
        model.set_params(probability=False, decision_function_shape="ovr", warm_start=False)
        is_square = self._kernel.kernel == "precomputed"
        decisions = None
        for train, test in folds.split(labels, labels):
            fitted = x[np.ix_(train, train)] if is_square else x[train]
            model.fit(fitted, self.classes_[labels[train]], weights[train])
            decision = model.decision_function(x[np.ix_(test, train)] if is_square else x[test])
            if decisions is None:
                decisions = np.zeros((len(x), *decision.shape[1:]))
            decisions[test] = decision
        with jax.enable_x64(True):
            slopes = calibration.calibration_slopes(
                jnp.asarray(decisions),
                jnp.asarray(labels),
                sample_weight=jnp.asarray(weights),
            )
            return np.asarray(slopes)


def _reduce(function: Callable[..., Any], decision: np.ndarray, *, classes: int) -> np.ndarray:
    """Applies a function of `jaxml.svm.reductions` to the decisions of the pairs."""
    return _in_double(partial(_of_pairs, function, classes=classes), decision)


def _in_double(function: Callable[..., Any], decision: np.ndarray, *more: Any) -> np.ndarray:
    """Applies a function in float64, with padding so that few shapes are compiled."""
    rows = len(decision)
    fill = [(0, padded_size(rows, least=128) - rows)] + [(0, 0)] * (decision.ndim - 1)
    with jax.enable_x64(True):
        return np.asarray(function(np.pad(decision, fill), *more))[:rows]


@partial(jax.jit, static_argnames=("function", "classes"))
def _of_pairs(function: Callable[..., Any], decision: Array, *, classes: int) -> Array:
    return function(decision, num_classes=classes)


@jax.jit
def _probabilities(decision: Array, slopes: Array) -> Array:
    return calibration.calibrated_probabilities(slopes, decision)
