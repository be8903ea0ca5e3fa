"""Watches the progress of a run on a thread of its own."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Self


class Stall(NamedTuple):
    """A run in which no step has ended for a while.

    Attributes:
      step: number of steps that have ended.
      waits_for: what the run waits for, such as "the device".
      since: time of day at which the last step ended, in seconds since the epoch.
      seconds: time since then.
    """

    step: int
    waits_for: str
    since: float
    seconds: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return (
            f"no step has ended for {self.seconds:.0f} s: waiting for {self.waits_for} after step "
            f"{self.step}, since {since}"
        )


class Watchdog:
    """Calls a function if no step has ended for some time, even while the run waits inside XLA.

    The time starts on entering the context and with each step. The function is called on the
    thread of the watchdog, once a stall. It may report the stall, or end the process.

    Example:
      >>> with Watchdog(60.0, print) as watchdog:
      ...     watchdog.waits_for("the device")
      ...     watchdog.step_ended(1)
    """

    def __init__(self, limit_s: float | None, act: Callable[[Stall], None], step: int = 0) -> None:
        """Prepares to watch; watching starts on entering the context.

        Args:
          limit_s: time without a step after which to act; None never acts, and starts no thread.
          act: called once a stall.
          step: number of steps taken before.
        """
        self._limit_s = limit_s
        self._act = act
        self._waits_for = "the first step"
        self._ended = (step, time.monotonic(), time.time())  # replaced at once, so without a lock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.step_ended(self._ended[0])
        if self._limit_s is not None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def step_ended(self, step: int) -> None:
        """Restarts the time.

        Args:
          step: number of steps that have ended.
        """
        self._ended = (step, time.monotonic(), time.time())

    def waits_for(self, name: str) -> None:
        """Names the activity that the run waits for; the time does not restart."""
        self._waits_for = name

    def _watch(self) -> None:
        assert self._limit_s is not None
        wait_s = self._limit_s
        while not self._stop.wait(wait_s):
            step, begin, since = self._ended
            wait_s = begin + self._limit_s - time.monotonic()
            if wait_s <= 0:
                self._act(Stall(step, self._waits_for, since, time.monotonic() - begin))
                # A step that ends from now on is late after the limit at the earliest.
                while self._ended[1] == begin and not self._stop.wait(self._limit_s):
                    pass
                wait_s = max(self._ended[1] + self._limit_s - time.monotonic(), 0.0)
