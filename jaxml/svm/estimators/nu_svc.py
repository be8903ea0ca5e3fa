"""Support vector classification with a share of margin errors in the place of a price."""

import warnings
from typing import Any, ClassVar

import numpy as np

from jaxml.errors import InputError
from jaxml.svm.estimators.base import Solved, feasible_start
from jaxml.svm.estimators.classifier import KernelClassifier
from jaxml.svm.kernel import DualProblems


def _margin_of_thresholds(threshold: np.ndarray) -> float:
    """By which the outputs are divided: half the distance of the thresholds of the classes."""
    positive, negative = threshold
    return float(negative - positive) / 2


class NuSVC(KernelClassifier):
    r"""Classification where nu bounds the share of rows within the margin, from above.

    The machine of each pair of classes is that of `jaxml.svm.objectives.NuClassification`, divided
    by its margin; nu bounds the share of support vectors, too, from below.

    Args:
      nu: in (0, 1], at most twice the share of the smaller class of each pair.
      kernel: as of `SVC`.
      degree: as of `SVC`.
      gamma: as of `SVC`.
      coef0: as of `SVC`.
      probability: as of `SVC`.
      tol: as of `SVC`, after the division by the margin; libsvm's is before it.
      cache_size: as of `SVC`.
      verbose: as of `SVC`.
      max_iter: as of `SVC`.
      decision_function_shape: as of `SVC`.
      break_ties: as of `SVC`.
      random_state: as of `SVC`.
      warm_start: as of `SVC`; variables of another nu are not gone on from.

    Attributes:
      classes_: and all others as of `SVC`, but `class_weight_`. The primal, the dual and the gap
        are those before the division by the margin.

    Example:
      >>> machine = NuSVC(kernel="linear").fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
      >>> machine.predict([[1.5], [2.5]]).tolist()
      [0, 1]

    Source: scikit-learn's and libsvm's names and layouts. scikit-learn's `class_weight` is left
    out: it does nothing there. For what else differs see `SVC`.
    """

    _bounds: ClassVar = {"nu": (0.0, False, 1.0)}
    _score_scale: ClassVar = staticmethod(_margin_of_thresholds)

    def __init__(
        self,
        *,
        nu: float = 0.5,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        probability: bool = False,
        tol: float = 1e-3,
        cache_size: float = 2000,
        verbose: bool = False,
        max_iter: int = -1,
        decision_function_shape: str = "ovr",
        break_ties: bool = False,
        random_state: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.nu = nu
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.probability = probability
        self.tol = tol
        self.cache_size = cache_size
        self.verbose = verbose
        self.max_iter = max_iter
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties
        self.random_state = random_state
        self.warm_start = warm_start

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        del labels
        return weights

    def _problems(self, parts: DualProblems) -> DualProblems:
        positive, negative = (side.sum(-1) for side in _sides(parts))
        most = 2 * (np.minimum(positive, negative) / (positive + negative)).min()
        if self.nu > most * (1 + 1e-12):
            raise InputError(
                f"nu: {self.nu} is infeasible for these classes, it is at most {most:.6g}, twice "
                f"the share of the smaller class of a pair"
            )
        return parts._replace(two_constraints=True)

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray:
        total = self.nu * problems.upper.sum(-1, keepdims=True) / 2
        positive, negative = (
            feasible_start(side, total, None if last is None else np.where(side > 0, last, 0.0))
            for side in _sides(problems)
        )
        return positive + negative

    def _scale(self, solved: Solved) -> tuple[np.ndarray, np.ndarray]:
        positive, negative = solved.threshold
        margin = (negative - positive) / 2
        has_margin = self.tol * margin > solved.noise
        if not has_margin.all():
            warnings.warn(
                f"nu={self.nu:g} leaves no margin: the optimal weights are 0, and so is the output "
                f"up to rounding; decrease nu, or choose another kernel",
                UserWarning,
                stacklevel=3,
            )
        factor = 1 / np.where(has_margin, margin, 1.0)
        return factor, (positive + negative) / 2 * factor


def _sides(problems: DualProblems) -> list[np.ndarray]:
    """The upper bounds of either sign alone."""
    return [np.where(problems.sign == sign, problems.upper, 0.0) for sign in (1, -1)]
