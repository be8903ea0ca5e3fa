"""Signals that ask a run to stop, handled even while XLA compiles or computes.

Python calls a signal handler between two instructions of the main thread, so a handler waits while
the main thread is inside XLA. The C library writes each signal into a pipe immediately
(`signal.set_wakeup_fd`), and a thread reads it from there.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import ClassVar, Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `timeout` and a closing terminal may send a signal twice within a few milliseconds.
ECHO_SECONDS = 0.1


class Interrupted(Exception):
    """A signal stopped the run, and its state is saved.

    Attributes:
      signum: the signal.
      step: number of steps taken; the run will resume there.
    """

    def __init__(self, signum: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {signum.name} at step {step}, the state is saved")
        self.signum = signum
        self.step = step


class SignalWatch:
    """Calls a function on a separate thread for each signal in `STOPPING`.

    A SIGHUP that is ignored when the watch starts, as under `nohup`, stays ignored.
    """

    def __init__(
        self,
        act: Callable[[signal.Signals], None],
        handler: Callable[[int, FrameType | None], None],
    ) -> None:
        """Starts watching; must run on the main thread.

        Args:
          act: called on the thread as soon as a signal arrives.
          handler: called on the main thread when it next runs Python.
        """
        self._act = act
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._outer = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        watched = set(STOPPING)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            watched.remove(signal.SIGHUP)
        self._handlers = {signum: signal.signal(signum, handler) for signum in watched}
        threading.Thread(target=self._serve, name="signals", daemon=True).start()

    def stop(self) -> None:
        """Restores the previous handlers and the previous pipe."""
        for signum, handler in self._handlers.items():
            # None stands for a handler that was not installed by Python, such as JAX's.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._outer, warn_on_full_buffer=False)
        os.close(self._write)

    def pass_on(self, signum: int) -> None:
        """Forwards a signal to the previous watch, if there is one."""
        if self._outer >= 0:
            with contextlib.suppress(OSError):  # the pipe is full or closed
                os.write(self._outer, bytes([signum]))

    def _serve(self) -> None:
        while read := os.read(self._read, 1):
            if read[0] in self._handlers:
                self._act(signal.Signals(read[0]))
            else:
                self.pass_on(read[0])
        os.close(self._read)


class StopSignals:
    """Records the first signal in `STOPPING`; a second one acts as if this were not active.

    The first is reported on standard error immediately. A signal within `ECHO_SECONDS` after it, or
    a repeated SIGHUP, does not count as a second one. Outside the main thread, where Python allows
    no handlers, no signal is recorded.

    Attributes:
      received: the signal, or None.
      unheeded: signal of the last context that recorded one and ended without an error, or None.

    Example:
      >>> with StopSignals() as signals:
      ...     signals.received is None
      True
    """

    received: signal.Signals | None = None
    unheeded: ClassVar[signal.Signals | None] = None

    def __init__(self, effect: str = "stopping after this step") -> None:
        """Prepares to record signals; recording starts on entering the context.

        Args:
          effect: describes the effect of the first signal in the message.
        """
        self._effect = effect
        self._watch: SignalWatch | None = None
        self._arrived, self._handled = _SignalOrder(), _SignalOrder()
        self._second_arrived = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._watch = SignalWatch(self._note, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        if self.received and error[0] is None:
            StopSignals.unheeded = self.received

    def _note(self, signum: signal.Signals) -> None:
        """Handles each signal on the thread of the watch."""
        if signum is signal.SIGHUP:
            leave_closed_terminal()
        if self._arrived.is_first():
            self.received = self.received or signum
            with contextlib.suppress(OSError, ValueError):  # standard error is closed
                print(  # noqa: T201
                    f"{signum.name}: {self._effect}; a second signal ends it immediately",
                    file=sys.stderr,
                    flush=True,
                )
        elif self._arrived.is_second(signum):
            self._second_arrived = True
            if self._watch:
                self._watch.pass_on(signum)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal on the main thread, once that runs Python."""
        del frame
        signum = signal.Signals(number)
        first = self._handled.is_first()
        self.received = self.received or signum
        if self._second_arrived or (not first and self._handled.is_second(signum)):
            self._end()
            signal.raise_signal(signum)

    def _end(self) -> None:
        if self._watch:
            self._watch.stop()
        self._watch = None


class _SignalOrder:
    """Distinguishes the first signal from an intentional second one."""

    def __init__(self) -> None:
        self._first: float | None = None

    def is_first(self) -> bool:
        if self._first is not None:
            return False
        self._first = time.monotonic()
        return True

    def is_second(self, signum: signal.Signals) -> bool:
        """Returns whether a later signal is an intentional second one."""
        assert self._first is not None
        late = time.monotonic() - self._first > ECHO_SECONDS
        return late and signum is not signal.SIGHUP


def leave_closed_terminal() -> None:
    """Redirects standard output and error to `os.devnull` if their terminal has closed.

    Otherwise, the next line that a run prints would fail, and its state would not be saved.
    """
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)
