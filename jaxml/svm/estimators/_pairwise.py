"""Base of the kernel classifiers: one-vs-one problems, votes and probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.utils.metaestimators import available_if

from jaxml.errors import InputError
from jaxml.svm import calibration, reductions
from jaxml.svm._validation import check_choice
from jaxml.svm.estimators._kernel import KernelEstimator
from jaxml.svm.estimators._weights import encode_labels
from jaxml.svm.kernel import (
    ColumnGroups,
    DualProblems,
    KernelSolution,
    group_by_class,
    groups_of_pairs,
    padded_size,
    single_group,
)
from jaxml.types import Array

_FOLDS = 5

_vote = jax.jit(reductions.vote, static_argnames="num_classes")
_one_vs_rest = jax.jit(reductions.one_vs_rest_decisions, static_argnames="num_classes")
_probabilities = jax.jit(calibration.calibrated_probabilities)


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

    # The linear term of the dual, and whether each sign has an equality constraint of its own.
    _linear: ClassVar[float] = -1.0
    _two_constraints: ClassVar[bool] = False

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns the `[samples]` upper bounds of the variables."""
        raise NotImplementedError

    def _scale(self, solution: KernelSolution) -> tuple[np.ndarray, np.ndarray]:
        """Returns the factor of each problem's variables, and its intercept after scaling."""
        return np.ones(len(solution.value)), solution.threshold[0]

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
        columns, problems = self._pairs(labels, self._costs(labels, weights))
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
            chosen = _in_double(partial(_vote, num_classes=len(self.classes_)), decision)
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
        return _in_double(partial(_probabilities, self._slopes), decision)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Computes the logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))

    def _check(self) -> None:
        super()._check()
        check_choice("decision_function_shape", self.decision_function_shape, ("ovr", "ovo"))

    def _pairs(self, labels: np.ndarray, costs: np.ndarray) -> tuple[ColumnGroups, DualProblems]:
        """Returns the columns, and the problem of each pair of classes."""
        count = len(self.classes_)
        columns = single_group(len(labels)) if count == 2 else group_by_class(labels, count)
        pairs = reductions.pairs(count)
        groups = groups_of_pairs(columns, pairs)
        row = columns.index[groups].reshape(len(pairs), 1, -1)
        label = np.where(row >= 0, labels[row], -1)
        first, second = (np.array(ends)[:, None, None] for ends in zip(*pairs, strict=True))
        sign = np.where(label == first, 1.0, -1.0)
        upper = np.where((label == first) | (label == second), costs[row], 0.0)
        linear = np.full_like(sign, self._linear)
        return columns, DualProblems(groups, sign, linear, upper, self._two_constraints)

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
        return _in_double(partial(_one_vs_rest, num_classes=len(self.classes_)), decision)

    def _calibrate(self, x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Fits the slopes of the probabilities to cross-validated decisions."""
        fewest = np.bincount(labels).min()
        if fewest < 2:
            raise InputError("`probability` must be False if a class has only one sample, got True")
        folds = StratifiedKFold(min(_FOLDS, fewest), shuffle=True, random_state=self.random_state)
        model: Any = clone(self)
        model.set_params(probability=False, decision_function_shape="ovr", warm_start=False)
        if isinstance(getattr(model, "class_weight", None), dict):
            model.set_params(class_weight=dict(enumerate(self.class_weight_)))
        decisions = cross_val_predict(
            model,
            x,
            labels,
            cv=folds,
            method="decision_function",
            params={"sample_weight": weights},
        )
        with jax.enable_x64(True):
            slopes = calibration.calibration_slopes(
                *map(jnp.asarray, (decisions, labels)), sample_weight=jnp.asarray(weights)
            )
            return np.asarray(slopes)


def _in_double(function: Callable[[np.ndarray], Array], decision: np.ndarray) -> np.ndarray:
    """Applies a compiled function in float64, with padding so that few shapes are compiled."""
    rows = len(decision)
    fill = [(0, padded_size(rows, least=128) - rows)] + [(0, 0)] * (decision.ndim - 1)
    with jax.enable_x64(True):
        return np.asarray(function(np.pad(decision, fill)))[:rows]
