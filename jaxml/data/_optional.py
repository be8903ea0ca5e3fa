"""Optional dependencies of the readers."""

import importlib
from typing import Any

from jaxml.errors import InputError


class MissingPackageError(InputError):
    """An optional dependency is not installed."""


def require(module: str, package: str) -> Any:
    """Imports an optional dependency.

    Raises:
      MissingPackageError: it is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingPackageError(
            f"these data need the package {package}, which is not installed: pip install "
            f"{package}, or pip install 'jaxml[data]' for every reader"
        ) from None
