"""Support vector classification with kernels."""

from typing import Any, ClassVar

import numpy as np

from jaxml.svm.estimators.base import LARGEST, Solved, rescaled
from jaxml.svm.estimators.class_weights import class_weights
from jaxml.svm.estimators.classifier import KernelClassifier
from jaxml.svm.kernel import DualProblems


class SVC(KernelClassifier):
    r"""Classification with the hinge, several classes one against one.

    .. math::
      \min_{w, b} \tfrac12 |w|^2 + \sum_i C_i \max(0, 1 - s_i (\langle w, \phi(x_i) \rangle + b))

    for each pair of classes, solved in the dual with all pairs at once.

    Args:
      C: the price of an error, above 0.
      kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a callable of `[n, features]`
        and `[m, features]` to `[n, m]`: one of JAX arrays is compiled, of one that wants NumPy
        arrays the whole matrix is made.
      degree: of poly.
      gamma: of poly, rbf and sigmoid: "scale", 1 / (features * variance), "auto", 1 / features, or
        a number.
      coef0: of poly and sigmoid.
      probability: whether `predict_proba` is there, for five more fits of 4/5 of the rows.
      tol: the violation of the optimality conditions to end at, as libsvm measures it.
      cache_size: MiB for rows of the kernel.
      class_weight: class -> factor of C; "balanced" for inverse frequencies, in which a sample of
        weight 3 counts as three, unlike scikit-learn's; None for 1.
      verbose: whether each round is printed, or who is told of it.
      max_iter: rounds at most, each of which solves a working set for every problem; -1 for no
        limit.
      decision_function_shape: "ovr" or "ovo", of three classes or more.
      break_ties: whether equal votes are decided by confidences.
      random_state: of the folds of `probability`.
      warm_start: whether another fit of the same data goes on from the last one's variables.

    Attributes:
      classes_: `[classes]`.
      support_: `[vectors]` rows of the data, those of a class together.
      support_vectors_: `[vectors, features]`; empty for a precomputed kernel.
      n_support_: `[classes]`.
      dual_coef_: `[classes - 1, vectors]`, in libsvm's layout.
      intercept_: `[pairs]`.
      coef_: `[pairs, features]`, of the linear kernel.
      class_weight_: `[classes]`.
      n_iter_: `[pairs]` rounds in which each took part.
      fit_status_: 0 if all problems are solved to the tolerance in float64, else 1.
      shape_fit_: of the data.
      primal_: `[pairs]`: the primal of each, at the fitted intercept.
      dual_: `[pairs]`: the lower bound that the variables prove.
      duality_gap_: `[pairs]`: primal minus dual, from scores in float64. It bounds the distance to
        the optimum where the kernel is an inner product, which sigmoid may not be.
      relative_gap_: the sum of the gaps over that of the primals.

    Example:
      >>> machine = SVC(kernel="linear").fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
      >>> machine.predict([[1.5], [2.5]]).tolist(), machine.support_.tolist()
      ([0, 1], [1, 2])

    Source: scikit-learn's and libsvm's names and layouts. scikit-learn's `shrinking` is left out:
    solved problems are left out of rounds, always. Its `max_iter` counts single steps. Its
    probabilities may contradict its predictions; these do not. The solver computes in float32 where
    that reaches `tol` and in float64 where it does not. Decisions are computed in float32 where
    their expected error is below `tol`. Sparse data is made dense, and samples of weight 0 are
    dropped.
    """

    _bounds: ClassVar = {"C": (0.0, False, LARGEST)}
    class_weight_: np.ndarray

    def __init__(
        self,
        *,
        C: float = 1.0,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        probability: bool = False,
        tol: float = 1e-3,
        cache_size: float = 2000,
        class_weight: Any = None,
        verbose: bool = False,
        max_iter: int = -1,
        decision_function_shape: str = "ovr",
        break_ties: bool = False,
        random_state: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.probability = probability
        self.tol = tol
        self.cache_size = cache_size
        self.class_weight = class_weight
        self.verbose = verbose
        self.max_iter = max_iter
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties
        self.random_state = random_state
        self.warm_start = warm_start

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        self.class_weight_ = class_weights(self.class_weight, self.classes_, labels, weights)
        return self.C * weights * self.class_weight_[labels]

    def _problems(self, parts: DualProblems) -> DualProblems:
        return parts._replace(linear=-np.ones_like(parts.sign))

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray | None:
        return rescaled(last, problems.upper)

    def _scale(self, solved: Solved) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(len(solved.value)), solved.threshold[0]
