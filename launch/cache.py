"""Where compiled programs are kept, so that the next run need not compile them again."""

import os
import stat
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
# The small programs of a start take JAX longer to compile than to read, so all are kept.
LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def user_folder(environment: Mapping[str, str]) -> Path:
    """Returns the folder for compiled programs of commands that have no folder of their own."""
    home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "jaxml" / "compiled"


def keep_compiled(folder: Path, environment: MutableMapping[str, str]) -> None:
    """Keeps compiled programs in a folder, unless JAX's own variables say where or when.

    JAX runs what it finds there, so a folder of another user, or one that everybody may write into,
    is not used. Where nothing can be read or written, the run compiles as if there were no folder.

    Args:
      folder: created when the first program is compiled.
      environment: `os.environ`, before JAX is imported.
    """
    if FOLDER in environment or not _is_own(folder):
        return
    environment[FOLDER] = str(folder.absolute())
    environment.setdefault(LEAST_SECONDS, "0")
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    _remove_empty(folder)


def _is_own(folder: Path) -> bool:
    """Whether nobody else can put a program there."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH


def _remove_empty(folder: Path) -> None:
    """Removes what a machine that died left empty: JAX would neither use nor replace it."""
    try:
        for path in folder.glob("*-cache"):
            if path.stat().st_size == 0:
                path.unlink()
    except OSError:  # it cannot be written, or another run is at it
        return
