"""Parquet files with a column of images, as Hugging Face's `datasets` writes them.

An image is encoded bytes, or a struct whose field `bytes` holds them. Class names are taken from
the metadata of `datasets`. A row can only be read along with its row group, so random access is
slow unless all row groups of a set fit into the cache of a few; convert larger sets to tar shards.

References:
  Hugging Face, `datasets.Image` and `datasets.ClassLabel`.
"""

import functools
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.data._optional import require
from jaxml.data.sources._find import find_files
from jaxml.data.sources.lists import parse_labels
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError, one_line

__all__ = ["list_examples"]

_CACHED_GROUPS = 32


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
    labels = [str(v) for file in files for v in file.read([columns.label]).column(0).to_pylist()]
    groups = [(file, group) for file in files for group in range(file.num_row_groups)]
    ends = np.cumsum([file.metadata.row_group(group).num_rows for file, group in groups])

    lock = threading.Lock()

    @functools.lru_cache(maxsize=_CACHED_GROUPS)
    def images(number: int) -> Any:
        file, group = groups[number]
        return file.read_row_group(group, [columns.image]).column(0).combine_chunks()

    def read(index: int) -> bytes:
        number = int(np.searchsorted(ends, index, "right"))
        with lock:  # a file has one reader
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
    module = require("pyarrow.parquet", "pyarrow")
    try:
        file = module.ParquetFile(path, memory_map=True)
    except (OSError, ValueError) as error:
        detail = one_line(error, 200)
        raise InputError(f"{path}: must be a Parquet file ({detail})") from None
    known = file.schema_arrow.names
    for column in columns:
        if column not in known:
            raise InputError(f"{path}: must have a column {column!r}, got {', '.join(known)}")
    return file


def _class_names(file: Any, column: str) -> tuple[str, ...]:
    """Returns the class names in the metadata of a file, if there are any."""
    metadata = file.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()
