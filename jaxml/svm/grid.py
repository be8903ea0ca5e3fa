"""Cross-validation of a grid of hyper-parameters, solved as one batch of problems.

All values of C and all folds share the samples and, for each gamma, the kernel. Each fold is a
problem in which the held-out samples have cost 0, so a grid computes the rows of the kernel matrix
once, where a search by separate fits recomputes them for each value and fold.

Samples `x` are `[samples, features]`, with labels `y` of at least two classes. `C` lists penalty
parameters. `folds` is the number of stratified, shuffled folds, or `[samples]` indices of the fold
that holds out each sample; each fold must leave samples of all classes. Invalid arguments raise
InputError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_X_y

from jaxml.errors import InputError
from jaxml.svm import kernel as kernel_solver
from jaxml.svm import linear, reductions
from jaxml.svm._validation import check_choice
from jaxml.svm.estimators._fitted_kernel import FittedKernel, KernelSamples, fit_kernel
from jaxml.svm.estimators._kernel import LARGEST
from jaxml.svm.estimators._weights import encode_labels
from jaxml.svm.kernel import pair_problems
from jaxml.svm.kernels import KERNELS
from jaxml.svm.linear import LinearProblems, as_examples

__all__ = ["Grid", "kernel_grid", "linear_grid"]


@dataclass(frozen=True)
class Grid:
    """Accuracies on held-out samples."""

    C: np.ndarray  # `[Cs]`
    gamma: np.ndarray  # `[gammas]`; empty for linear classifiers
    accuracy: np.ndarray  # `[gammas, Cs, folds]`; `[Cs, folds]` for linear classifiers

    @property
    def best(self) -> dict[str, float]:
        """The hyper-parameters with the highest mean accuracy, and that accuracy."""
        mean = self.accuracy.mean(-1)
        place = np.unravel_index(mean.argmax(), mean.shape)
        found = {"C": float(self.C[place[-1]]), "accuracy": float(mean[place])}
        return {"gamma": float(self.gamma[place[0]]), **found} if len(self.gamma) else found


def linear_grid(
    x: ArrayLike,
    y: ArrayLike,
    *,
    C: Sequence[float],
    folds: int | ArrayLike = 5,
    loss: str = "squared_hinge",
    tolerance: float = 1e-3,
) -> Grid:
    """Cross-validates linear one-vs-rest classifiers, with a penalized intercept.

    The loss is "squared_hinge" or "hinge", and the tolerance that of the relative duality gap.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> x, y = load_iris(return_X_y=True)
      >>> linear_grid(x, y, C=[0.01, 1.0, 100.0], folds=3).accuracy.shape
      (3, 3)
    """
    check_choice("loss", loss, ("squared_hinge", "hinge"))
    x, labels, fold, costs, cost = _read(x, y, folds, C, np.float32)
    num_classes, count = int(labels.max()) + 1, (int(labels.max()) + 1) * len(cost)
    signs = np.where(np.arange(num_classes)[:, None] == labels, 1.0, -1.0)
    problems = LinearProblems(
        np.tile(signs, (len(cost), 1)),
        np.repeat(cost, num_classes, axis=0),
        np.zeros(count),
        np.ones(count),
    )
    examples = as_examples(x)
    state = linear.solve(problems, examples, loss=loss, tolerance=tolerance).state
    values = examples.products(state.weights) + state.intercept[:, None]
    right = values.reshape(len(costs), -1, num_classes, len(labels)).argmax(2) == labels
    return Grid(costs, np.empty(0), _accuracy(right, fold))


def kernel_grid(
    x: ArrayLike,
    y: ArrayLike,
    *,
    C: Sequence[float],
    gamma: Sequence[float | str] = ("scale",),
    kernel: str = "rbf",
    coef0: float = 0.0,
    degree: int = 3,
    folds: int | ArrayLike = 5,
    tolerance: float = 1e-3,
    memory: float = 2e9,
) -> Grid:
    """Cross-validates kernel one-vs-one classifiers.

    `kernel` is a name in `jaxml.svm.kernels.KERNELS`, and each `gamma` a number, or "scale" or
    "auto" of all samples. The tolerance is that of the violation of the optimality conditions, as
    in libsvm, and `memory` the bytes for rows of the kernel matrix.
    """
    check_choice("kernel", kernel, tuple(KERNELS))
    x, labels, fold, costs, cost = _read(x, y, folds, C, [np.float64, np.float32])
    num_classes = int(labels.max()) + 1
    columns, problems = pair_problems(labels, cost, num_classes)
    problems = problems._replace(linear=-np.ones_like(problems.sign))
    num_pairs = len(problems.sign) // len(cost)
    # The sample in each column of a pair, or -1.
    seen = columns.index[problems.groups[:num_pairs]].reshape(num_pairs, -1)
    shape = (len(costs), len(cost) // len(costs), *seen.shape)
    fitted = [fit_kernel(kernel, x, gamma=value, coef0=coef0, degree=degree) for value in gamma]
    accuracy = []
    for one in fitted:
        solution = kernel_solver.solve(
            problems, KernelSamples(one, x, columns.examples), columns.starts,
            tolerance=tolerance, memory=memory,
        )  # fmt: skip
        weight = (solution.value * problems.sign).reshape(shape)
        intercept = solution.threshold[0].reshape(shape[:3])
        right = np.zeros((*shape[:2], len(labels)), bool)
        for held_out in range(shape[1]):
            rows = np.flatnonzero(fold == held_out)
            values = _outputs(one, x, rows, weight[:, held_out], seen)
            values += intercept[:, held_out].reshape(-1)
            for c, decisions in enumerate(np.split(values, len(costs), axis=1)):
                voted = reductions.vote(jnp.asarray(decisions), num_classes=num_classes)
                right[c, held_out, rows] = np.asarray(voted) == labels[rows]
        accuracy.append(_accuracy(right, fold))
    return Grid(costs, np.array([one.gamma for one in fitted]), np.stack(accuracy))


def _outputs(
    kernel: FittedKernel, x: np.ndarray, rows: np.ndarray, weight: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Computes `[rows, Cs * pairs]` outputs of `[Cs, pairs, columns]` weights, less intercepts."""
    c, pair, column = np.nonzero(weight)
    row = seen[pair, column]
    vectors, place = np.unique(row, return_inverse=True)
    matrix = np.zeros((len(vectors), weight.shape[0] * weight.shape[1]))
    matrix[place, c * weight.shape[1] + pair] = weight[c, pair, column]
    return kernel.outputs(x[rows], x[vectors], matrix)


def _accuracy(right: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Returns the `[Cs, folds]` means over the samples that each fold holds out."""
    held_out = [right[:, k, fold == k].mean(1) for k in range(right.shape[1])]
    return np.stack(held_out, axis=1)


def _read(
    x: ArrayLike, y: ArrayLike, folds: int | ArrayLike, C: Sequence[float], dtype: Any
) -> tuple[np.ndarray, ...]:
    """Returns the samples, their classes and folds, C, and the costs `[Cs * folds, samples]`."""
    costs = np.asarray(C, np.float64)
    if costs.ndim != 1 or not len(costs) or not ((costs > 0) & (costs <= LARGEST)).all():
        raise InputError(f"`C` must be a list of numbers > 0 and <= {LARGEST:g}, got {C}")
    try:
        with np.errstate(over="ignore"):  # check_X_y reports the infinity
            features, target = check_X_y(x, y, dtype=dtype)
        classes, labels = encode_labels(target)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"invalid `x` or `y`: {str(error).splitlines()[0]}") from None
    if isinstance(folds, Integral):
        fold = _stratified(labels, int(folds))
    else:
        fold = np.asarray(folds)
        _check_folds(fold, labels, classes)
    takes_part = fold != np.arange(int(fold.max()) + 1)[:, None]
    cost = (costs[:, None, None] * takes_part).reshape(-1, len(labels))
    return features, labels, fold, costs, cost


def _stratified(labels: np.ndarray, folds: int) -> np.ndarray:
    most = np.bincount(labels).min()
    if not 2 <= folds <= most:
        raise InputError(
            f"`folds` must be >= 2 and <= {most}, the size of the smallest class, got {folds}"
        )
    fold = np.empty(len(labels), int)
    parts = StratifiedKFold(folds, shuffle=True, random_state=0).split(labels, labels)
    for number, (_, held_out) in enumerate(parts):
        fold[held_out] = number
    return fold


def _check_folds(fold: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> None:
    """Checks that all fold indices occur, and that each fold leaves samples of all classes."""
    if fold.dtype.kind not in "iu" or fold.shape != labels.shape:
        raise InputError(
            f"`folds` must be an int or [{len(labels)}] integers, "
            f"got {fold.dtype} of shape {fold.shape}"
        )
    found = np.unique(fold)
    if not np.array_equal(found, np.arange(len(found))):
        raise InputError(f"`folds` must have all indices 0 to n - 1, got {found.tolist()}")
    held_out = np.zeros((len(found), len(classes)), int)
    np.add.at(held_out, (fold, labels), 1)
    for number, label in np.argwhere(held_out == held_out.sum(0)):
        raise InputError(
            f"`folds` must leave samples of each class, but fold {number} holds out all of class "
            f"{classes[label]}"
        )
