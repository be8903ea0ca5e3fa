"""The folder of a run: its settings, its metrics, its result. One run at a time works in it."""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jaxml import atomic
from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import InputError

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
        self._check()  # once more, now that nobody else writes
        if not (self.path / CONFIG).exists():
            self._write(CONFIG, settings.to_json(self._config))
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
        """The settings of the run in a folder.

        Raises:
          InputError: it holds no run, or its settings cannot be read.
        """
        try:
            return settings.from_json((path / CONFIG).read_text())
        except OSError:
            raise InputError(
                f"--workdir={path}: holds no run, there is no {CONFIG} in it"
            ) from None
        except InputError as error:
            raise InputError(f"{path / CONFIG}: {error}") from None

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Adds one object to `metrics.jsonl`."""
        with (self.path / METRICS).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def rewind_metrics(self, step: int) -> None:
        """Drops the lines after a step, and a line that was cut short: they will come again."""
        path = self.path / METRICS
        if not path.exists():
            return
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        if kept != lines:
            self._write(METRICS, "".join(kept))

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`."""
        self._write(RESULT, json.dumps(result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any] | None:
        """What `result.json` says, or None while the run is not finished."""
        path = self.path / RESULT
        return json.loads(path.read_text()) if path.exists() else None

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
            different = settings.differences(self._config, path.read_text())
        except (ValueError, AttributeError):
            raise InputError(f"{path}: is not the JSON of a run's settings") from None
        if different:
            raise InputError(
                f"--workdir={self.path}: holds a run with other settings: {', '.join(different)}; "
                "give another folder or the same settings"
            )

    def _write(self, name: str, text: str) -> None:
        atomic.write(self.path / name, text.encode())
