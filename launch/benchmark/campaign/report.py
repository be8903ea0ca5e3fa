"""The results of one part of a campaign, written to a file after each measurement."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxml.errors import JaxmlError
from jaxml.io import atomic


class Report:
    """Collects measurements and lines of text, and knows the time limit of the part.

    Attributes:
      dry: whether to run a tiny version of the part.
      data_dir: folder of the data sets.
      workdir: folder for runs and compiled programs.
      measurements: measurements so far, by name.
    """

    def __init__(
        self, file: Path, *, seconds: float, dry: bool, data_dir: Path, workdir: Path
    ) -> None:
        self.dry, self.data_dir, self.workdir = dry, data_dir, workdir
        self.measurements: dict[str, Any] = {}
        self._file, self._lines = file, list[str]()
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Returns the seconds until the time limit."""
        return self._end - time.monotonic()

    def note(self, **measurements: Any) -> None:
        """Adds or replaces measurements."""
        self.measurements |= measurements
        self._write()

    def say(self, line: str) -> None:
        """Prints a line and adds it to the report."""
        print(line, flush=True)
        self._lines.append(line)
        self._write()

    def fail(self, name: str) -> None:
        """Records a failure."""
        self.note(failed=[*self.measurements.get("failed", []), name])

    def attempt(self, name: str, function: Callable[[], None]) -> bool:
        """Calls a function; if it fails, reports that in one line and returns False."""
        try:
            function()
        except Exception as error:  # noqa: BLE001 (the other measurements continue)
            if not isinstance(error, JaxmlError):
                traceback.print_exc()
            reason = next(iter(str(error).strip().splitlines()), "")[:200]
            self.fail(name)
            self.say(f"{name}: FAILED, {type(error).__name__}: {reason}")
            return False
        return True

    def _write(self) -> None:
        content = {"lines": self._lines, "measurements": self.measurements}
        atomic.write(self._file, json.dumps(content).encode())
