"""SIGTERM and SIGINT as a question that the training loop asks between two calls."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupted(Exception):
    """The run was asked to stop and has saved its state.

    Attributes:
      signum: the signal that asked.
      step: where the run will go on.
    """

    def __init__(self, signum: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {signum.name} at step {step}, the state is saved")
        self.signum = signum
        self.step = step


class StopSignals:
    """Notes the first SIGTERM or SIGINT; a second one acts at once, as it would have without this.

    Attributes:
      received: the signal, or None.
    """

    received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._previous = {
            signum: signal.signal(signum, self._note) for signum in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(signum)
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
