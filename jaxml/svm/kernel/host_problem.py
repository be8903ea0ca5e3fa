r"""One dual problem in float64 on the host.

.. math:: \min_a \tfrac12 a^\top Q a + p^\top a, \quad 0 \le a \le u, \quad
          Q_{ij} = s_i s_j K_{c_i c_j}

with the signed sum of the variables fixed, or in the nu forms the sum of each sign. Variables with
an upper bound of 0 are left out, and variables of one family are neighbours.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class HostProblem:
    """The variables of one problem and the totals that they keep.

    Attributes:
      column: `[variables]` integers: the column of the kernel of each.
      sign: `[variables]`: -1 or 1.
      linear: `[variables]`: p.
      upper: `[variables]`: u, positive.
      total: `[families]`: the signed sum that each family keeps.
      families: slices of the variables: one, or one for each sign.
      num_columns: the size of the kernel matrix.
    """

    column: np.ndarray
    sign: np.ndarray
    linear: np.ndarray
    upper: np.ndarray
    total: np.ndarray
    families: tuple[slice, ...]
    num_columns: int

    @cached_property
    def members(self) -> np.ndarray:
        """`[columns, families]`: 1 where a column's variables belong to a family."""
        found = np.zeros((self.num_columns, len(self.families)))
        for number, family in enumerate(self.families):
            found[self.column[family], number] = 1
        return found

    @cached_property
    def is_one_to_one(self) -> bool:
        """Whether the variables are the columns, in the same order."""
        return np.array_equal(self.column, np.arange(self.num_columns))

    def spread(self, level: np.ndarray) -> np.ndarray:
        """`[families]` to `[variables]`."""
        sizes = [family.stop - family.start for family in self.families]
        return np.repeat(level, sizes)

    def totals(self, value: np.ndarray) -> np.ndarray:
        """`[families]`: the signed sums."""
        return np.array([self.sign[part] @ value[part] for part in self.families])

    def by_column(self, amount: np.ndarray) -> np.ndarray:
        """`[variables]` to `[columns]`: sums over the variables of each column."""
        if self.is_one_to_one:
            return amount
        return np.bincount(self.column, amount, self.num_columns)

    def gradient(self, kernel: np.ndarray, value: np.ndarray) -> np.ndarray:
        """`[variables]`: of the objective."""
        return -self.sign * self.scores(kernel, value)

    def scores(self, kernel: np.ndarray, value: np.ndarray) -> np.ndarray:
        """`[variables]`: minus the sign times the gradient."""
        products = kernel @ self.by_column(self.sign * value)
        return -self.sign * self.linear - products[self.column]

    def rising(self, value: np.ndarray) -> np.ndarray:
        """Which variables may move in the direction of their sign."""
        return np.where(self.sign > 0, value < self.upper, value > 0)

    def falling(self, value: np.ndarray) -> np.ndarray:
        """Which variables may move against their sign."""
        return np.where(self.sign > 0, value > 0, value < self.upper)

    def violation(self, value: np.ndarray, score: np.ndarray) -> float:
        """How far the variables are from optimal: at most 0 at the optimum."""
        high = np.where(self.rising(value), score, -np.inf)
        low = np.where(self.falling(value), score, np.inf)
        return max(float(high[part].max() - low[part].min()) for part in self.families)

    def thresholds(self, value: np.ndarray, score: np.ndarray) -> np.ndarray:
        """`[families]`: the score that separates rising from falling variables.

        The mean over the variables strictly within their bounds; without any, the middle between
        the extreme scores of the others.
        """
        high = np.where(self.rising(value), score, -np.inf)
        low = np.where(self.falling(value), score, np.inf)
        free = (value > 0) & (value < self.upper)
        found = []
        for part in self.families:
            ends = np.array([high[part].max(), low[part].min()])
            ends = ends[np.isfinite(ends)]
            inside = score[part][free[part]]
            found.append(inside.mean() if len(inside) else ends.mean() if len(ends) else 0.0)
        return np.array(found)

    def project(self, value: np.ndarray) -> np.ndarray:
        """Values within the bounds that keep the totals, changed where there is room."""
        value = np.clip(value, 0, self.upper)
        for number, part in enumerate(self.families):
            for _ in range(4):  # rounding leaves a little, and full variables take no more
                missing = self.total[number] - self.sign[part] @ value[part]
                if missing == 0:
                    break
                up = self.sign[part] * missing > 0
                limit = np.where(up, self.upper[part] - value[part], value[part])
                free = (value[part] > 0) & (value[part] < self.upper[part])
                inside = np.where(free, limit, 0)
                room = inside if inside.sum() >= abs(missing) else limit
                if room.sum() == 0:
                    break
                by = room * min(1.0, abs(missing) / room.sum())
                moved = value[part] + np.where(up, by, -by)
                value[part] = np.clip(moved, 0, self.upper[part])
        return value


def host_problem(
    sign: np.ndarray, linear: np.ndarray, upper: np.ndarray, start: np.ndarray, *, two: bool
) -> tuple[HostProblem, np.ndarray, np.ndarray]:
    """The variables of one problem of `jaxml.svm.kernel.solver.DualProblems`.

    Args:
      sign: `[sides, columns]`.
      linear: `[sides, columns]`.
      upper: `[sides, columns]`.
      start: `[sides, columns]` feasible values: they define the totals.
      two: whether the sum over each sign is fixed, in which case there is one side.

    Returns:
      The problem over the columns that have variables; the indices `[variables]` of its variables
      among the flattened ones; the columns `[problem columns]` that it has.
    """
    index = np.flatnonzero(upper > 0)
    if two:
        index = index[np.argsort(-sign.reshape(-1)[index], kind="stable")]
    column = index % sign.shape[1]
    columns = np.unique(column)
    if len(columns) == len(column):
        columns = column  # in the order of the variables, so that rows need no rearranging
    position = np.empty(sign.shape[1], int)
    position[columns] = np.arange(len(columns))
    signs = sign.reshape(-1)[index]
    positive = int((signs > 0).sum())
    parts = [slice(0, positive), slice(positive, len(index))] if two else [slice(0, len(index))]
    parts = tuple(part for part in parts if part.stop > part.start)
    values = start.reshape(-1)[index]
    problem = HostProblem(
        column=position[column],
        sign=signs,
        linear=linear.reshape(-1)[index],
        upper=upper.reshape(-1)[index],
        total=np.array([signs[part] @ values[part] for part in parts]),
        families=parts,
        num_columns=len(columns),
    )
    return problem, index, columns
