"""Reads the figures of a run without making the device wait, and keeps its time."""

import dataclasses
import functools
import time

import jax
import numpy as np

from jaxml.errors import DivergedError
from jaxml.reporting.progress import Display
from jaxml.training.objective import Metrics, Objective


@dataclasses.dataclass
class Clock:
    """The time a run has taken; it is stored with every checkpoint and goes on from there.

    Attributes:
      train_seconds: in the loop, with evaluation and checkpoints, without compilation.
      step_seconds: in training steps alone.
      images: how many the training steps have seen.
    """

    train_seconds: float = 0.0
    step_seconds: float = 0.0
    images: int = 0

    @property
    def images_per_second(self) -> float:
        """Training images a second, evaluation and checkpoints apart."""
        return self.images / max(self.step_seconds, 1e-9)


class Meter:
    """Takes the metrics of each call, and reads them only when the next call is under way.

    Attributes:
      clock: the time taken so far.
    """

    def __init__(
        self, clock: Clock, display: Display, objective: Objective, *, steps_per_epoch: int
    ) -> None:
        """A meter whose time starts now."""
        self.clock = clock
        self._display = display
        self._objective = objective
        self._steps_per_epoch = steps_per_epoch
        self._pending: tuple[int, Metrics] | None = None
        self._last_tick = time.perf_counter()

    def start_epoch(self) -> None:
        """The steps of an epoch begin, or go on after the run was stopped."""
        self._sums = jax.device_get(self._objective.metrics.empty())
        self._epoch_start = time.perf_counter()

    def add(self, step: int, metrics: Metrics) -> None:
        """Takes the stacked metrics of the steps up to `step`, and reads those of the call before.

        Raises:
          DivergedError: a loss of the call before was not finite.
        """
        pending, self._pending = self._pending, (step, metrics)
        if pending:
            self._read(*pending)

    def flush(self) -> None:
        """Waits for the last call and reads it.

        Raises:
          DivergedError: one of its losses was not finite.
        """
        if self._pending:
            pending, self._pending = self._pending, None
            self._read(*pending)

    def end_epoch(self) -> float:
        """Waits for the last call; returns the images a second since `start_epoch`."""
        self.flush()
        seconds = time.perf_counter() - self._epoch_start
        self.clock.step_seconds += seconds
        self.clock.images += int(self._sums.count)
        return int(self._sums.count) / seconds

    def tick(self) -> Clock:
        """The clock, brought up to now."""
        now = time.perf_counter()
        self.clock.train_seconds += now - self._last_tick
        self._last_tick = now
        return self.clock

    def _read(self, step: int, stacked: Metrics) -> None:
        host = jax.device_get(stacked)
        bad = np.flatnonzero(~np.isfinite(host.loss))
        if len(bad):
            first = step - len(host.loss) + 1 + int(bad[0])
            raise DivergedError(f"step {first}: the loss is {host.loss[bad[0]]}")
        steps = [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(len(host.loss))]
        self._sums = functools.reduce(lambda sums, step: sums.merge(step), steps, self._sums)
        means = self._objective.figures(self._sums)
        self._display.update(
            step,
            (step - 1) // self._steps_per_epoch + 1,
            means,
            images_per_second=means["count"] / (time.perf_counter() - self._epoch_start),
        )
