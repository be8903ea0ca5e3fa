"""Files that are written at once."""

import contextlib
import os
from pathlib import Path

PARTIAL = ".partial"


def write(path: Path, content: bytes) -> None:
    """Replaces a file at once: whoever reads it sees the old or the new one, whole.

    Args:
      path: the file; while it is written, a file of its name with `.partial` stands beside it.
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
