"""First bytes of a file, which identify its format."""

from pathlib import Path

from jaxml.errors import InputError

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"


def first_bytes(path: Path) -> bytes:
    """Returns at most 16 bytes; raises InputError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
