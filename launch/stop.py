"""Ends a command on a signal, with one line and without a traceback."""

import os
import signal
import sys

from jaxml.training.signals import SignalWatch, leave_closed_terminal


def watch() -> None:
    """Ends the process at the first SIGINT, SIGTERM or SIGHUP, even inside native code.

    While a `jaxml.training.signals.StopSignals` is active, it handles the first signal instead.
    """
    SignalWatch(end, lambda *_: None)


def end(signum: signal.Signals) -> None:
    """Ends the process immediately, with a shell's exit status for a signal.

    It skips Python's cleanup, which could wait for XLA. This is safe: the commands write files
    atomically, or check them before use.
    """
    leave_closed_terminal()
    # Shows the cursor again, which a progress bar hides, and ends the line of the bar.
    begin = "\x1b[?25h\n" if os.isatty(2) else ""
    try:
        os.write(2, f"{begin}stopped by {signum.name}\n".encode())
        if (processes := sys.modules.get("multiprocessing")) is not None:
            for child in processes.active_children():
                child.kill()
    finally:
        os._exit(128 + signum)
