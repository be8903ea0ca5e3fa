"""Runs the launcher as a child process, and ends it if it no longer makes progress.

JAX ends the processes of a run from C++ when one of them dies, and does not notice one that hangs.
The parent turns both into one line and a status that asks a scheduler for a restart.
"""

import collections
import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import IO

from jaxml.training.signals import STOPPING, SignalWatch, leave_closed_terminal

RESTART = os.EX_TEMPFAIL  # 75: the run can resume from its newest checkpoint
PIPE = "JAXML_PROGRESS"  # variable with the file descriptor to which the child writes its steps
STALL_SECONDS = 600.0
_LOG = re.compile(r"[EFIW]\d{4} \d\d:\d\d:\d\d\.\d+ ")  # of C++
_FATAL = re.compile(r"F\d{4} \d\d:|Fatal Python error: ")
_MORE = re.compile(r"$|RPC: |\*\*\* |\s+@ ")  # lines that belong to one of C++
_STATUS = re.compile(r"absl::Status: (.*)")


class Progress:
    """The newest step of the child and its time."""

    def __init__(self) -> None:
        self.step: int | None = None
        self.time = time.time()

    def note(self, text: str) -> None:
        """Notes the steps that the child wrote, one a line."""
        if lines := text.split():
            self.step, self.time = int(lines[-1]), time.time()

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(self.time))
        return (
            f"no step since {clock}" if self.step is None else f"last step {self.step} at {clock}"
        )


def reporter(environment: Mapping[str, str]) -> Callable[[int], None]:
    """Returns a function that reports the number of steps taken to the parent, if there is one.

    If the parent has died, the run saves its state and ends, as after SIGTERM. That signal is sent
    only once, because a second one would end the run before several processes agree on a step.
    """
    if PIPE not in environment:
        return lambda _: None
    descriptor: int | None = int(environment[PIPE])

    def report(step: int) -> None:
        nonlocal descriptor
        if descriptor is None:
            return
        try:
            os.write(descriptor, b"%d\n" % step)
        except OSError:
            descriptor = None
            os.kill(os.getpid(), signal.SIGTERM)

    return report


def run(name: str, stall_seconds: float) -> int:
    """Runs this command as a child process until it ends or hangs.

    Args:
      name: names the process in messages.
      stall_seconds: longest time between the ends of two calls of the training function, and from
        the start to the first.

    Returns:
      The status of the child, or `RESTART` if it hangs or JAX aborted it.
    """
    read, write = os.pipe()
    child = subprocess.Popen(  # noqa: S603 (this command)
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, PIPE: str(write)},
        pass_fds=[write],
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    )
    os.close(write)
    _forward_signals(child)
    assert child.stderr is not None
    log: collections.deque[str] = collections.deque(maxlen=200)
    pump = threading.Thread(target=_pass_on, args=(child.stderr, log, sys.stderr), daemon=True)
    pump.start()
    progress = Progress()
    stalled = not _follow(child, read, progress, stall_seconds)
    if stalled:
        child.kill()
    status = child.wait()
    pump.join(timeout=5)
    is_crash = status < 0 and not stalled and -status not in STOPPING
    if is_crash and not _statuses(log):
        sys.stderr.writelines(log)  # not one of JAX's own ends
    if line := explain(name, status, log, progress, stall_seconds if stalled else None):
        print(f"error: {line}", file=sys.stderr, flush=True)
    if stalled or (status == -signal.SIGABRT and not _is_twice(log)):
        return RESTART
    return 2 if _is_twice(log) else status if status >= 0 else 128 - status


def explain(
    name: str, status: int, log: Iterable[str], progress: Progress, stalled: float | None
) -> str:
    """Returns a line about the end of a child, or "" if the child printed one itself.

    Args:
      name: names the process.
      status: of the child; negative for a signal.
      log: lines that C++ wrote to standard error.
      progress: the last step.
      stalled: seconds after which the child was ended, or None.

    Example:
      >>> progress = Progress()
      >>> progress.note("120")
      >>> explain("process 1", -9, [], progress, None)[:42]
      'process 1: ended by SIGKILL (last step 120'
    """
    restart = f"ended with status {RESTART}, which asks for a restart"
    if stalled is not None:
        return f"{name}: no step ended for {stalled:g} s ({progress}); {restart}"
    if status == -signal.SIGABRT and _is_twice(log):
        return f"{name}: two processes have the same number: {_statuses(log)[-1]}"
    if status == -signal.SIGABRT:
        return f"{name}: {_reason(log)} ({progress}); {restart}"
    if status < 0 and -status not in STOPPING:
        signum = signal.Signals(-status).name
        return f"{name}: ended by {signum} ({progress})"
    return ""


def _reason(log: Iterable[str]) -> str:
    """Returns the reason for which JAX aborted a process."""
    status = (_statuses(log) or ["it was aborted without a message"])[-1]
    if "DEADLINE_EXCEEDED" in status and any("RegisterTask" in line for line in log):
        return "not all processes connected in time, or two have the same number"
    return f"another process died or cannot be reached: {status[:160]}"


def _statuses(log: Iterable[str]) -> list[str]:
    return [match[1].strip() for line in log if (match := _STATUS.search(line))]


def _is_twice(log: Iterable[str]) -> bool:
    return any("incarnation" in status for status in _statuses(log))


def _follow(
    child: subprocess.Popen[str], read: int, progress: Progress, stall_seconds: float
) -> bool:
    """Notes the steps of the child until it ends; returns False if it hangs."""
    with selectors.DefaultSelector() as selector, os.fdopen(read, "rb", buffering=0) as pipe:
        selector.register(pipe, selectors.EVENT_READ)
        while child.poll() is None:
            left = progress.time + stall_seconds - time.time()
            if left <= 0:
                return False
            if selector.select(min(left, 1.0)):
                text = pipe.read(4096).decode()
                if not text:  # closed: the child is ending
                    selector.unregister(pipe)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(stall_seconds)
                    return child.poll() is not None
                progress.note(text.rpartition("\n")[0])
    return True


def _forward_signals(child: subprocess.Popen[str]) -> None:
    def forward(signum: signal.Signals) -> None:
        if signum is signal.SIGHUP:
            leave_closed_terminal()
        child.send_signal(signum)

    SignalWatch(forward, lambda *_: None)


def _pass_on(source: IO[str], log: collections.deque[str], target: IO[str]) -> None:
    """Copies the lines of the child to standard error, and keeps those of C++ instead."""
    inside = crashed = False
    for line in source:
        inside = bool(_LOG.match(line)) or (inside and bool(_MORE.match(line.rstrip("\n"))))
        crashed = crashed or bool(_FATAL.match(line))
        if inside or crashed:
            log.append(line)
        else:
            target.write(line)
            target.flush()
