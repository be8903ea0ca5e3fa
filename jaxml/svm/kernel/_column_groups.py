"""Arrangement of examples as columns of a kernel matrix, in groups of equal size.

Sizes are rounded up, so that data sets of similar sizes share compiled programs. The examples of
successive groups are adjacent: a group that is not full overlaps the first columns of the next one,
where its problems have no variables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from jaxml.svm.kernel._problems import DualProblems


@dataclass(frozen=True)
class ColumnGroups:
    """Groups of columns."""

    index: np.ndarray  # `[groups, size]`: the example in each column, padded with -1
    owner: np.ndarray  # `[groups]`: the class of the examples; 0 if all are in one group

    @property
    def starts(self) -> np.ndarray:
        """`[groups]`: the first column of each group."""
        counts = (self.index >= 0).sum(1)
        return (np.cumsum(counts) - counts).astype(np.int32)

    @property
    def examples(self) -> np.ndarray:
        """`[columns]`: the example in each column of the matrix, padded with the first one."""
        held = self.index[self.index >= 0]
        width = padded_size(int(self.starts.max()) + self.index.shape[1])
        return np.pad(held, (0, width - len(held)))


def padded_size(count: int, least: int = 32) -> int:
    """Rounds a positive count up, to a power of two or, beyond 1024, to a multiple of 256."""
    if count <= 1024:
        return max(least, 1 << (count - 1).bit_length())
    return -(-count // 256) * 256


def single_group(count: int) -> ColumnGroups:
    """Arranges all examples in one group, for problems that cover all of them."""
    index = np.full((1, padded_size(count, least=128)), -1)
    index[0, :count] = np.arange(count)
    return ColumnGroups(index, np.zeros(1, int))


def group_by_class(labels: np.ndarray, num_classes: int) -> ColumnGroups:
    """Arranges the examples of each class in groups of their own, in the order of the classes.

    Each class has one group, or several smaller ones if the classes are of very different sizes, so
    that there are at most about twice as many columns as examples.

    Example:
      >>> groups = group_by_class(np.array([1, 0, 1]), 2)
      >>> groups.index[:, :3].tolist(), groups.owner.tolist()
      ([[1, -1, -1], [0, 2, -1]], [0, 1])
    """
    counts = np.bincount(labels, minlength=num_classes)
    size = padded_size(int(counts.max()))
    if size * num_classes > 2 * padded_size(len(labels)):
        size = padded_size(-(-len(labels) // num_classes))
    groups, owner = [], []
    for label in range(num_classes):
        members = np.flatnonzero(labels == label)
        for start in range(0, len(members), size):
            part = members[start : start + size]
            groups.append(np.pad(part, (0, size - len(part)), constant_values=-1))
            owner.append(label)
    return ColumnGroups(np.stack(groups), np.array(owner))


def groups_of_pairs(groups: ColumnGroups, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Returns the groups that each pair of classes covers, `[pairs, groups of each]`.

    Pairs that cover fewer groups than others are padded with a group of neither class.
    """
    if len(groups.index) == 1:
        return np.zeros((len(pairs), 1), int)
    covered = [np.isin(groups.owner, pair) for pair in pairs]
    found = np.zeros((len(pairs), max(mine.sum() for mine in covered)), int)
    for row, mine in zip(found, covered, strict=True):
        own = np.flatnonzero(mine)
        row[: len(own)] = own
        row[len(own) :] = mine.argmin()  # the first that is not covered
    return found


def pair_problems(
    labels: np.ndarray, cost: np.ndarray, num_classes: int
) -> tuple[ColumnGroups, DualProblems]:
    """Arranges the examples, and bounds the variables of a problem for each pair of classes.

    Args:
      labels: `[examples]` integers in [0, num_classes), each at least once.
      cost: `[settings, examples]`: upper bounds; each pair has one problem per setting.
      num_classes: Number of classes.

    Returns:
      The columns, and `settings * pairs` problems with the sign 1 for the first class of a pair and
      a linear term of 0.
    """
    columns = group_by_class(labels, num_classes) if num_classes > 2 else single_group(len(labels))
    pairs = list(combinations(range(num_classes), 2))
    groups = groups_of_pairs(columns, pairs)
    example = columns.index[groups].reshape(len(pairs), -1)
    label = np.where(example >= 0, labels[example], -1)
    first, second = np.array(pairs).T[:, :, None]
    is_member = (label == first) | (label == second)
    upper = np.where(is_member, cost[:, example], 0.0).reshape(-1, 1, example.shape[1])
    sign = np.tile(np.where(label == first, 1.0, -1.0)[:, None], (len(cost), 1, 1))
    groups = np.tile(groups, (len(cost), 1))
    return columns, DualProblems(groups, sign, np.zeros_like(sign), upper)
