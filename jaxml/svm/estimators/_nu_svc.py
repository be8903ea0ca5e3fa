"""Support vector classification with nu in place of C."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jaxml.errors import InputError
from jaxml.svm._checks import check_number
from jaxml.svm.estimators._kernel import feasible_start
from jaxml.svm.estimators._pairwise import PairwiseClassifier
from jaxml.svm.kernel import DualProblems, KernelSolution


def _margin(threshold: np.ndarray) -> Any:
    """Returns half the distance between the thresholds `[2, ...]` of the two classes."""
    return (threshold[1] - threshold[0]) / 2


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
    _score_scale: ClassVar = staticmethod(lambda threshold: float(_margin(threshold)))

    def _check(self) -> None:
        super()._check()
        check_number("nu", self.nu, above=0, most=1)

    def _costs(self, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        del labels
        return weights

    def _problems(self, bounded: DualProblems) -> DualProblems:
        positive, negative = (side.sum(-1) for side in _sides(bounded))
        most = 2 * (np.minimum(positive, negative) / (positive + negative)).min()
        if self.nu > most * (1 + 1e-12):
            raise InputError(
                f"`nu` must be <= {most:.6g}, twice the fraction of the smaller class of a pair, "
                f"got {self.nu}"
            )
        return bounded._replace(two_constraints=True)

    def _start(self, problems: DualProblems, last: np.ndarray | None) -> np.ndarray:
        total = self.nu * problems.upper.sum(-1, keepdims=True) / 2
        positive, negative = (
            feasible_start(side, total, None if last is None else np.where(side > 0, last, 0.0))
            for side in _sides(problems)
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


def _sides(problems: DualProblems) -> list[np.ndarray]:
    """Returns the upper bounds of the variables of each sign, 0 for the other sign."""
    return [np.where(problems.sign == sign, problems.upper, 0.0) for sign in (1, -1)]
