"""Writes the images of a table as tar or ArrayRecord shards, which can be read at random."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxml.data._optional import require
from jaxml.data.decode import Content, full_size
from jaxml.data.sources import SOURCES, _example
from jaxml.data.sources._index import CLASSES
from jaxml.data.sources.table import Columns
from jaxml.errors import InputError
from jaxml.io import atomic

__all__ = ["FORMATS", "Encoded", "encode", "write_class_names", "write_shard"]

_COLUMNS = Columns()


class Encoded(NamedTuple):
    """An encoded image with its label, a class number or name."""

    image: bytes
    label: str


def encode(content: Content, *, max_side: int | None = None, quality: int = 95) -> bytes:
    """Encodes an image, as a JPEG if it has to be reduced and as it is otherwise.

    Args:
      content: the image; pixels that need no reduction become a PNG.
      max_side: largest height and width of the result; None keeps the size.
      quality: quality of a JPEG, 1 to 100.

    Raises:
      DamagedError: the image cannot be decoded.
    """
    pillow = require("PIL.Image", "pillow")
    pixels = full_size(content)
    height, width = pixels.shape[:2]
    reduced = max_side is not None and max(height, width) > max_side
    if isinstance(content, bytes) and not reduced:
        return content
    image = pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    stream = io.BytesIO()
    if max_side is not None and reduced:
        scale = max_side / max(height, width)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image.resize(size, pillow.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
    else:
        image.save(stream, "PNG")
    return stream.getvalue()


def write_class_names(directory: Path, names: Sequence[str]) -> None:
    """Writes the file from which the sources of shards read the names of the classes.

    Args:
      directory: contains the shards.
      names: in the order of the class numbers, which are the labels in the shards.
    """
    content = json.dumps(list(names), indent=2, ensure_ascii=False) + "\n"
    atomic.write(directory / CLASSES, content.encode())


def write_shard(path: Path, examples: Sequence[Encoded]) -> None:
    """Writes a shard atomically, in the format that its suffix names, and reads it back.

    Raises:
      InputError: the shard cannot be written, or what is read differs.
    """
    partial = path.with_name(atomic.PARTIAL + path.name)
    try:
        FORMATS[path.suffix](partial, examples)
        _check(partial, examples)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        partial.unlink(missing_ok=True)


def _write_tar(path: Path, examples: Sequence[Encoded]) -> None:
    with tarfile.open(path, "w") as file:
        for number, example in enumerate(examples):
            for suffix, content in (
                (_suffix(example.image), example.image),
                ("cls", example.label.encode()),
            ):
                member = tarfile.TarInfo(f"{number:08d}.{suffix}")
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))


def _write_array_record(path: Path, examples: Sequence[Encoded]) -> None:
    module = require("array_record.python.array_record_module", "array-record")
    writer: Any = module.ArrayRecordWriter(str(path), "group_size:1")
    for image, label in examples:
        value = int(label) if label.isdecimal() else label.encode()
        writer.write(_example.serialize({_COLUMNS.image: [image], _COLUMNS.label: [value]}))
    writer.close()


FORMATS: Mapping[str, Callable[[Path, Sequence[Encoded]], None]] = {
    ".tar": _write_tar,
    ".array_record": _write_array_record,
}


def _suffix(image: bytes) -> str:
    """Returns the suffix of a file name by the first bytes of its content."""
    starts = {b"\xff\xd8": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"BM": "bmp", b"GIF": "gif"}
    return next((suffix for start, suffix in starts.items() if image.startswith(start)), "jpg")


def _check(path: Path, examples: Sequence[Encoded]) -> None:
    """Raises if a shard does not hold the examples."""
    records = SOURCES[path.suffix[1:]](path, (), _COLUMNS)
    assert records is not None
    same = np.array_equal(np.asarray(records.labels, str), [label for _, label in examples])
    if not same or any(records.read(i) != image for i, (image, _) in enumerate(examples)):
        raise InputError(f"{path}: must hold what was written, but differs when it is read back")
