"""Child processes with a time limit, for code that may end the process that runs it."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Lines with a message, which a stack trace may follow: of XLA, of Python, of an exception.
_MESSAGE = re.compile(r"F\d{4} |Fatal Python error|[\w.]+(Error|Exception): ")


class ChildError(Exception):
    """A child process failed; the message is one line."""


def run(program: Sequence[str], *, limit_s: float, environment: Mapping[str, str]) -> str:
    """Runs Python in a child process that finds the same modules, and returns its output.

    Ctrl-C in a terminal does not reach the child, so an interrupted child is not a failed one.

    Args:
      program: arguments of Python, such as `["-m", "module", "argument"]`.
      limit_s: time limit in seconds, after which the child is killed.
      environment: environment of the child, without PYTHONPATH.

    Raises:
      ChildError: the child did not start, took too long, or ended with another status than 0.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise ChildError("Python cannot start a child process")
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    try:
        child = subprocess.run(  # noqa: S603 (the caller's program)
            [sys.executable, "-P", *program],
            env={**environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"the child process took more than {limit_s:g} s") from None
    except OSError as error:
        raise ChildError(f"the child process did not start: {error}") from None
    if child.returncode:
        message = _message(child.stderr)
        raise ChildError(f"the child process ended with status {child.returncode}: {message}")
    return child.stdout


def _message(text: str) -> str:
    r"""Returns the line that says why a process ended.

    >>> _message("Traceback (most recent call last):\n  ...\nValueError: wrong\nfile.cc:425")
    'ValueError: wrong'
    """
    lines = [line for line in text.splitlines() if line.strip()] or ["no message"]
    said = [line for line in lines if _MESSAGE.match(line)]
    return " ".join((said or lines)[-1].split())[:300]
