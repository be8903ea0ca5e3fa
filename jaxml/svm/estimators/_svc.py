"""Support vector classification with kernels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxml.svm._checks import check_number
from jaxml.svm.estimators._kernel import LARGEST, rescaled
from jaxml.svm.estimators._pairwise import PairwiseClassifier
from jaxml.svm.estimators._validation import class_weights
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
      duality_gap_: `[pairs]` primal minus dual, from scores in float64. It bounds the distance to
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

    def _problems(self, bounded: DualProblems) -> DualProblems:
        return bounded._replace(linear=-np.ones_like(bounded.sign))

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray | None:
        return rescaled(last, problems.upper)

    def _scale(self, solution: KernelSolution) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(len(solution.value)), solution.threshold[0]
