"""Zip archives from others, in which nothing is larger in memory than the file on disk."""

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


class Archive:
    """The members of a zip archive while it is entered; nothing is extracted.

    Attributes:
      names: of the members.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file.

        Raises:
          InputError: it is no zip archive, or a compressed one, of which a few bytes could fill the
            memory.
        """
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except _CORRUPT as error:
            raise self._damage(error) from None
        members = self._archive.infolist()
        self.names = frozenset(member.filename for member in members)
        if sum(member.file_size for member in members) > path.stat().st_size:
            self._archive.close()
            raise InputError(f"{path}: its members are compressed, which no such file's are")

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
        """A whole member, whose checksum is right; an InputError where it is none or damaged."""
        if name not in self.names:
            raise InputError(f"{self._path}: has no {name[:100]!r} in it")
        try:
            return self._archive.read(name)
        except _CORRUPT as error:
            raise self._damage(error) from None

    def _damage(self, error: Exception) -> InputError:
        detail = repr(str(error))[1:-1][:200]
        return InputError(f"{self._path}: cut short or corrupt archive ({detail})")
