"""Reads the files of a run for reports: its config, metrics and result."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxml.config import Config, fields, from_json
from jaxml.errors import InputError, one_line

REPORT = "report.html"
Line = Mapping[str, Any]


class RunFiles(NamedTuple):
    """The files of a run.

    Attributes:
      path: folder of the run.
      config: the resolved config.
      result: content of `result.json`; empty for a run that is not finished.
      lines: objects of `metrics.jsonl`, in order.
    """

    path: Path
    config: Config
    result: dict[str, Any]
    lines: list[Line]

    @property
    def split(self) -> str:
        """Name of the evaluation set."""
        return next((line["split"] for line in self.lines if line["split"] != "train"), "test")

    def of_split(self, split: str) -> list[Line]:
        """Returns the lines of one split."""
        return [line for line in self.lines if line["split"] == split]

    def curve(self, split: str, name: str) -> tuple[list[float], list[float]]:
        """Returns the epochs and the values of a metric."""
        found = [line for line in self.of_split(split) if line.get(name) is not None]
        return [line["epoch"] for line in found], [line[name] for line in found]


def read_run(path: Path) -> RunFiles:
    """Reads the files of a run, which may still be training.

    Raises:
      InputError: the folder holds no run, its config cannot be read, or it has no metrics yet.
    """
    try:
        config = from_json((path / "config.json").read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: holds no run (config.json is missing)") from None
    except (OSError, ValueError, TypeError, AttributeError, InputError) as error:
        raise InputError(f"{path}/config.json: {one_line(error)}") from None
    lines = list(_objects(path / "metrics.jsonl"))
    if not lines:
        raise InputError(f"{path}: the run has no metrics yet")
    try:
        result = json.loads((path / "result.json").read_bytes())
    except (OSError, ValueError):
        result = {}
    return RunFiles(path, config, result if isinstance(result, dict) else {}, lines)


def setting_values(config: Config) -> dict[str, Any]:
    """Returns the values of all settings by dotted names.

    >>> setting_values(Config(seed=3))["seed"]
    3
    """
    return {name: value for name, _, value in fields(config)}


def overrides(commands: Sequence[str]) -> list[str]:
    """Returns the settings on the command lines of a run, in order.

    >>> overrides(["python -m launch.train --config=a.py --config.seed=3 --config.optim.name lamb"])
    ['config.seed=3', 'config.optim.name=lamb']
    """
    import shlex

    found = []
    for command in commands:
        words = shlex.split(command)
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, equals, value = word.lstrip("-").partition("=")
            if name.startswith(("config.", "noconfig.")) and word.startswith("-"):
                bare = "" if following.startswith("-") or not following else f"={following}"
                found.append(f"{name}={value}" if equals else f"{name}{bare}")
    return list(dict.fromkeys(found))


def _objects(path: Path) -> Iterator[Line]:
    """Yields the complete lines of a file of metrics; a run may be writing the last one."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and {"step", "epoch", "split"} <= found.keys():
            yield found
