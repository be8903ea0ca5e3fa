"""Adapter for packages with the interface of wandb: `init`, `log` and `finish`."""

import importlib
from collections.abc import Mapping
from typing import Any

from jaxml.reporting.observers import Observer


class Tracker(Observer):
    """Sends the numbers of a run to an experiment tracker."""

    def __init__(self, package: str, *, project: str, name: str, config: Mapping[str, Any]) -> None:
        """Starts or resumes a run of the tracker.

        Args:
          package: "wandb" or "trackio".
          project: name of the project.
          name: name of the run; a run of this name is resumed.
          config: config of the run as nested dictionaries.

        Raises:
          ImportError: the package is not installed.
          Exception: the tracker may raise any error.
        """
        self._module: Any = importlib.import_module(package)
        options = {"id": name} if package == "wandb" else {}  # trackio resumes by the name
        self._module.init(
            project=project, name=name, config=dict(config), resume="allow", **options
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Logs numbers by name."""
        self._module.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run of the tracker."""
        self._module.finish()
