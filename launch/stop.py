"""Ends a command that is asked to stop, in one line and without a traceback."""

import os
import signal
import sys

from jaxml.training.signals import SignalWatch, leave_closed_terminal


def watch() -> None:
    """Ends the process at the first SIGINT, SIGTERM or SIGHUP, whatever it is busy with.

    A `jaxml.training.signals.StopSignals` takes over the first signal while it is in use.
    """
    SignalWatch(end, lambda *_: None)


def end(signum: signal.Signals) -> None:
    """Ends the process with the status that a shell gives to one that a signal ended.

    Nothing is cleaned up, which could wait for XLA: what is written by the commands is either
    replaced atomically or checked before it is used.
    """
    leave_closed_terminal()
    # A progress bar hides the cursor and leaves it in its line.
    begin = "\x1b[?25h\n" if os.isatty(2) else ""
    try:
        os.write(2, f"{begin}stopped by {signum.name}\n".encode())
        if (processes := sys.modules.get("multiprocessing")) is not None:
            for child in processes.active_children():
                child.kill()
    finally:
        os._exit(128 + signum)
