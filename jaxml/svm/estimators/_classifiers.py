"""Support vector classification with kernels."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jaxml.errors import InputError
from jaxml.svm._validation import check_number
from jaxml.svm.estimators._kernel import LARGEST, feasible_start
from jaxml.svm.estimators._pairwise import PairwiseClassifier
from jaxml.svm.estimators._weights import check_class_totals, class_weights
from jaxml.svm.kernel import DualProblems, KernelSolution


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
      classes_: `[classes]`.
      support_: `[vectors]` indices of the support vectors, grouped by class.
      support_vectors_: `[vectors, features]`; empty for a precomputed kernel.
      n_support_: `[classes]` number of support vectors.
      dual_coef_: `[classes - 1, vectors]`, in libsvm's layout.
      intercept_: `[pairs]`.
      coef_: `[pairs, features]`, for a linear kernel.
      class_weight_: `[classes]` factors of C.
      n_iter_: `[pairs]` number of rounds.
      fit_status_: 0 if all problems are solved to the tolerance in float64, otherwise 1.
      shape_fit_: shape of the training data.
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
        sides = [np.where(problems.sign == sign, problems.upper, 0.0) for sign in (1, -1)]
        total = problems.upper.sum(-1, keepdims=True)
        most = 2 * min((side.sum(-1, keepdims=True) / total).min() for side in sides)
        if self.nu > most * (1 + 1e-12):
            raise InputError(
                f"`nu` must be <= {most:.6g}, twice the fraction of the smaller class of a pair, "
                f"got {self.nu}"
            )
        positive, negative = (
            feasible_start(
                side, self.nu * total / 2, None if last is None else np.where(side > 0, last, 0.0)
            )
            for side in sides
        )
        return positive + negative

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
