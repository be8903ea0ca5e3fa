"""The files of data that are part of scikit-learn."""

import importlib.util
from pathlib import Path

from jaxml.errors import InputError


def path(name: str) -> Path:
    """Where a file is, without importing scikit-learn, which would take a second.

    Raises:
      InputError: there is no such file in what is installed.
    """
    spec = importlib.util.find_spec("sklearn")
    folders = (spec and spec.submodule_search_locations) or []
    for folder in folders:
        file = Path(folder, "datasets", "data", name)
        if file.is_file():
            return file
    raise InputError(f"config.data.name: the scikit-learn that is installed has no {name}")
