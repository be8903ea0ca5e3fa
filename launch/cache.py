"""Where compiled programs are kept, so that the next run need not compile them again."""

import os
import stat
import warnings
import zlib
from collections.abc import Mapping, MutableMapping
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
# The small programs of a start take JAX longer to compile than to read, so all are kept.
LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
CHECKED = ".checked"


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
    if FOLDER not in environment and _is_own(folder):
        environment[FOLDER] = str(folder.absolute())
        environment.setdefault(LEAST_SECONDS, "0")
    if used := environment.get(FOLDER):
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
        _remove_truncated(Path(used))


def _is_own(folder: Path) -> bool:
    """Whether nobody else can put a program there."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH


def _remove_truncated(folder: Path) -> None:
    """Removes programs that a process could not write to their end: JAX would never replace them.

    Only those are read that are newer than the last time, which a file notes.
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
    except OSError:  # it cannot be written, or another run is at it
        return


def _is_whole(path: Path) -> bool:
    """Whether a program can be read to its end, as far as can be told without zstandard."""
    content = path.read_bytes()
    if not content.startswith(b"\x78"):  # of zlib, which JAX uses where there is no zstandard
        return bool(content)
    try:
        zlib.decompress(content)
    except zlib.error:
        return False
    return True
