"""Collects training metrics without delaying the device, and measures the time of a run."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxml.errors import DivergedError
from jaxml.reporting.progress import Display


@dataclasses.dataclass
class Clock:
    """Time that a run has taken, saved in every checkpoint.

    Attributes:
      train_seconds: time in the training loop, including evaluation and checkpoints, without
        compilation.
      step_seconds: time in training steps only.
      images: number of examples in these training steps.
      phases: time by name: "input" waits for the data of training steps, during which the device
        may still work; "evaluation" and "checkpoints".
    """

    train_seconds: float = 0.0
    step_seconds: float = 0.0
    images: int = 0
    phases: dict[str, float] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Adds the time of a block to a phase.

        >>> clock = Clock()
        >>> with clock.timing("evaluation"):
        ...     pass
        >>> list(clock.phases)
        ['evaluation']
        """
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    def by_phase(self, compile_seconds: float) -> dict[str, float]:
        """Returns the seconds of each phase of a run, including its compilation and its steps."""
        names = ("prepare", "input", "evaluation", "checkpoints")
        parts = {**dict.fromkeys(names, 0.0), **self.phases}
        return {
            "prepare": parts["prepare"],
            "compile": compile_seconds,
            "input": parts["input"],
            "steps": max(self.step_seconds - parts["input"], 0.0),
            "evaluation": parts["evaluation"],
            "checkpoints": parts["checkpoints"],
        }

    @property
    def images_per_second(self) -> float:
        """Training throughput, without evaluation and checkpoints."""
        return self.images / max(self.step_seconds, 1e-9)


class Meter:
    """Collects the metrics of training calls; reads those of each call while the next one runs.

    Attributes:
      clock: time taken so far.
    """

    def __init__(
        self,
        clock: Clock,
        display: Display,
        *,
        zero: Callable[[], Any],
        compute: Callable[[Any], Mapping[str, int | float]],
        steps_per_epoch: int,
        observe: Callable[[int, Any], None] | None = None,
    ) -> None:
        """Starts measuring.

        Args:
          clock: time taken before; advanced by the meter.
          display: shows the means of the epoch after each call.
          zero: returns metrics of no examples, with `merge`, `count` and `loss`.
          compute: computes the means to show from the sums.
          steps_per_epoch: steps of an epoch.
          observe: receives the number and the metrics of each step; None for nobody.
        """
        self.clock = clock
        self._display = display
        self._zero = zero
        self._compute = compute
        self._steps_per_epoch = steps_per_epoch
        self._observe = observe
        self._pending: tuple[int, Any] | None = None
        self._last_tick = time.perf_counter()
        self.start_epoch()

    def start_epoch(self) -> None:
        """Resets the sums and the time of the epoch."""
        self._sums = jax.device_get(self._zero())
        self._epoch_start = time.perf_counter()

    def add(self, step: int, metrics: Any) -> None:
        """Adds the stacked metrics of the steps up to `step`; reads those of the previous call.

        Raises:
          DivergedError: a loss of the previous call is not finite.
        """
        pending, self._pending = self._pending, (step, metrics)
        if pending:
            self._read(*pending)

    def flush(self) -> None:
        """Waits for the last call and reads its metrics.

        Raises:
          DivergedError: one of its losses is not finite.
        """
        if self._pending:
            pending, self._pending = self._pending, None
            self._read(*pending)

    def end_epoch(self) -> float:
        """Waits for the last call; returns the images per second since `start_epoch`."""
        self.flush()
        seconds = time.perf_counter() - self._epoch_start
        self.clock.step_seconds += seconds
        self.clock.images += int(self._sums.count)
        return int(self._sums.count) / seconds

    def tick(self) -> Clock:
        """Advances the clock to the current time and returns it."""
        now = time.perf_counter()
        self.clock.train_seconds += now - self._last_tick
        self._last_tick = now
        return self.clock

    def _read(self, step: int, stacked: Any) -> None:
        host = jax.device_get(stacked)
        bad = np.flatnonzero(~np.isfinite(host.loss))
        if len(bad):
            first = step - len(host.loss) + 1 + int(bad[0])
            raise DivergedError(f"step {first}: the loss is {host.loss[bad[0]]}")
        steps = [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(len(host.loss))]
        if self._observe:
            for number, metrics in enumerate(steps, start=step - len(steps) + 1):
                self._observe(number, metrics)
        self._sums = functools.reduce(lambda sums, step: sums.merge(step), steps, self._sums)
        means = self._compute(self._sums)
        self._display.update(
            step,
            (step - 1) // self._steps_per_epoch + 1,
            means,
            images_per_second=means["count"] / (time.perf_counter() - self._epoch_start),
        )
