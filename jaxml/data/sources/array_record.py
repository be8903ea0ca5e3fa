"""ArrayRecord shards of `tf.train.Example` with an encoded image and a label.

ArrayRecord checks the CRC of every chunk that it reads. Files written with `group_size:1` are the
fastest at random access.

References:
  https://github.com/google/array_record
"""

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jaxml.data._optional import require
from jaxml.data.sources import _example
from jaxml.data.sources._find import find_files
from jaxml.data.sources._index import Index, create_index, index_shards
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError, one_line

__all__ = ["list_examples"]

_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"
_AT_ONCE = 256  # records


def list_examples(directory: Path, names: Sequence[str], columns: Columns) -> Records | None:
    """Lists the examples of a split's shards `NAME*.array_record*`; a `table.Source`.

    Raises:
      InputError: a shard is damaged, or a feature is missing.
    """
    shards = [
        path
        for path in find_files(directory, names, ("",))
        if ".array_record" in path.name or ".arrayrecord" in path.name
    ]
    readers: dict[Path, tuple[Any, threading.Lock]] = {}

    def read(path: Path, offset: int, size: int) -> bytes:
        del size
        if path not in readers:
            readers.setdefault(path, (_open(path, _RANDOM_ACCESS), threading.Lock()))
        reader, lock = readers[path]
        where = f"{path}:{offset}"
        with lock:
            (record,) = _read(reader, [offset], where)
        return _example.image_and_label(record, columns, where)[0]

    build = partial(_build, columns=columns)
    return index_shards(shards, build, read, f"array_record {columns.image} {columns.label}")


def _build(path: Path, *, columns: Columns) -> Index:
    reader = _open(path, "")
    rows = []
    count = reader.num_records()
    for start in range(0, count, _AT_ONCE):
        numbers = list(range(start, min(start + _AT_ONCE, count)))
        for number, record in zip(numbers, _read(reader, numbers, str(path)), strict=True):
            _, label = _example.image_and_label(record, columns, f"{path}:{number}")
            rows.append((str(number), label, number, len(record)))
    return create_index(rows)


def _open(path: Path, options: str) -> Any:
    module = require("array_record.python.array_record_module", "array-record")
    try:
        reader = module.ArrayRecordReader(str(path), options)
    except (RuntimeError, ValueError, IndexError) as error:
        raise _damaged(path, error) from None
    if not reader.ok():
        raise InputError(f"{path}: is cut short or corrupt (it does not end with an index)")
    return reader


def _read(reader: Any, numbers: list[int], where: str) -> list[bytes]:
    try:
        return reader.read(numbers)
    except (RuntimeError, ValueError, IndexError) as error:
        raise _damaged(where, error) from None


def _damaged(where: Path | str, error: Exception) -> InputError:
    detail = one_line(error, 200)
    return InputError(f"{where}: is cut short or corrupt ({detail})")
