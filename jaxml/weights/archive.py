"""Zip archives from others, which are little larger in memory than the file on disk."""

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Self

from jaxml.errors import InputError

_CORRUPT = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(OverflowError, RuntimeError, ValueError),
)
_MOST_GROWTH = 4  # trained weights hardly compress
_LOCAL_HEADER = struct.Struct("<4s22x2H")  # its signature, the lengths of its name and extra field


class Archive:
    """The members of a zip archive while it is entered; nothing is extracted.

    Attributes:
      names: of the members.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file.

        Raises:
          InputError: it is no zip archive, or so well compressed that a few bytes could fill the
            memory.
        """
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except _CORRUPT as error:
            raise self._damage(error) from None
        members = self._archive.infolist()
        self.names = frozenset(member.filename for member in members)
        if sum(member.file_size for member in members) > _MOST_GROWTH * path.stat().st_size:
            self._archive.close()
            raise InputError(
                f"{path}: its members are more than {_MOST_GROWTH} times as large as the file, "
                "which no weights are"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._archive.close()

    def read(self, name: str) -> bytes:
        """Reads a whole member and checks its checksum where it has one.

        Raises:
          InputError: there is no such member, or it is damaged.
        """
        if name not in self.names:
            raise InputError(f"{self._path}: has no {name[:100]!r} in it")
        try:
            member = self._archive.getinfo(name)
            if member.CRC == 0 and member.compress_type == zipfile.ZIP_STORED:
                return self._read_unchecked(member)
            return self._archive.read(name)
        except _CORRUPT as error:
            raise self._damage(error) from None

    def _read_unchecked(self, member: zipfile.ZipInfo) -> bytes:
        """Reads a stored member without a checksum, as torch writes it if asked to."""
        with self._path.open("rb") as file:
            file.seek(member.header_offset)
            signature, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(sum(lengths), 1)
            content = file.read(member.file_size)
        if signature != b"PK\3\4" or len(content) != member.file_size:
            raise zipfile.BadZipFile(f"no whole member {member.filename[:100]!r}")
        return content

    def _damage(self, error: Exception) -> InputError:
        detail = repr(str(error))[1:-1][:200]
        return InputError(f"{self._path}: cut short or corrupt archive ({detail})")
