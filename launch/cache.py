"""Persistent cache of compiled programs."""

import os
import stat
import warnings
import zlib
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from jaxml.io import cache

FOLDER = "JAX_COMPILATION_CACHE_DIR"
# Even the small programs at the start of a run take longer to compile than to read.
LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
CHECKED = ".checked"


def user_folder(environment: Mapping[str, str]) -> Path | None:
    """Returns the cache folder of commands that have no folder of their own, if there is one."""
    return cache.folder("compiled", environment)


def keep_compiled(folder: Path | None, environment: MutableMapping[str, str]) -> None:
    """Caches compiled programs in a folder, unless JAX's own variables are set.

    JAX executes the programs that it finds there, so a folder is only used if it belongs to this
    user and others cannot write to it. If it cannot be read or written, the run compiles without a
    cache.

    Args:
      folder: cache folder, created when the first program is compiled; None for no folder but that
        of JAX's variables.
      environment: `os.environ`; JAX must not have been imported yet.
    """
    if FOLDER not in environment and folder is not None and _is_own(folder):
        environment[FOLDER] = str(folder.absolute())
        environment.setdefault(LEAST_SECONDS, "0")
    if used := environment.get(FOLDER):
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
        _remove_truncated(Path(used))


def _is_own(folder: Path) -> bool:
    """Returns whether no other user can write to a folder."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH


def _remove_truncated(folder: Path) -> None:
    """Removes incomplete programs, which JAX would never replace.

    Only reads programs that are newer than the last check; a file stores its time.
    """
    note = folder / CHECKED
    try:
        last = note.stat().st_mtime_ns if note.exists() else 0
        new = [path for path in folder.glob("*-cache") if path.stat().st_mtime_ns >= last]
        if new:
            note.touch()
        for path in new:
            if not _is_whole(path):
                path.unlink()
    except OSError:  # the folder is read-only, or another run removed a file
        return


def _is_whole(path: Path) -> bool:
    """Returns whether a program is complete; unknown if it was compressed by zstandard."""
    content = path.read_bytes()
    if not content.startswith(b"\x78"):  # zlib, which JAX uses if zstandard is not installed
        return bool(content)
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True
