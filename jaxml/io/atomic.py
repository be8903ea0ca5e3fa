"""Atomic file writes."""

import contextlib
import os
from pathlib import Path

__all__ = ["PARTIAL", "write"]

PARTIAL = ".partial"


def write(path: Path, content: bytes) -> None:
    """Replaces a file atomically: a reader sees either the old or the new content.

    The new content is durable when the function returns, even after a power failure.

    Args:
      path: the file. A file of the same name plus `.partial` exists next to it during the write.
      content: the complete content.

    Raises:
      OSError: the file cannot be written; its old content is unchanged.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    with contextlib.suppress(OSError):  # not every file system can synchronize folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
