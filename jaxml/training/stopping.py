"""Early stopping: ends a run whose evaluations no longer improve."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from jaxml.training.checkpoint import score


@dataclasses.dataclass(frozen=True)
class Stopping:
    """The state of early stopping, saved in every checkpoint.

    Attributes:
      best_step: step of the best evaluation so far.
      best_score: its score; None before the first evaluation.
      num_worse: number of evaluations since then.

    Example:
      >>> stopping = Stopping().update(10, {"accuracy": 0.9}).update(20, {"accuracy": 0.8})
      >>> (stopping.best_step, stopping.is_due(patience=1), stopping.is_due(patience=2))
      (10, True, False)
    """

    best_step: int = 0
    best_score: float | None = None
    num_worse: int = 0

    def update(self, step: int, metrics: Mapping[str, Any]) -> Self:
        """Returns the state after an evaluation; equal metrics are no improvement."""
        new = score(metrics)
        if self.best_score is None or new > self.best_score:
            return type(self)(step, new, 0)
        return dataclasses.replace(self, num_worse=self.num_worse + 1)

    def is_due(self, patience: int | None) -> bool:
        """Returns whether the run ends, after `patience` evaluations without an improvement."""
        return patience is not None and self.num_worse >= patience
