"""The folder of a run: its settings, its metrics, its result. One run at a time works in it."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import InputError, SaveError
from jaxml.io import atomic

LOCK = ".lock"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
CHECKPOINTS = "checkpoints"
PROFILE = "profile"


class Workdir:
    """The files of a run in a folder that is locked while this is entered.

    Attributes:
      path: the folder.
      checkpoints: the folder of the checkpoints.
      profile: the folder of the profiles.
    """

    def __init__(self, path: Path, config: Config) -> None:
        """Checks that the folder is free for this run or holds it already.

        Raises:
          InputError: it holds something else, or a run with other settings; nothing is written.
        """
        self.path = path
        self.checkpoints = path / CHECKPOINTS
        self.profile = path / PROFILE
        self._config = config
        self._unwritten = b""
        self._check()

    @property
    def started(self) -> bool:
        """Whether the folder holds this run already."""
        return (self.path / CONFIG).exists()

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK).open("w")
        except OSError as error:
            raise InputError(f"--workdir={self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InputError(f"--workdir={self.path}: another run is at work in it") from None
        try:
            self._check()  # once more, now that nobody else writes
            text = settings.to_json(self._config)
            if not self.started or (self.path / CONFIG).read_bytes() != text.encode():
                self._write(CONFIG, text)
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    @staticmethod
    def read_config(path: Path) -> Config:
        """Returns the settings of the run in a folder.

        Raises:
          InputError: it holds no run, or its settings cannot be read.
        """
        try:
            return settings.from_json((path / CONFIG).read_bytes())
        except OSError:
            raise InputError(
                f"--workdir={path}: holds no run, there is no {CONFIG} in it"
            ) from None
        except InputError as error:
            raise InputError(f"{path / CONFIG}: {error}") from None

    def check_owner(self) -> None:
        """Checks that the locked folder is still the one at its path.

        Raises:
          InputError: it was removed, renamed or replaced, perhaps by another run.
        """
        try:
            owned = os.path.samestat(os.fstat(self._lock.fileno()), (self.path / LOCK).stat())
        except OSError:
            owned = False
        if not owned:
            raise InputError(
                f"--workdir={self.path}: was removed, renamed or replaced during the run; "
                "nothing more is written"
            )

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Adds one object to `metrics.jsonl`, after those that could not be written before.

        Raises:
          SaveError: it cannot be written now; the next call tries again.
        """
        self._unwritten += json.dumps(line).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Writes the metrics that could not be written before.

        Raises:
          SaveError: they still cannot be written.
        """
        self.check_owner()
        if not self._unwritten:
            return
        path = self.path / METRICS
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(self._unwritten)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise SaveError(f"{path}: {error.strerror}") from None
        self._unwritten = b""

    def rewind_metrics(self, step: int, say: Callable[[str], None]) -> None:
        """Drops the lines after a step, which will be written again, and lines that are damaged.

        Args:
          step: the last step that is kept.
          say: receives a line if lines are damaged, other than a last one that was cut short.
        """
        path = self.path / METRICS
        try:
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        steps = [_step(line) for line in lines]
        kept = [
            line for line, at in zip(lines, steps, strict=True) if at is not None and at <= step
        ]
        if kept != lines:
            self._write(METRICS, b"".join(kept))
        if damaged := steps[:-1].count(None):
            say(f"{path}: {damaged} damaged line{'s' * (damaged > 1)} dropped")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`.

        Raises:
          SaveError: it cannot be written.
        """
        self.flush()
        self._write(RESULT, json.dumps(result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any] | None:
        """Returns what `result.json` says; None if there is none or it is damaged."""
        try:
            result = json.loads((self.path / RESULT).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return result if isinstance(result, dict) else None

    def set_result_aside(self) -> None:
        """Renames a `result.json` that is not, or no longer, the result of the run."""
        path = self.path / RESULT
        if path.exists():
            self.check_owner()
            steps = (self.read_result() or {}).get("steps")
            name = f"step{steps}" if isinstance(steps, int) else "damaged"
            path.replace(path.with_name(f"{path.stem}.{name}{path.suffix}"))

    def _check(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InputError(f"--workdir={self.path}: is a file, it must be a folder")
        path = self.path / CONFIG
        if not path.exists():
            others = {p.name for p in self.path.iterdir()} - {LOCK, CONFIG + atomic.PARTIAL}
            if others:
                raise InputError(
                    f"--workdir={self.path}: holds {sorted(others)[0]!r} and no run; "
                    "give an empty or a new folder"
                )
            return
        try:
            different = settings.differences(self._config, json.loads(path.read_bytes()))
        except (OSError, ValueError, AttributeError, RecursionError):
            raise InputError(f"{path}: is not the JSON of a run's settings") from None
        if different:
            raise InputError(
                f"--workdir={self.path}: holds a run with other settings: {', '.join(different)}; "
                "give another folder or the same settings"
            )

    def _write(self, name: str, text: str | bytes) -> None:
        self.check_owner()
        path = self.path / name
        try:
            atomic.write(path, text.encode() if isinstance(text, str) else text)
        except OSError as error:
            raise SaveError(f"{path}: {error.strerror}") from None


def _step(line: bytes) -> int | None:
    """Returns the step of a line of metrics; None if the line is damaged."""
    try:
        step = json.loads(line)["step"] if line.endswith(b"\n") else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if isinstance(step, int) else None
