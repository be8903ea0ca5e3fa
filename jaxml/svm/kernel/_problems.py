"""Dual problems, their optimality conditions, and the progress of their solution."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np


class DualProblems(NamedTuple):
    """Problems with k variables in each column of some groups; see `jaxml.svm.kernel`."""

    groups: np.ndarray  # `[problems, groups of each]`: the groups whose columns a problem covers
    sign: np.ndarray  # `[problems, k, columns]`: y, -1 or 1
    linear: np.ndarray  # `[problems, k, columns]`: p
    upper: np.ndarray  # `[problems, k, columns]`: u; 0 where there is no variable
    two_constraints: bool = False  # whether the sums over each sign are fixed, or one signed sum


@dataclass(frozen=True)
class KernelProgress:
    """Progress of a solver; the last two fields are computed for the `report` callback only."""

    rounds: int  # number of working sets that were solved
    steps: int  # number of pairs of variables moved, for the slowest problem of each round
    violation: float  # the largest violation of all problems
    objective: float  # the dual objective, to be minimized, summed over the problems
    num_unsolved: int  # number of problems whose violation exceeds the tolerance
    gap: float = math.nan  # the duality gap, summed over the problems
    num_support: int = 0  # number of support vectors


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["value", "score", "sign", "upper"],
    meta_fields=["two_constraints"],
)
@dataclass(frozen=True)
class Variables:
    """Variables of dual problems or of their working sets, NumPy or JAX `[..., variables]`.

    `value` is from 0 to `upper`, and `upper` is 0 where there is no variable. See `DualProblems`
    for `two_constraints`.
    """

    value: Any
    score: Any
    sign: Any
    upper: Any
    two_constraints: bool = False

    @property
    def xp(self) -> Any:
        """The array namespace, `numpy` or `jax.numpy`."""
        return self.value.__array_namespace__()

    def constraints(self) -> list[Any]:
        """Returns the members of each equality constraint: all variables, or those of a sign."""
        return [self.sign > 0, self.sign < 0] if self.two_constraints else [self.sign != 0]

    def up(self) -> Any:
        """Returns the scores of I_up, which can move along their sign, and minus infinity."""
        room = self.xp.where(self.sign > 0, self.value < self.upper, self.value > 0)
        return self.xp.where(room, self.score, -self.xp.inf)

    def low(self) -> Any:
        """Returns the scores of I_low, which can move against their sign, and infinity."""
        room = self.xp.where(self.sign > 0, self.value > 0, self.value < self.upper)
        return self.xp.where(room, self.score, self.xp.inf)

    def violation(self) -> Any:
        """Returns the violation, at most 0 at the optimum."""
        extremes = map(self._extremes, self.constraints())
        return self.xp.stack([high - low for high, low in extremes]).max(0)

    def thresholds(self) -> Any:
        """Returns the score that separates I_up from I_low at the optimum, `[constraints, ...]`.

        It is the mean score of the variables strictly within their bounds. If there are none, it is
        the midpoint of the extreme scores, or the only extreme if all variables are at one end.
        """
        return self.xp.stack([self._threshold(member) for member in self.constraints()])

    def gap(self, thresholds: Any) -> Any:
        """Returns the duality gap, with the thresholds as intercepts."""
        first, last = thresholds[0][..., None], thresholds[-1][..., None]
        level = self.xp.where(self.sign > 0, first, last)
        slope = self.sign * (level - self.score)  # of the Lagrangian
        gap = self.value * self.xp.maximum(slope, 0)
        gap += (self.upper - self.value) * self.xp.maximum(-slope, 0)
        return gap.sum(-1)

    def _extremes(self, member: Any) -> tuple[Any, Any]:
        """The largest score of I_up and the smallest of I_low within a constraint."""
        high = self.xp.where(member, self.up(), -self.xp.inf).max(-1)
        return high, self.xp.where(member, self.low(), self.xp.inf).min(-1)

    def _threshold(self, member: Any) -> Any:
        xp = self.xp
        high, low = self._extremes(member)
        high, low = xp.where(xp.isinf(high), low, high), xp.where(xp.isinf(low), high, low)
        middle = (high + low) / 2
        free = (self.value > 0) & (self.value < self.upper) & member
        # All of these are close to the midpoint: the sum of the differences keeps its digits.
        excess = xp.where(free, self.score - middle[..., None], 0).sum(-1)
        return middle + excess / xp.maximum(free.sum(-1), 1).astype(excess.dtype)
