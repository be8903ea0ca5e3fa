"""One dual problem in float64 on the host.

There are no variables with an upper bound of 0, and the variables of each equality constraint are
adjacent.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jaxml.svm.kernel._problems import Variables


@dataclass(frozen=True)
class HostProblem:
    """Some variables of a larger problem; `sign`, `linear` and `upper` as in `DualProblems`."""

    index: np.ndarray  # of the variables in the larger problem
    columns: np.ndarray  # of the kernel matrix of the larger problem
    column: np.ndarray  # of each variable, among `columns`
    sign: np.ndarray
    linear: np.ndarray
    upper: np.ndarray
    total: np.ndarray  # `[constraints]`: the signed sums that are fixed
    constraints: tuple[slice, ...]  # the variables of each equality constraint

    @property
    def num_columns(self) -> int:
        """The size of the kernel matrix."""
        return len(self.columns)

    @cached_property
    def members(self) -> np.ndarray:
        """`[columns, constraints]`: 1 where a variable of the column is in the constraint."""
        found = np.zeros((self.num_columns, len(self.constraints)))
        for number, part in enumerate(self.constraints):
            found[self.column[part], number] = 1
        return found

    @cached_property
    def is_one_to_one(self) -> bool:
        """Returns whether variables and columns are the same, in the same order."""
        return np.array_equal(self.column, np.arange(self.num_columns))

    def spread(self, level: np.ndarray) -> np.ndarray:
        """Repeats a value of each constraint for each of its variables."""
        return np.repeat(level, [part.stop - part.start for part in self.constraints])

    def totals(self, value: np.ndarray) -> np.ndarray:
        """Returns the signed sums, `[constraints]`."""
        return np.array([self.sign[part] @ value[part] for part in self.constraints])

    def by_column(self, amount: np.ndarray) -> np.ndarray:
        """Sums over the variables of each column."""
        if self.is_one_to_one:
            return amount
        return np.bincount(self.column, amount, self.num_columns)

    def gradient(self, kernel: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Returns the gradient of the objective."""
        return -self.sign * self.scores(kernel, value)

    def scores(self, kernel: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Returns the scores."""
        products = kernel @ self.by_column(self.sign * value)
        return -self.sign * self.linear - products[self.column]

    def variables(self, value: np.ndarray, score: np.ndarray) -> list[Variables]:
        """Returns the variables of each constraint."""
        return [
            Variables(value[part], score[part], self.sign[part], self.upper[part])
            for part in self.constraints
        ]

    def violation(self, value: np.ndarray, score: np.ndarray) -> float:
        """Returns the violation, at most 0 at the optimum."""
        return max(float(part.violation()) for part in self.variables(value, score))

    def thresholds(self, value: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Returns the thresholds, `[constraints]`."""
        return np.concatenate([part.thresholds() for part in self.variables(value, score)])

    def project(self, value: np.ndarray) -> np.ndarray:
        """Returns values within the bounds that have the totals."""
        value = np.clip(value, 0, self.upper)
        for number, part in enumerate(self.constraints):
            for _ in range(4):  # rounding leaves a remainder, and full variables take no more
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
) -> HostProblem:
    """Extracts one problem of `DualProblems`, `[k, columns]`; feasible values fix its totals."""
    index = np.flatnonzero(upper > 0)
    if two:
        index = index[np.argsort(-sign.reshape(-1)[index], kind="stable")]
    column = index % sign.shape[1]
    columns = np.unique(column)
    if len(columns) == len(column):
        columns = column  # in the order of the variables, so that rows need no rearranging
    position = np.empty(sign.shape[1], int)
    position[columns] = np.arange(len(columns))
    signs, values = sign.reshape(-1)[index], start.reshape(-1)[index]
    positive = int((signs > 0).sum()) if two else 0
    parts = (slice(0, positive), slice(positive, len(index)))
    parts = tuple(part for part in parts if part.stop > part.start)
    return HostProblem(
        index=index,
        columns=columns,
        column=position[column],
        sign=signs,
        linear=linear.reshape(-1)[index],
        upper=upper.reshape(-1)[index],
        total=np.array([signs[part] @ values[part] for part in parts]),
        constraints=parts,
    )
