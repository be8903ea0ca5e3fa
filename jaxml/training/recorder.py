"""Writes the metrics and the checkpoints of a run."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxml.errors import SaveError
from jaxml.reporting.meter import Clock
from jaxml.reporting.observers import Observers
from jaxml.training.checkpoint import CheckpointWriter
from jaxml.training.observation import show_line
from jaxml.training.origin import Origin
from jaxml.training.steps import TrainState
from jaxml.training.stopping import Stopping
from jaxml.training.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Recorder:
    """Writes metrics and checkpoints; a failure to write either raises or only warns.

    Attributes:
      workdir: folder of the run.
      checkpoints: writer of the checkpoints.
      origin: stored with every checkpoint.
      warn: receives a warning if something cannot be written; None raises a SaveError instead.
      observers: receive the metrics, too.
    """

    workdir: Workdir
    checkpoints: CheckpointWriter
    origin: Origin
    warn: Callable[[str], None] | None
    observers: Observers

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Appends an object to `metrics.jsonl`, and shows it to the observers."""
        show_line(self.observers, line)
        self._attempt(lambda: self.workdir.append_metrics(line))

    def save(
        self,
        state: TrainState,
        clock: Clock,
        stopping: Stopping,
        metrics: Mapping[str, Any] | None,
    ) -> None:
        """Saves a checkpoint in the background, after the metrics of earlier steps.

        Args:
          state: state to save; it may be donated afterwards.
          clock: time of the run at this state.
          stopping: state of early stopping.
          metrics: metrics of the state, if it was evaluated.
        """
        notes = {
            "origin": self.origin._asdict(),
            "clock": dataclasses.asdict(clock),
            "stopping": dataclasses.asdict(stopping),
        }

        def save() -> None:
            self.observers.flush()
            self.workdir.flush()
            self.checkpoints.save(state, notes, metrics)

        self._attempt(save)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except SaveError as error:
            if self.warn is None:
                raise
            self.warn(f"warning: {error}; the run continues")
