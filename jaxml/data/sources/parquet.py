"""Parquet files with a column of images, as Hugging Face's `datasets` writes them.

An image is encoded bytes, or a struct whose field `bytes` holds them. Class names are taken from
the metadata of `datasets`. A row can only be read along with its row group, so the row groups that
were used last are kept, in at most a quarter of the available memory. Shuffled reading of a split
that is larger decompresses a row group for most images; convert such a set to tar shards.

References:
  Hugging Face, `datasets.Image` and `datasets.ClassLabel`.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.data._optional import require
from jaxml.data.sources._blocks import BlockCache
from jaxml.data.sources._find import check_readable, find_files
from jaxml.data.sources.lists import parse_labels
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError, one_line
from jaxml.io import memory

__all__ = ["list_examples"]

_LARGEST_CACHE = 0.25  # of the available memory
_DEFAULT_CACHE = 2**30  # bytes, where it is unknown


def list_examples(directory: Path, names: Sequence[str], columns: Columns) -> Records | None:
    """Lists the rows of a split's files `NAME*.parquet`; a `table.Source`.

    Args:
      directory: contains the files, or a folder `data` that does.
      names: names that the split may have.
      columns: names of the columns.

    Raises:
      InputError: a file is damaged or lacks a column.
    """
    folder = directory / "data" if (directory / "data").is_dir() else directory
    paths = find_files(folder, names, (".parquet",))
    if not paths:
        return None
    files = [_open(path, columns) for path in paths]
    labels: list[str] = []
    for path, file in zip(paths, files, strict=True):
        with _parquet_errors(path):
            labels += map(str, file.read([columns.label]).column(0).to_pylist())
    groups = [
        (path, file.metadata, group)
        for path, file in zip(paths, files, strict=True)
        for group in range(file.num_row_groups)
    ]
    ends = np.cumsum([metadata.row_group(group).num_rows for _, metadata, group in groups])

    def read_group(number: int) -> Any:
        path, metadata, group = groups[number]
        with _parquet_errors(path):
            reader = _reader(path, metadata)  # of this thread alone
            found = reader.read_row_group(group, [columns.image], use_threads=False)
        return found.column(0).combine_chunks()

    available = memory.available_on_host()
    most_bytes = _DEFAULT_CACHE if available is None else int(_LARGEST_CACHE * available)
    images = BlockCache(read_group, most_bytes)

    def read(index: int) -> bytes:
        number = int(np.searchsorted(ends, index, "right"))
        group = images(number)
        value = group[index - int(ends[number])].as_py()  # counted from the end of the group
        return (value["bytes"] if isinstance(value, dict) else value) or b""

    example_names = [
        f"{path.name}:{row}"
        for path, file in zip(paths, files, strict=True)
        for row in range(file.metadata.num_rows)
    ]
    class_names = _class_names(files[0], columns.label)
    return Records(example_names, parse_labels(labels), read, class_names)


def _open(path: Path, columns: Columns) -> Any:
    check_readable(path)
    with _parquet_errors(path):
        file = _reader(path)
    known = file.schema_arrow.names
    for column in columns:
        if column not in known:
            raise InputError(f"{path}: must have a column {column!r}, got {', '.join(known)}")
    return file


@contextlib.contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    """Turns the errors of pyarrow into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:
        detail = one_line(error, 200)
        raise InputError(f"{path}: must be an intact Parquet file ({detail})") from None


def _reader(path: Path, metadata: Any = None) -> Any:
    module = require("pyarrow.parquet", "pyarrow")
    return module.ParquetFile(path, metadata=metadata, memory_map=True)


def _class_names(file: Any, column: str) -> tuple[str, ...]:
    """Returns the class names in the metadata of a file, if there are any."""
    metadata = file.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()
