"""What the classifiers share: one-vs-one problems, votes, probabilities."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from jaxml.errors import InputError
from jaxml.svm import calibration, reductions
from jaxml.svm.estimators.base import KernelMachine, Solved
from jaxml.svm.kernel import (
    ColumnGroups,
    DualProblems,
    group_by_class,
    groups_of_pairs,
    padded_size,
    single_group,
)
from jaxml.types import Array

_SHAPES = ("ovr", "ovo")
_FOLDS = 5


def _has_probabilities(machine: Any) -> bool:
    if not machine.probability:
        raise AttributeError("predict_proba is only there where probability=True")
    return True


class KernelClassifier(ClassifierMixin, KernelMachine):
    """A machine for each pair of classes; a subclass says which problem a pair is."""

    probability: bool
    decision_function_shape: str
    break_ties: bool
    random_state: Any
    classes_: np.ndarray
    n_support_: np.ndarray
    intercept_: np.ndarray

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """`[rows]`: the upper bounds of their variables."""
        raise NotImplementedError

    def _problems(self, parts: DualProblems) -> DualProblems:
        """The problems, of which signs and bounds are known."""
        raise NotImplementedError

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray | None:
        """Feasible variables to begin at, by the last ones where they are feasible still."""
        raise NotImplementedError

    def _scale(self, solved: Solved) -> tuple[np.ndarray, np.ndarray]:
        """By what each problem's variables are multiplied, and its intercept after that."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits a machine to each pair of classes.

        Args:
          X: `[rows, features]`, dense or sparse; for a precomputed kernel `[rows, rows]`.
          y: `[rows]` classes.
          sample_weight: `[rows]`: factors of the upper bounds; rows of 0 or less do not count.

        Returns:
          Itself.

        Raises:
          InputError: settings or data that are not allowed; the message says what would be.
        """
        self._check_settings()
        x, y = self._read(X, reset=True, y=y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        weights = self._read_weights(sample_weight, x)
        self._check_classes(labels, weights)
        x, labels, weights = self._take(x), labels[self._taken], weights[self._taken]
        self._make_space(x)
        columns, parts = self._pairs(labels, self._costs(labels, weights))
        problems = self._problems(parts)
        start = self._start(problems, self._last_variables(columns, problems.sign))

        solved = self._solve(x, columns, problems, start)
        self._set_machine(x, labels, columns, problems, solved)
        if self.probability:
            self._slopes = self._calibrate(x, labels, weights)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The class of each row: of two classes by the sign of the decision, else by votes.

        Args:
          X: `[rows, features]`; for a precomputed kernel `[rows, fitted rows]`.

        Returns:
          `[rows]` classes. Of several with equal votes the first, or the one with the highest
          decision where `break_ties` or `probability` is set.
        """
        if self.break_ties and self.decision_function_shape == "ovo":
            raise InputError("break_ties: True needs decision_function_shape='ovr', not 'ovo'")
        decision = self._pair_decisions(X)
        if decision.ndim == 1:
            chosen = (decision > 0).astype(int)
        elif self.break_ties or self.probability:
            chosen = self._class_decisions(decision).argmax(1)
        else:
            chosen = _compiled(reductions.vote, decision, classes=len(self.classes_))
        return self.classes_[chosen]

    def decision_function(self, X: Any) -> np.ndarray:
        """The distances from what parts the classes, before division by the norm.

        Args:
          X: as of `predict`.

        Returns:
          `[rows]` for two classes, positive for the second. Else `[rows, classes]` votes with
          confidences ("ovr"), or `[rows, pairs]`, positive for the first of a pair ("ovo").
        """
        decision = self._pair_decisions(X)
        if decision.ndim == 1 or self.decision_function_shape == "ovo":
            return decision
        return self._class_decisions(decision)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, the highest for the one that is predicted.

        Args:
          X: as of `predict`.

        Returns:
          `[rows, classes]`, of `jaxml.svm.calibration.calibrated_probabilities`.
        """
        decision = self._pair_decisions(X)
        if decision.ndim > 1:
            decision = self._class_decisions(decision)
        return _in_double(_probabilities, decision, self._slopes)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of `predict_proba`.

        Args:
          X: as of `predict`.

        Returns:
          `[rows, classes]`.
        """
        return np.log(self.predict_proba(X))

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.decision_function_shape not in _SHAPES:
            raise InputError(
                f"decision_function_shape: {self.decision_function_shape!r} is not one of "
                f"{', '.join(_SHAPES)}"
            )

    def _check_classes(self, labels: np.ndarray, weights: np.ndarray) -> None:
        count = len(self.classes_)
        if count < 2:
            raise InputError(f"y: two classes are needed at least, not one class: {self.classes_}")
        mass = np.bincount(labels, weights, minlength=count)
        if not mass.all():
            raise InputError(
                f"sample_weight: every class needs a row above 0, "
                f"the class {self.classes_[mass.argmin()]} has none"
            )

    def _pairs(self, labels: np.ndarray, costs: np.ndarray) -> tuple[ColumnGroups, DualProblems]:
        """The columns, and of each pair of classes the signs and the upper bounds."""
        count = len(self.classes_)
        columns = single_group(len(labels)) if count == 2 else group_by_class(labels, count)
        pairs = reductions.pairs(count)
        groups = groups_of_pairs(columns, pairs)
        row = columns.index[groups].reshape(len(pairs), 1, -1)
        label = np.where(row >= 0, labels[row], -1)
        first, second = (np.array(ends)[:, None, None] for ends in zip(*pairs, strict=True))
        sign = np.where(label == first, 1.0, -1.0)
        upper = np.where((label == first) | (label == second), costs[row], 0.0)
        return columns, DualProblems(groups, sign, np.zeros_like(sign), upper)

    def _set_machine(
        self,
        x: np.ndarray,
        labels: np.ndarray,
        columns: ColumnGroups,
        problems: DualProblems,
        solved: Solved,
    ) -> None:
        """Sets support vectors and coefficients, in libsvm's order, and the intercepts."""
        factor, intercept = self._scale(solved)
        pairs = reductions.pairs(len(self.classes_))
        by_row = np.zeros((len(self.classes_) - 1, len(x)))
        for (first, second), groups, weight, by in zip(
            pairs, problems.groups, solved.weight, factor, strict=True
        ):
            used = np.flatnonzero(weight)
            rows = columns.index[groups].reshape(-1)[used]
            slot = np.where(labels[rows] == first, second - 1, first)
            by_row[slot, rows] = weight[used] * by
        rows = np.flatnonzero(by_row.any(0))
        rows = rows[np.argsort(labels[rows], kind="stable")]
        self._set_support(x, rows)
        self.n_support_ = np.bincount(labels[rows], minlength=len(self.classes_)).astype(np.int32)
        side = -1.0 if len(pairs) == 1 else 1.0  # of two classes the second one is positive
        self.dual_coef_ = side * by_row[:, rows]
        self._set_intercept(side * intercept)

    def _pair_weights(self) -> np.ndarray:
        owner = np.repeat(np.arange(len(self.classes_)), self.n_support_)
        weights = np.zeros((len(owner), len(self.intercept_)))
        for problem, (first, second) in enumerate(reductions.pairs(len(self.classes_))):
            for own, other in ((first, second - 1), (second, first)):
                mine = owner == own
                weights[mine, problem] = self.dual_coef_[other, mine]
        return weights

    def _pair_decisions(self, X: Any) -> np.ndarray:
        decision = self._outputs(self._read_fitted(X))
        return decision[:, 0] if len(self.classes_) == 2 else decision

    def _class_decisions(self, decision: np.ndarray) -> np.ndarray:
        return _compiled(reductions.one_vs_rest_decisions, decision, classes=len(self.classes_))

    def _calibrate(self, x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The slopes of probabilities, by decisions on rows that were not fitted."""
        fewest = np.bincount(labels).min()
        if fewest < 2:
            raise InputError("probability: True needs two rows of each class at least, not one")
        folds = StratifiedKFold(min(_FOLDS, fewest), shuffle=True, random_state=self.random_state)
        machine: Any = clone(self)
        machine.set_params(probability=False, decision_function_shape="ovr", warm_start=False)
        decisions = None
        for train, test in folds.split(labels, labels):
            pairwise = self._space.kernel == "precomputed"
            here, there = (
                (x[np.ix_(train, train)], x[np.ix_(test, train)])
                if pairwise
                else (x[train], x[test])
            )
            machine.fit(here, self.classes_[labels[train]], weights[train])
            decision = machine.decision_function(there)
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


def _compiled(function: Callable[..., Any], decision: np.ndarray, *, classes: int) -> np.ndarray:
    """A function of `jaxml.svm.reductions`."""
    return _in_double(partial(_of_pairs, function, classes=classes), decision)


def _in_double(function: Callable[..., Any], decision: np.ndarray, *more: Any) -> np.ndarray:
    """A function of decisions in float64, compiled for few numbers of rows."""
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
