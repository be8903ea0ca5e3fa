"""Where the rows of a data set stand as columns of a kernel matrix: in groups of equal size.

`jaxml.svm.kernel.solver` solves problems over such groups. Sizes are rounded up, so that data sets
of similar sizes share their compiled programs. The rows stand close together, group after group; so
a group that is not full sees the first rows of the next, which are no variables of its problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Columns:
    """Groups of columns.

    Attributes:
      index: `[groups, size]` integers: the row of the data that each has, then -1.
      owner: `[groups]` integers: the class whose rows a group has; 0 where all stand together.
    """

    index: np.ndarray
    owner: np.ndarray

    @property
    def num_groups(self) -> int:
        """How many groups there are."""
        return len(self.index)

    @property
    def starts(self) -> np.ndarray:
        """`[groups]`: the first column of each group."""
        counts = (self.index >= 0).sum(1)
        return (np.cumsum(counts) - counts).astype(np.int32)

    @property
    def rows(self) -> np.ndarray:
        """The row that each column holds, of those that hold none the first."""
        held = self.index[self.index >= 0]
        width = padded_size(int(self.starts.max()) + self.index.shape[1])
        return np.pad(held, (0, width - len(held)))


def padded_size(count: int, least: int = 32) -> int:
    """Rounds up: to a power of two, beyond 1024 to a multiple of 256.

    Args:
      count: at least 1.
      least: the smallest size.

    Returns:
      An int of at least `count`.

    Example:
      >>> [padded_size(count) for count in (3, 100, 1025)]
      [32, 128, 1280]
    """
    if count <= 1024:
        return max(least, 1 << (count - 1).bit_length())
    return -(-count // 256) * 256


def together(count: int) -> Columns:
    """All rows in one group, for problems that see all of them.

    Args:
      count: how many rows there are.

    Returns:
      One group.

    Example:
      >>> together(3).index[0, :5].tolist()
      [0, 1, 2, -1, -1]
    """
    index = np.full((1, padded_size(count, least=128)), -1)
    index[0, :count] = np.arange(count)
    return Columns(index, np.zeros(1, int))


def by_class(labels: np.ndarray, num_classes: int) -> Columns:
    """The rows of each class in groups of its own, for problems that see two classes.

    One group a class, but where classes are of very different sizes smaller groups, as many a class
    as it needs: so there are at most about twice as many columns as rows.

    Args:
      labels: `[rows]` integers in [0, num_classes), each of them at least once.
      num_classes: how many there are.

    Returns:
      Groups in the order of the classes.

    Example:
      >>> columns = by_class(np.array([1, 0, 1]), 2)
      >>> columns.index[:, :3].tolist(), columns.owner.tolist()
      ([[1, -1, -1], [0, 2, -1]], [0, 1])
    """
    counts = np.bincount(labels, minlength=num_classes)
    size = padded_size(int(counts.max()))
    if size * num_classes > 2 * padded_size(len(labels)):
        size = padded_size(-(-len(labels) // num_classes))
    groups, owner = [], []
    for label in range(num_classes):
        rows = np.flatnonzero(labels == label)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            groups.append(np.pad(part, (0, size - len(part)), constant_values=-1))
            owner.append(label)
    return Columns(np.stack(groups), np.array(owner))


def groups_of_pairs(columns: Columns, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The groups that each pair of classes sees.

    Args:
      columns: of `together`, or of `by_class` with three classes or more where pairs see different
        numbers of groups.
      pairs: of classes.

    Returns:
      `[pairs, groups of each]`; a pair that has fewer than others sees one of neither class, again
      and again.

    Example:
      >>> groups_of_pairs(by_class(np.arange(3), 3), [(0, 1), (0, 2)]).tolist()
      [[0, 1], [0, 2]]
    """
    if columns.num_groups == 1:
        return np.zeros((len(pairs), 1), int)
    seen = [np.isin(columns.owner, pair) for pair in pairs]
    width = max(mine.sum() for mine in seen)
    groups = np.zeros((len(pairs), width), int)
    for row, mine in zip(groups, seen, strict=True):
        own = np.flatnonzero(mine)
        row[: len(own)] = own
        if len(own) < width:
            row[len(own) :] = np.flatnonzero(~mine)[0]
    return groups
