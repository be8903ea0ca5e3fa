"""Folders for files that only save time."""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["folder"]


def folder(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Returns `jaxml/NAME` in `$XDG_CACHE_HOME` or `~/.cache`; None for a user without a home.

    >>> folder("indexes", {"XDG_CACHE_HOME": "/cache"}).as_posix()
    '/cache/jaxml/indexes'
    """
    try:
        home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(home) / "jaxml" / name
