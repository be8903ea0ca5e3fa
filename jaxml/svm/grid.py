"""Cross-validation of a whole grid of settings, solved as one batch of problems.

All values of C and all folds have the same examples and, for a value of gamma, the same kernel: a
fold is a problem in which the examples that are held out cost nothing. So a grid takes the rows of
its kernel once, where a search by fits computes them anew for each value and fold.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_X_y
from sklearn.utils.multiclass import check_classification_targets

from jaxml.errors import InputError, nearest
from jaxml.svm import kernel as kernel_solver
from jaxml.svm import linear, reductions
from jaxml.svm.estimators.base import LARGEST
from jaxml.svm.estimators.space import Space, fit_space
from jaxml.svm.kernel import DualProblems, group_by_class, groups_of_pairs, single_group
from jaxml.svm.kernels import KERNELS
from jaxml.svm.linear import LinearProblems, as_examples

_LOSSES = ("squared_hinge", "hinge")


@dataclass(frozen=True)
class Grid:
    """How right each setting is about what it has not seen.

    Attributes:
      C: `[Cs]`, those that were tried.
      gamma: `[gammas]`, those that were tried; of a linear machine none.
      accuracy: `[gammas, Cs, folds]`; without the first axis of a linear machine.
    """

    C: np.ndarray
    gamma: np.ndarray
    accuracy: np.ndarray

    @property
    def best(self) -> dict[str, float]:
        """The setting of the best mean accuracy; of equals the first."""
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
    """Cross-validates linear one-vs-rest machines, with a penalised intercept, for values of C.

    Args:
      x: `[examples, features]`, finite.
      y: `[examples]` labels, of two classes at least.
      C: finite values above 0.
      folds: how many, stratified and shuffled; or `[examples]` the number of each one's, from 0.
      loss: squared_hinge or hinge.
      tolerance: of the duality gap, as a part of the primal.

    Returns:
      The grid, `[Cs, folds]`.

    Raises:
      InputError: a C that is not above 0, an unknown loss, data of other shapes or not finite, a
        single class, a fold that holds out all of a class.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> x, y = load_iris(return_X_y=True)
      >>> linear_grid(x, y, C=[0.01, 1.0, 100.0], folds=3).accuracy.shape
      (3, 3)
    """
    _check_choice("loss", loss, _LOSSES)
    costs = _costs(C)
    x, labels, fold = _read(x, y, folds, np.float32)
    num_classes, num_folds = int(labels.max()) + 1, int(fold.max()) + 1
    signs = np.where(np.arange(num_classes)[:, None] == labels, 1.0, -1.0)
    takes_part = fold != np.arange(num_folds)[:, None]
    shape = (len(costs), num_folds, num_classes, len(labels))
    cost = costs[:, None, None, None] * takes_part[:, None]
    examples = as_examples(x)
    count = len(costs) * num_folds * num_classes
    problems = LinearProblems(
        np.broadcast_to(signs, shape).reshape(count, -1),
        np.broadcast_to(cost, shape).reshape(count, -1),
        np.zeros(count),
        np.ones(count),
    )
    state = linear.solve(problems, examples, loss=loss, tolerance=tolerance).state
    values = (examples.products(state.weights) + state.intercept[:, None]).reshape(shape)
    right = values.argmax(2) == labels
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
    """Cross-validates one-vs-one machines with a kernel for values of C and gamma.

    Args:
      x: `[examples, features]`, finite.
      y: `[examples]` labels, of two classes at least.
      C: finite values above 0.
      gamma: of the kernel, numbers, "scale" or "auto" of all examples.
      kernel: one of `jaxml.svm.kernels.KERNELS`.
      coef0: of poly and sigmoid.
      degree: of poly.
      folds: how many, stratified and shuffled; or `[examples]` the number of each one's, from 0.
      tolerance: of the violation, as libsvm's.
      memory: bytes for rows of the kernel.

    Returns:
      The grid, `[gammas, Cs, folds]`.

    Raises:
      InputError: a C that is not above 0, an unknown kernel, data of other shapes or not finite, a
        single class, a fold that holds out all of a class.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> x, y = load_iris(return_X_y=True)
      >>> kernel_grid(x, y, C=[1.0, 10.0], gamma=[0.1, 1.0], folds=3).accuracy.shape
      (2, 2, 3)
    """
    _check_choice("kernel", kernel, KERNELS)
    costs = _costs(C)
    x, labels, fold = _read(x, y, folds, [np.float64, np.float32])
    num_classes, num_folds = int(labels.max()) + 1, int(fold.max()) + 1
    pairs = reductions.pairs(num_classes)
    columns = group_by_class(labels, num_classes) if num_classes > 2 else single_group(len(labels))
    groups = groups_of_pairs(columns, pairs)
    # Of each pair: the row in each column that it sees, or -1.
    seen = columns.index[groups].reshape(len(pairs), -1)
    ends = np.array(pairs)
    first, second = (labels[seen] == ends[:, [side]] for side in (0, 1))
    member = (seen >= 0) & (first | second)
    sign = np.where(first, 1.0, -1.0)
    takes_part = member & (fold[seen] != np.arange(num_folds)[:, None, None])
    shape = (len(costs), num_folds, len(pairs), seen.shape[1])
    count = len(costs) * num_folds * len(pairs)
    cost = np.broadcast_to(costs[:, None, None, None] * takes_part, shape)
    all_signs = np.broadcast_to(sign, shape).reshape(count, 1, -1)
    problems = DualProblems(
        groups=np.broadcast_to(groups, (len(costs), num_folds, *groups.shape)).reshape(count, -1),
        sign=all_signs,
        linear=-np.ones_like(all_signs),
        upper=cost.reshape(count, 1, -1),
    )
    spaces = [fit_space(kernel, x, gamma=value, coef0=coef0, degree=degree) for value in gamma]
    accuracy = np.empty((len(spaces), len(costs), num_folds))
    for space, entry in zip(spaces, accuracy, strict=True):
        solution = kernel_solver.solve(
            problems,
            space.examples(x, columns.examples),
            columns.starts,
            tolerance=tolerance,
            memory=memory,
        )
        weight = (solution.value * all_signs).reshape(shape)
        intercept = solution.threshold[0].reshape(shape[:3])
        for held_out in range(num_folds):
            rows = np.flatnonzero(fold == held_out)
            values = _outputs(space, x, rows, weight[:, held_out], seen)
            values += intercept[:, held_out].reshape(-1)
            for c, decisions in enumerate(np.split(values, len(costs), axis=1)):
                voted = reductions.vote(jnp.asarray(decisions), num_classes=num_classes)
                entry[c, held_out] = np.mean(np.asarray(voted) == labels[rows])
    return Grid(costs, np.array([space.gamma for space in spaces]), accuracy)


def _outputs(
    space: Space, x: np.ndarray, rows: np.ndarray, weight: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """`[rows, Cs * pairs]` from weights `[Cs, pairs, columns]`, without intercepts."""
    c, pair, column = np.nonzero(weight)
    row = seen[pair, column]
    vectors, place = np.unique(row, return_inverse=True)
    matrix = np.zeros((len(vectors), weight.shape[0] * weight.shape[1]))
    matrix[place, c * weight.shape[1] + pair] = weight[c, pair, column]
    return space.outputs(x[rows], x[vectors], matrix)


def _accuracy(right: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """`[Cs, folds]` from `[Cs, folds, examples]`: of what each fold holds out."""
    held_out = [right[:, k, fold == k].mean(1) for k in range(right.shape[1])]
    return np.stack(held_out, axis=1)


def _read(
    x: ArrayLike, y: ArrayLike, folds: int | ArrayLike, dtype: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The examples, their labels from 0 on, and the number of each one's fold."""
    try:
        with np.errstate(over="ignore"):  # which is told as infinity
            features, target = check_X_y(x, y, dtype=dtype)
        check_classification_targets(target)
    except ValueError as error:
        raise InputError(f"x, y: {str(error).splitlines()[0]}") from None
    classes, labels = np.unique(target, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"y: one class only, {classes[0]}; a classifier needs two or more")
    if isinstance(folds, Integral):
        return features, labels, _stratified(labels, int(folds))
    fold = np.asarray(folds)
    _check_folds(fold, labels, classes)
    return features, labels, fold


def _stratified(labels: np.ndarray, folds: int) -> np.ndarray:
    least = np.bincount(labels).min()
    if not 2 <= folds <= least:
        raise InputError(
            f"folds: {folds} is not allowed, it is an int of at least 2 and at most {least}, "
            "the size of the smallest class"
        )
    fold = np.empty(len(labels), int)
    parts = StratifiedKFold(folds, shuffle=True, random_state=0).split(labels, labels)
    for number, (_, held_out) in enumerate(parts):
        fold[held_out] = number
    return fold


def _check_folds(fold: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> None:
    """Checks the numbers of the folds: integers, none left out, some of each class in the rest."""
    if fold.dtype.kind not in "iu" or fold.shape != labels.shape:
        raise InputError(
            f"folds: {fold.dtype} of shape {fold.shape} is not allowed, it is an int or "
            f"[{len(labels)}] integers"
        )
    found = np.unique(fold)
    if not np.array_equal(found, np.arange(len(found))):
        raise InputError(
            f"folds: the numbers {found.tolist()} are not allowed, they are 0 to "
            f"{len(found) - 1}, the folds that hold out something"
        )
    held_out = np.zeros((len(found), len(classes)), int)
    np.add.at(held_out, (fold, labels), 1)
    for number, label in np.argwhere(held_out == held_out.sum(0)):
        raise InputError(
            f"folds: {number} holds out all of the class {classes[label]}, of which nothing is "
            f"left to fit"
        )


def _check_choice(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise InputError(
            f"{name}: {value!r} is not one of {', '.join(known)}{nearest(str(value), known)}"
        )


def _costs(C: Sequence[float]) -> np.ndarray:
    costs = np.asarray(C, np.float64)
    if costs.ndim != 1 or not len(costs) or not ((costs > 0) & (costs <= LARGEST)).all():
        raise InputError(
            f"C: {C} is not allowed, it is a list of numbers above 0 and at most {LARGEST:g}"
        )
    return costs
