"""Files that a launcher writes at its end."""

from pathlib import Path

from jaxml.errors import InputError
from jaxml.io import atomic


def check_output(flag: str, path: Path | None) -> None:
    """Raises `InputError` if a file cannot be written, before time is spent on its content."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        problem = "is a folder" if path.is_dir() else "its folder does not exist"
        raise InputError(f"{flag}: {path}: {problem}")


def check_new(flag: str, path: Path, *, overwrite: bool) -> None:
    """Raises `InputError` if a file cannot be written, or exists and must not be replaced."""
    check_output(flag, path)
    if path.exists() and not overwrite:
        raise InputError(f"{flag}: {path}: exists; --overwrite replaces it")


def write_text(path: Path, text: str) -> None:
    """Writes a file atomically; raises `InputError` and leaves an existing one if that fails."""
    try:
        atomic.write(path, text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
