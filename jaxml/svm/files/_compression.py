"""Text files that may be compressed by gzip, bzip2 or xz."""

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from jaxml.errors import InputError
from jaxml.io import atomic

_READERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_WRITERS: dict[str, Callable[[io.BytesIO], Any]] = {
    # Without name and time, equal contents are equal bytes.
    ".gz": lambda file: gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0),
    ".bz2": partial(bz2.BZ2File, mode="wb"),
    ".xz": partial(lzma.LZMAFile, mode="wb"),
}
# A few compressed bytes can expand to a line of any length.
LONGEST_LINE = 1 << 28
_BLOCK = 1 << 20


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BufferedIOBase]:
    """Opens a file for reading; its first bytes say whether it is compressed."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
        found = [reader for magic, reader in _READERS.items() if start.startswith(magic)]
        with found[0](path) if found else path.open("rb") as file:
            yield file
    except EOFError:
        raise InputError(f"{path}: the compressed file is truncated") from None
    except (OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def whole_lines(file: BufferedIOBase, path: Path, *, ended: bool = False) -> Iterator[bytes]:
    """Reads the rest of a file in blocks of whole lines with their line breaks.

    Args:
      file: file opened for reading.
      path: its name, for messages.
      ended: whether the last line must have a line break, without which it may be truncated.
    """
    rest: list[bytes] = []
    while block := file.read(_BLOCK):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, block[:cut]])
            rest = []
        rest.append(block[cut:])
        if len(rest) * _BLOCK > LONGEST_LINE:
            raise InputError(f"{path}: lines must have at most {LONGEST_LINE} bytes")
    if any(rest):
        if ended:
            raise InputError(f"{path}: the file is truncated, its last line has no line break")
        yield b"".join([*rest, b"\n"])


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file atomically; its suffix says whether it is compressed."""
    content = io.BytesIO()
    with contextlib.ExitStack() as stack:
        file: Any = content
        if path.suffix in _WRITERS:
            file = stack.enter_context(_WRITERS[path.suffix](content))
        for piece in pieces:
            file.write(piece)
    try:
        atomic.write(path, content.getvalue())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
