"""The results of one part, written to a file after each figure."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxml.errors import JaxmlError
from jaxml.io import atomic


class Report:
    """Collects figures and lines of text, and tells a part how much time is left.

    Attributes:
      dry: whether the part is to be tiny.
      data_dir: folder of the data sets.
      workdir: folder for runs and compiled programs.
      figures: what was measured so far.
    """

    def __init__(
        self, file: Path, *, seconds: float, dry: bool, data_dir: Path, workdir: Path
    ) -> None:
        self.dry, self.data_dir, self.workdir = dry, data_dir, workdir
        self.figures: dict[str, Any] = {}
        self._file, self._lines = file, list[str]()
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Returns the seconds until the time limit."""
        return self._end - time.monotonic()

    def note(self, **figures: Any) -> None:
        """Adds or replaces figures."""
        self.figures |= figures
        self._write()

    def say(self, line: str) -> None:
        """Adds a line for people."""
        print(line, flush=True)
        self._lines.append(line)
        self._write()

    def fail(self, name: str) -> None:
        """Notes that something failed."""
        self.note(failed=[*self.figures.get("failed", []), name])

    def attempt(self, name: str, function: Callable[[], None]) -> bool:
        """Calls a function; if it fails, says so in one line and returns False."""
        try:
            function()
        except Exception as error:  # noqa: BLE001 (one measurement must not cost the others)
            if not isinstance(error, JaxmlError):
                traceback.print_exc()
            reason = next(iter(str(error).strip().splitlines()), "")[:200]
            self.fail(name)
            self.say(f"{name}: FAILED, {type(error).__name__}: {reason}")
            return False
        return True

    def _write(self) -> None:
        content = {"lines": self._lines, "figures": self.figures}
        atomic.write(self._file, json.dumps(content).encode())
