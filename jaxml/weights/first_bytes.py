"""How a file of weights begins."""

from pathlib import Path

from jaxml.errors import InputError

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file, at most 16; an InputError names a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
