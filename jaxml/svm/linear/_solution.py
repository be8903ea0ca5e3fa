"""Solutions of linear problems, and the progress toward them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np


class LinearState(NamedTuple):
    """The state from which a solver can resume."""

    weights: np.ndarray  # `[problems, features]`
    intercept: np.ndarray  # `[problems]`
    dual: np.ndarray  # `[problems, examples]`: the multipliers of the augmented Lagrangian
    penalty: np.ndarray  # `[problems]`: sigma of the augmented Lagrangian


def relative_gap(primal: np.ndarray, dual: np.ndarray) -> np.ndarray:
    """Returns the duality gap over the primal; infinite if either is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap = (primal - dual) / np.maximum(np.abs(primal), 1e-300)
    return np.where(np.isfinite(gap), gap, np.inf)


@dataclass(frozen=True)
class LinearProgress:
    """Progress of a solver."""

    steps: int  # Newton steps on all examples
    primal: np.ndarray  # `[problems]`: the best primal objectives so far
    dual: np.ndarray  # `[problems]`: the best dual objectives, minus infinity if there are none
    num_support: int = 0  # number of support vectors, counted for the `report` callback only

    @property
    def relative_gap(self) -> np.ndarray:
        """The duality gap over the primal, `[problems]`; infinite if not finite."""
        return relative_gap(self.primal, self.dual)


@dataclass(frozen=True)
class LinearSolution:
    """Result of a solver."""

    state: LinearState  # the best points that were found
    progress: LinearProgress  # the objectives, in the dtype of the solver
    converged: bool  # whether all relative duality gaps are within the tolerance
    interrupted: bool  # whether a `KeyboardInterrupt` ended the solver


class Limits(NamedTuple):
    """The conditions that end a solver, and the callback of its steps."""

    tolerance: float
    max_steps: int
    report: Callable[[LinearProgress], None] | None = None

    def solved(self, progress: LinearProgress) -> np.ndarray:
        """Returns whether the gap of each problem is within the tolerance."""
        return progress.relative_gap <= self.tolerance

    def notify(self, progress: LinearProgress, dual: np.ndarray) -> None:
        """Reports a step that led to dual variables `[problems, examples]`."""
        if self.report:
            self.report(replace(progress, num_support=int(dual.any(0).sum())))


@dataclass
class Stall:
    """Detects that the duality gaps have stopped decreasing."""

    patience: int = 100
    least: float = math.inf
    waited: int = 0

    def update(self, progress: LinearProgress) -> bool:
        """Returns whether the last `patience` steps brought no decrease by 10%."""
        gap = float(np.minimum(progress.relative_gap, 1e6).sum())
        self.waited = 0 if gap < 0.9 * self.least else self.waited + 1
        self.least = min(self.least, gap)
        return self.waited >= self.patience
