"""Support vector classification with kernels: one-vs-one problems, votes and probabilities."""

import warnings
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
from jaxml.svm._validation import check_choice, check_number
from jaxml.svm.estimators._kernel import LARGEST, KernelEstimator, feasible_start
from jaxml.svm.estimators._weights import check_class_totals, class_weights, encode_labels
from jaxml.svm.kernel import (
    ColumnGroups,
    DualProblems,
    KernelSolution,
    padded_size,
    pair_problems,
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
          sample_weight: `[samples]` factors of C; samples whose weight is not positive are ignored.
        """
        self._check()
        x, y = self._read(X, reset=True, y=y)
        self.classes_, labels = encode_labels(y)
        x, weights = self._select(x, sample_weight)
        labels = labels[self._used]
        costs = self._costs(labels, weights)
        columns, problems = pair_problems(labels, costs[None], len(self.classes_))
        linear = np.full_like(problems.sign, self._linear)
        problems = problems._replace(linear=linear, two_constraints=self._two_constraints)
        solution, weight = self._solve(x, columns, problems)
        self._set_coefficients(x, labels, columns, problems.groups, weight, solution)
        if self.probability:
            self._slopes = self._calibrate(x, labels, weights)
        self._warn(solution)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predicts by the sign of the decision for two classes, by votes for more.

        Ties are resolved in favor of the first class, or of the highest decision if `break_ties` or
        `probability` is set. A precomputed kernel takes `[samples, fitted samples]`.
        """
        if self.break_ties and self.decision_function_shape == "ovo":
            raise InputError(
                "`break_ties` must be False for decision_function_shape='ovo', got True"
            )
        by_votes = not (self.break_ties or self.probability)
        decision = self._decisions(X, of_pairs=by_votes)
        if decision.ndim == 1:
            chosen = (decision > 0).astype(int)
        elif by_votes:
            chosen = _in_double(partial(_vote, num_classes=len(self.classes_)), decision)
        else:
            chosen = decision.argmax(1)
        return self.classes_[chosen]

    def decision_function(self, X: Any) -> np.ndarray:
        """Computes decision values, which are not divided by the norm of the weights.

        They are `[samples]` for two classes, positive for the second. For more they are
        `[samples, classes]` votes with confidences ("ovr"), or `[samples, pairs]`, positive for the
        first of a pair ("ovo").
        """
        return self._decisions(X, of_pairs=self.decision_function_shape == "ovo")

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Computes `[samples, classes]` probabilities, which are highest for the predicted class.

        See `jaxml.svm.calibration.calibrated_probabilities`. Requires `probability=True`.
        """
        decision = self._decisions(X, of_pairs=False)
        return _in_double(partial(_probabilities, self._slopes), decision)

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
        scaled = factor[:, None] * weight
        for (first, second), own, coefficients in zip(pairs, groups, scaled, strict=True):
            used = np.flatnonzero(coefficients)
            rows = columns.index[own].reshape(-1)[used]
            slot = np.where(labels[rows] == first, second - 1, first)
            by_sample[slot, rows] = coefficients[used]
        side = -1.0 if len(pairs) == 1 else 1.0  # the second of two classes is positive
        self._set_support(x, labels, side * by_sample)
        self._set_intercept(side * intercept)

    def _problem_weights(self) -> np.ndarray:
        owner = np.repeat(np.arange(len(self.classes_)), self.n_support_)
        weights = np.zeros((len(owner), len(self.intercept_)))
        for problem, (first, second) in enumerate(reductions.pairs(len(self.classes_))):
            for own, other in ((first, second - 1), (second, first)):
                mine = owner == own
                weights[mine, problem] = self.dual_coef_[other, mine]
        return weights

    def _decisions(self, X: Any, *, of_pairs: bool) -> np.ndarray:
        """Returns decisions of the pairs or of the classes; `[samples]` for two classes."""
        decision = self._outputs(X)
        if len(self.classes_) == 2:
            return decision[:, 0]
        if of_pairs:
            return decision
        return _in_double(partial(_one_vs_rest, num_classes=len(self.classes_)), decision)

    def _calibrate(self, x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Fits the slopes of the probabilities to cross-validated decisions."""
        fewest = np.bincount(labels).min()
        if fewest < 2:
            raise InputError("`probability` must be False if a class has only one sample, got True")
        folds = StratifiedKFold(min(_FOLDS, fewest), shuffle=True, random_state=self.random_state)
        model: Any = clone(self)
        model.set_params(probability=False, decision_function_shape="ovr", warm_start=False)
        if isinstance(getattr(model, "class_weight", None), dict):  # by label instead of by class
            model.set_params(class_weight=dict(enumerate(getattr(self, "class_weight_", ()))))
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


@dataclass(kw_only=True, eq=False, repr=False)
class SVC(PairwiseClassifier):
    r"""Classifier that minimizes the hinge loss with a kernel, one-vs-one for several classes.

    For each pair of classes it solves the dual of

    .. math::
      \min_{w, b} \tfrac12 |w|^2 + \sum_i C_i \max(0, 1 - s_i (\langle w, \phi(x_i) \rangle + b))

    Names and layouts are those of scikit-learn and libsvm, with these differences. There is no
    `shrinking`: solved problems always leave the working batch. `max_iter` counts working sets, not
    pairs of variables. Probabilities agree with predictions. The solver uses float32 where that
    reaches `tol`, and float64 elsewhere; decisions are computed in float32 where their expected
    error is below `tol`. Sparse data is made dense.

    Args:
      C: penalty parameter, > 0.
      kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a callable from `[n, features]`
        and `[m, features]` to `[n, m]`. A callable of JAX arrays is compiled; for one that needs
        NumPy arrays, the whole matrix is computed.
      degree: degree of the poly kernel.
      gamma: coefficient of the poly, rbf and sigmoid kernels: "scale", 1 / (features * variance),
        "auto", 1 / features, or a number.
      coef0: constant of the poly and sigmoid kernels.
      probability: whether to fit `predict_proba`, by five more fits of 4/5 of the samples.
      tol: largest violation of the optimality conditions, as libsvm measures it.
      cache_size: memory in MiB for rows of the kernel matrix.
      class_weight: factors of C as a dict from class to factor; "balanced" for factors inversely
        proportional to the summed sample weights of the classes; None for 1.
      verbose: whether to print the progress after each round, or a function that receives it.
      max_iter: limit of rounds, each of which optimizes one working set per problem; -1 for none.
      decision_function_shape: "ovr" or "ovo", for three classes or more.
      break_ties: whether confidences decide between classes with equal votes.
      random_state: seed of the folds of `probability`.
      warm_start: whether to start from the variables of the last fit of the same samples.

    Attributes:
      support_: `[vectors]` indices of the support vectors, grouped by class.
      support_vectors_: `[vectors, features]`; empty for a precomputed kernel.
      n_support_: `[classes]` number of support vectors.
      dual_coef_: `[classes - 1, vectors]`, in libsvm's layout.
      intercept_: `[pairs]`.
      coef_: `[pairs, features]`, for a linear kernel.
      class_weight_: `[classes]` factors of C.
      n_iter_: `[pairs]` number of rounds.
      fit_status_: 0 if all problems are solved to the tolerance in float64, otherwise 1.
      primal_: `[pairs]` primal objectives at the fitted intercepts.
      dual_: `[pairs]` dual objectives, which are lower bounds of the optima.
      duality_gap_: `[pairs]` primal minus dual, from scores in float64: a bound of the distance to
        the optimum if the kernel is an inner product, which sigmoid may not be.
      relative_gap_: sum of the gaps divided by the sum of the primal objectives.

    Example:
      >>> model = SVC(kernel="linear").fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
      >>> model.predict([[1.5], [2.5]]).tolist(), model.support_.tolist()
      ([0, 1], [1, 2])
    """

    C: float = 1.0
    class_weight: Any = None

    def _check(self) -> None:
        super()._check()
        check_number("C", self.C, above=0, most=LARGEST)

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        self.class_weight_ = class_weights(self.class_weight, self.classes_, labels, weights)
        return self.C * weights * self.class_weight_[labels]


@dataclass(kw_only=True, eq=False, repr=False)
class NuSVC(PairwiseClassifier):
    r"""Classifier in which nu bounds the fraction of margin errors and of support vectors.

    For each pair of classes it solves a `jaxml.svm.objectives.NuClassification` problem and divides
    the solution by its margin. At most the fraction nu of the samples is within the margin, and at
    least the fraction nu are support vectors.

    There is no `class_weight`, which has no effect in scikit-learn. The other differences from
    scikit-learn are those of `SVC`.

    Args:
      nu: in (0, 1], and at most twice the fraction of the smaller class of each pair.
      tol: largest violation of the optimality conditions after the division by the margin;
        libsvm measures it before.
      warm_start: as in `SVC`; variables of another nu are not reused.
      Other arguments are those of `SVC`, without `C` and `class_weight`.

    Attributes:
      primal_, dual_, duality_gap_: objectives before the division by the margin.
      Other attributes are those of `SVC`, without `class_weight_`.

    Example:
      >>> model = NuSVC(kernel="linear").fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
      >>> model.predict([[1.5], [2.5]]).tolist()
      [0, 1]
    """

    nu: float = 0.5
    _linear: ClassVar = 0.0
    _two_constraints: ClassVar = True
    _score_scale: ClassVar = staticmethod(lambda threshold: float(_margin(threshold)))

    def _check(self) -> None:
        super()._check()
        check_number("nu", self.nu, above=0, most=1)

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        check_class_totals(self.classes_, labels, weights)
        return weights

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray:
        # The upper bounds of the variables of each sign, 0 for the other sign.
        sides = np.stack([np.where(problems.sign == y, problems.upper, 0.0) for y in (1, -1)])
        total = problems.upper.sum(-1, keepdims=True)
        most = 2 * (sides.sum(-1, keepdims=True) / total).min()
        if self.nu > most * (1 + 1e-12):
            raise InputError(
                f"`nu` must be <= {most:.6g}, twice the fraction of the smaller class of a pair, "
                f"got {self.nu}"
            )
        last = None if last is None else np.where(sides > 0, last, 0.0)
        return feasible_start(sides, self.nu * total / 2, last).sum(0)

    def _scale(self, solution: KernelSolution) -> tuple[np.ndarray, np.ndarray]:
        margin = _margin(solution.threshold)
        has_margin = self.tol * margin > solution.noise
        if not has_margin.all():
            warnings.warn(
                f"nu={self.nu:g} leaves no margin: the optimal weights are 0, and so is the output "
                f"up to rounding; decrease nu, or choose another kernel",
                UserWarning,
                stacklevel=4,
            )
        factor = 1 / np.where(has_margin, margin, 1.0)
        return factor, solution.threshold.sum(0) / 2 * factor


def _margin(threshold: np.ndarray) -> Any:
    """Returns half the distance between the thresholds `[2, ...]` of the two classes."""
    return (threshold[1] - threshold[0]) / 2


def _in_double(function: Callable[[np.ndarray], Array], decision: np.ndarray) -> np.ndarray:
    """Applies a compiled function in float64, with padding so that few shapes are compiled."""
    rows = len(decision)
    fill = [(0, padded_size(rows, least=128) - rows)] + [(0, 0)] * (decision.ndim - 1)
    with jax.enable_x64(True):
        return np.asarray(function(np.pad(decision, fill)))[:rows]
