"""Dual problems over the columns of a kernel matrix, and the progress of their solution."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class DualProblems(NamedTuple):
    """Problems with k variables in each column of some groups; see `jaxml.svm.kernel`.

    Attributes:
      groups: `[problems, groups of each]` integers: the groups whose columns it covers.
      sign: `[problems, k, columns]`: y, -1 or 1.
      linear: `[problems, k, columns]`: p.
      upper: `[problems, k, columns]`: u; 0 where there is no variable.
      two_constraints: Whether the sums over each sign are fixed, instead of one signed sum.
    """

    groups: np.ndarray
    sign: np.ndarray
    linear: np.ndarray
    upper: np.ndarray
    two_constraints: bool = False


@dataclass(frozen=True)
class KernelProgress:
    """Progress of a solver.

    Attributes:
      rounds: Number of working sets that were solved.
      steps: Number of pairs of variables moved, for the slowest problem of each round.
      violation: The largest violation of all problems.
      objective: The dual objective, to be minimized, summed over the problems.
      num_unsolved: Number of problems whose violation exceeds the tolerance.
      gap: The duality gap, summed over the problems; computed for the `report` callback only.
      num_support: Number of support vectors; computed for the `report` callback only.
    """

    rounds: int
    steps: int
    violation: float
    objective: float
    num_unsolved: int
    gap: float = math.nan
    num_support: int = 0
