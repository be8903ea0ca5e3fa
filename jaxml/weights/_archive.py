"""Zip archives from untrusted sources, read in memory with bounded decompression."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxml.errors import InputError

_CORRUPT = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(OverflowError, RuntimeError, ValueError),
)
_MAX_RATIO = 4  # Trained weights hardly compress.
_LOCAL_HEADER = struct.Struct("<4s22x2H")  # signature, lengths of the name and the extra field


class Archive:
    """Members of an open archive.

    Attributes:
      names: names of the members.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self._path, self._file = path, file
        self.names = frozenset(file.namelist())

    def read(self, name: str) -> bytes:
        """Reads a member and verifies its checksum if it has one.

        Raises:
          InputError: there is no such member, or it is corrupt.
        """
        if name not in self.names:
            raise InputError(f"{self._path}: has no member {name[:100]!r}")
        try:
            member = self._file.getinfo(name)
            if member.CRC == 0 and member.compress_type == zipfile.ZIP_STORED:
                return self._read_unchecked(member)
            return self._file.read(name)
        except _CORRUPT as error:
            raise _corrupt(self._path, error) from None

    def _read_unchecked(self, member: zipfile.ZipInfo) -> bytes:
        """Reads a stored member without a checksum, which torch can be asked to write."""
        with self._path.open("rb") as file:
            file.seek(member.header_offset)
            signature, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(sum(lengths), 1)
            content = file.read(member.file_size)
        if signature != b"PK\3\4" or len(content) != member.file_size:
            raise zipfile.BadZipFile(f"member {member.filename[:100]!r} is incomplete")
        return content


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Opens an archive without extracting anything.

    Raises:
      InputError: the file is not a zip archive, or decompresses to many times its size.
    """
    try:
        file = zipfile.ZipFile(path)
    except _CORRUPT as error:
        raise _corrupt(path, error) from None
    with file:
        if sum(info.file_size for info in file.infolist()) > _MAX_RATIO * path.stat().st_size:
            raise InputError(
                f"{path}: its members must be at most {_MAX_RATIO} times as large as the file"
            )
        yield Archive(path, file)


def _corrupt(path: Path, error: Exception) -> InputError:
    detail = repr(str(error))[1:-1][:200]
    return InputError(f"{path}: truncated or corrupt archive ({detail})")
