"""Runs a benchmark, prints its tables and writes its measurements."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from jaxml.errors import InputError
from jaxml.io import atomic
from launch.benchmark.comparison import compare
from launch.benchmark.input import input_speed
from launch.benchmark.settings import Settings
from launch.benchmark.startup import startup
from launch.benchmark.svm import svm
from launch.benchmark.task import cores

# Everything else is a comparison.
OTHERS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "startup": startup,
    "svm": svm,
    "input": input_speed,
}


def run(settings: Settings) -> dict[str, Any]:
    """Measures, prints tables, and writes a JSON file if one is given.

    Returns:
      The content of the file: `settings`, `cores`, `device`, `versions`, and `results` with the
      measurements of each of the `competitors` for each batch size and operation.

    Raises:
      InputError: a setting is wrong, or the file cannot be written.
      WorkerError: jaxml cannot be timed.
    """
    settings.check()
    shown = dataclasses.asdict(settings)
    shown |= {"json": str(settings.json or ""), "repeats": settings.rounds}
    shown["data_dir"] = str(settings.data_dir)
    measured = OTHERS.get(settings.what, compare)(settings)
    found = {"settings": shown, "cores": cores(), **measured}
    if settings.json:
        try:
            atomic.write(settings.json, (json.dumps(found, indent=2) + "\n").encode())
        except OSError as error:
            raise InputError(f"--json: {settings.json}: {error.strerror}") from None
    return found
