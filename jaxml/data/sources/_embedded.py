"""Data files that are part of the scikit-learn package."""

import importlib.util
from pathlib import Path

from jaxml.errors import InputError


def path(name: str, folder: str = "data") -> Path:
    """Returns the path of a data file without importing scikit-learn, which takes a second.

    Args:
      name: name of the file.
      folder: folder in `sklearn/datasets`.

    Raises:
      InputError: the installed scikit-learn has no such file.
    """
    spec = importlib.util.find_spec("sklearn")
    for package in (spec and spec.submodule_search_locations) or []:
        file = Path(package, "datasets", folder, name)
        if file.is_file():
            return file
    raise InputError(
        f"config.data.name must be a data set of the installed scikit-learn, which has no {name}"
    )
