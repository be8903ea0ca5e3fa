"""Files that are written atomically."""

import contextlib
import os
from pathlib import Path

PARTIAL = ".partial"


def write(path: Path, content: bytes) -> None:
    """Replaces a file atomically: a reader sees the old or the new one, whole.

    The new one is on the disk when this returns, also after a power failure.

    Args:
      path: the file; while it is written, a file of its name with `.partial` stands next to it.
      content: all of it.

    Raises:
      OSError: it cannot be written; what was there before is left.
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
    with contextlib.suppress(OSError):  # not every file system synchronises folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
