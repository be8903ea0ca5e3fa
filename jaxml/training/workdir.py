"""The folder of a run: its config, metrics and result. Only one run at a time works in it."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from jaxml.config import Config, differences, from_json, to_json
from jaxml.errors import InputError, SaveError
from jaxml.io import atomic

LOCK = ".lock"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
CLASSES = "classes.json"
CHECKPOINTS = "checkpoints"
PROFILE = "profile"
SEED = "seed_"  # begins the name of the folder of each seed, in a run of several


class Workdir:
    """The files of a run, in a folder that this process has locked (see `open_workdir`).

    Attributes:
      path: the folder.
      checkpoints: folder of the checkpoints.
      profile: folder of the profiles.
    """

    def __init__(self, path: Path, lock: IO[str] | None) -> None:
        """Wraps a locked folder.

        Args:
          path: the folder.
          lock: the open lock file; None writes nothing, because another process of the run does.
        """
        self.path = path
        self.checkpoints = path / CHECKPOINTS
        self.profile = path / PROFILE
        self._lock = lock
        self._unwritten = b""

    def check_owner(self) -> None:
        """Checks that the locked folder is still the one at its path.

        Raises:
          InputError: it was removed, renamed or replaced, perhaps by another run.
        """
        if self._lock is None:
            return
        try:
            owned = os.path.samestat(os.fstat(self._lock.fileno()), (self.path / LOCK).stat())
        except (OSError, ValueError):
            owned = False
        if not owned:
            raise InputError(
                f"--workdir={self.path}: was removed, renamed or replaced during the run; "
                "nothing more is written"
            )

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Appends an object to `metrics.jsonl`, after any that could not be written earlier.

        Raises:
          SaveError: it cannot be written now; the next call retries.
        """
        if self._lock is not None:
            self._unwritten += json.dumps(line).encode() + b"\n"
            self.flush()

    def flush(self) -> None:
        """Writes the metrics that could not be written earlier.

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
        """Removes the metrics of later steps, and damaged lines.

        Args:
          step: last step to keep.
          say: receives a message if lines other than the last one are damaged.
        """
        if self._lock is None:
            return
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

    def write_config(self, config: Config) -> None:
        """Writes `config.json`, unless it holds the same config already.

        Raises:
          SaveError: it cannot be written.
        """
        text, path = to_json(config), self.path / CONFIG
        if not path.exists() or path.read_bytes() != text.encode():
            self._write(CONFIG, text)

    def write_classes(self, names: Sequence[str]) -> None:
        """Writes the names of the classes, in the order of their numbers, to `classes.json`.

        Raises:
          SaveError: they cannot be written.
        """
        self._write(CLASSES, json.dumps(list(names), indent=2, ensure_ascii=False) + "\n")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`.

        Raises:
          SaveError: it cannot be written.
        """
        self.flush()
        self._write(RESULT, json.dumps(result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any] | None:
        """Returns the content of `result.json`, or None if it is missing or damaged."""
        try:
            result = json.loads((self.path / RESULT).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return result if isinstance(result, dict) else None

    def set_result_aside(self) -> None:
        """Renames a `result.json` that is damaged or belongs to a shorter run."""
        path = self.path / RESULT
        if path.exists() and self._lock is not None:
            self.check_owner()
            steps = (self.read_result() or {}).get("steps")
            name = f"step{steps}" if isinstance(steps, int) else "damaged"
            path.replace(path.with_name(f"{path.stem}.{name}{path.suffix}"))

    def _write(self, name: str, text: str | bytes) -> None:
        if self._lock is None:
            return
        self.check_owner()
        path = self.path / name
        try:
            atomic.write(path, text.encode() if isinstance(text, str) else text)
        except OSError as error:
            raise SaveError(f"{path}: {error.strerror}") from None


@contextlib.contextmanager
def open_workdir(path: Path, config: Config, *, writes: bool = True) -> Iterator[Workdir]:
    """Creates and locks the folder of a run, and writes its config.

    Args:
      path: a new or empty folder, or the folder of this run.
      config: config of the run.
      writes: False does nothing of this, for all processes of a run but one.

    Raises:
      InputError: the folder cannot be used (see `check_workdir`), or another run has locked it.
    """
    if not writes:
        yield Workdir(path, None)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK).open("w")
    except OSError as error:
        raise InputError(f"--workdir={path}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"--workdir={path}: another run has locked it") from None
        check_workdir(path, config)  # again, now that no other run writes
        workdir = Workdir(path, lock)
        workdir.write_config(config)
        yield workdir


def check_workdir(path: Path, config: Config) -> None:
    """Checks that a folder is available for a run, or holds it already; writes nothing.

    Raises:
      InputError: it holds something else, or a run with another config.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"--workdir={path}: must be a folder, got a file")
    file = path / CONFIG
    if not file.exists():
        if others := {p.name for p in path.iterdir()} - {LOCK, CONFIG + atomic.PARTIAL}:
            raise InputError(
                f"--workdir={path}: must be new, empty or the folder of a run, "
                f"got a folder with {min(others)!r} and no run"
            )
        return
    try:
        different = differences(config, json.loads(file.read_bytes()))
    except (OSError, ValueError, AttributeError, RecursionError):
        raise InputError(f"{file}: must be the JSON of a config") from None
    if different:
        raise InputError(
            f"--workdir={path}: holds a run with another config: {', '.join(different)}; "
            "give another folder or the same config"
        )


def read_config(path: Path) -> Config:
    """Reads the config of the run in a folder.

    Raises:
      InputError: the folder holds no run, or its config cannot be read.
    """
    try:
        return from_json((path / CONFIG).read_bytes())
    except OSError:
        raise InputError(f"--workdir={path}: holds no run ({CONFIG} is missing)") from None
    except InputError as error:
        raise InputError(f"{path / CONFIG}: {error}") from None


def _step(line: bytes) -> int | None:
    """Returns the step of a line of metrics, or None if the line is damaged."""
    try:
        step = json.loads(line)["step"] if line.endswith(b"\n") else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if isinstance(step, int) else None
