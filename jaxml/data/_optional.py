"""Optional dependencies of the readers."""

import importlib
from typing import Any

from jaxml.errors import InputError


def require(module: str, package: str) -> Any:
    """Imports an optional dependency.

    Raises:
      InputError: it is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"these data need the package {package}, which is not installed: pip install "
            f"{package}, or pip install 'jaxml[data]' for every reader"
        ) from None
