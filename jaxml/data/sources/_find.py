"""Finds the files of a split, and turns system errors into messages."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxml.errors import InputError


def find_files(directory: Path, names: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """Finds the files of a split, such as `train.csv` or `train-00000-of-00002.tar`.

    Args:
      directory: contains the files, or is the only one.
      names: names that the split may have; empty for every file.
      suffixes: allowed ends of the file names, with the dot.

    Returns:
      The paths in the order of their names.
    """
    if directory.is_file():
        return [] if names else [directory]
    with readable(directory):
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(tuple(suffixes)))
    split = re.compile(f"({'|'.join(names)})(?![0-9A-Za-z])") if names else re.compile("")
    return [path for path in paths if split.match(path.name)]


@contextlib.contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """Turns an OSError into an InputError that names the path."""
    try:
        yield
    except OSError as error:
        name = error.filename or path
        raise InputError(f"{name}: {error.strerror or error}") from None


def check_readable(path: Path) -> None:
    """Raises an InputError that says why a file cannot be opened, if it cannot."""
    with readable(path), path.open("rb"):
        pass
