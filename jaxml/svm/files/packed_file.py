"""Text files as they come: plain, or packed by gzip, bzip2 or xz."""

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from jaxml.errors import InputError
from jaxml.io import atomic

_UNPACK: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_PACK: dict[str, Callable[[io.BytesIO], Any]] = {
    # Without name and time, so that the same rows are the same bytes.
    ".gz": lambda file: gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0),
    ".bz2": partial(bz2.BZ2File, mode="wb"),
    ".xz": partial(lzma.LZMAFile, mode="wb"),
}
# Of a packed file a few bytes can promise any length.
LONGEST_LINE = 1 << 28
_BLOCK = 1 << 20


@contextlib.contextmanager
def open_packed(path: Path) -> Iterator[BufferedIOBase]:
    """Opens a file for reading, packed or not, by its first bytes and not by its name."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
        packed = [opener for magic, opener in _UNPACK.items() if start.startswith(magic)]
        with packed[0](path) if packed else path.open("rb") as file:
            yield file
    except EOFError:
        raise InputError(f"{path}: the packed file is cut short") from None
    except (OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def whole_lines(file: BufferedIOBase, path: Path, *, ended: bool = False) -> Iterator[bytes]:
    """The rest of a file in blocks of whole lines, each with its line break.

    Args:
      file: opened for reading.
      path: its name, for messages.
      ended: whether the last line must have a line break, without which it may be a part of one.
    """
    rest: list[bytes] = []
    while block := file.read(_BLOCK):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, block[:cut]])
            rest = []
        rest.append(block[cut:])
        if len(rest) * _BLOCK > LONGEST_LINE:
            raise InputError(f"{path}: a line of more than {LONGEST_LINE} bytes")
    if any(rest):
        if ended:
            raise InputError(f"{path}: is cut short, its last line has no line break")
        yield b"".join([*rest, b"\n"])


def write_packed(path: Path, pieces: Iterator[bytes]) -> None:
    """Writes a file at once, packed if its name ends in `.gz`, `.bz2` or `.xz`."""
    content = io.BytesIO()
    with contextlib.ExitStack() as stack:
        file: Any = content
        if path.suffix in _PACK:
            file = stack.enter_context(_PACK[path.suffix](content))
        for piece in pieces:
            file.write(piece)
    try:
        atomic.write(path, content.getvalue())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
