"""TFRecord shards of `tf.train.Example` with an encoded image and a label, without TensorFlow.

A record is the length of its data, a checksum of the length, the data, and a checksum of the data,
all little-endian. The checksum is a rotated CRC-32C plus a constant.

References:
  TensorFlow, `tensorflow/core/lib/io/record_writer.h`.
"""

import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jaxml.data._optional import require
from jaxml.data.sources import _example
from jaxml.data.sources._find import find_files, readable
from jaxml.data.sources._index import Index, create_index, index_shards, read_bytes
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError

__all__ = ["list_examples", "masked_checksum"]

_LENGTH = struct.Struct("<QI")  # and its checksum
_CHECKSUM = struct.Struct("<I")


def list_examples(directory: Path, names: Sequence[str], columns: Columns) -> Records | None:
    """Lists the examples of a split's shards `NAME*.tfrecord*`; a `table.Source`.

    Raises:
      InputError: a shard is cut short, a checksum is wrong, or a feature is missing.
    """
    shards = [p for p in find_files(directory, names, ("",)) if ".tfrecord" in p.name]
    build = partial(_build, columns=columns)
    read = partial(_read, columns=columns)
    return index_shards(shards, build, read, f"tfrecord {columns.image} {columns.label}")


def masked_checksum(content: bytes) -> int:
    """Returns the checksum that a TFRecord stores for its content."""
    checksum = require("google_crc32c", "google-crc32c").value(content)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) % 2**32


def _build(path: Path, *, columns: Columns) -> Index:
    rows = []
    with readable(path), path.open("rb") as file:
        while header := file.read(_LENGTH.size):
            where = f"{path}:{len(rows)}"
            if len(header) < _LENGTH.size:
                raise InputError(f"{where}: the record is cut short")
            size, checksum = _LENGTH.unpack(header)
            if masked_checksum(header[:8]) != checksum:
                raise InputError(f"{where}: the CRC of the record's length is wrong")
            offset = file.tell()
            record = _checked(file.read(size + _CHECKSUM.size), size, where)
            _, label = _example.image_and_label(record, columns, where)
            rows.append((str(len(rows)), label, offset, size))
    return create_index(rows)


def _read(path: Path, offset: int, size: int, *, columns: Columns) -> bytes:
    where = f"{path} at byte {offset}"
    record = _checked(read_bytes(path, offset, size + _CHECKSUM.size), size, where)
    return _example.image_and_label(record, columns, where)[0]


def _checked(content: bytes, size: int, where: str) -> bytes:
    """Separates the data of a record from its checksum, and compares them."""
    if len(content) < size + _CHECKSUM.size:
        raise InputError(f"{where}: the record is cut short")
    record = content[:size]
    if masked_checksum(record) != _CHECKSUM.unpack(content[size:])[0]:
        raise InputError(f"{where}: the CRC of the record is wrong")
    return record
