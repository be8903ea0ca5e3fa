"""From the settings of a benchmark to what it prints and writes."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from jaxml.errors import InputError
from jaxml.io import atomic
from launch.benchmark.comparison import compare
from launch.benchmark.settings import Settings
from launch.benchmark.startup import startup
from launch.benchmark.svm import svm
from launch.benchmark.task import cores

# All else is a comparison.
OTHERS: dict[str, Callable[[Settings], dict[str, Any]]] = {"startup": startup, "svm": svm}


def run(settings: Settings) -> dict[str, Any]:
    """Measures, prints, and writes the JSON file that is asked for.

    Returns:
      What the file says: `settings`, `cores`, `device`, `versions`, and in `results` for each batch
      size and operation the figures of each of the `competitors`.

    Raises:
      InputError: a setting is wrong.
      WorkerError: ours cannot be timed.
    """
    settings.check()
    told = dataclasses.asdict(settings)
    told |= {"json": str(settings.json or ""), "repeats": settings.rounds}
    measured = OTHERS.get(settings.what, compare)(settings)
    found = {"settings": told, "cores": cores(), **measured}
    if settings.json:
        try:
            atomic.write(settings.json, (json.dumps(found, indent=2) + "\n").encode())
        except OSError as error:
            raise InputError(f"--json: {settings.json}: {error.strerror}") from None
    return found
