"""Lists of image files with labels: CSV and TSV with a header line, or one JSON object a line.

    image,label
    cats/1.jpg,cat

The paths are relative to the list. Labels that are all decimal integers are class numbers; other
labels are class names, numbered in alphabetical order.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.data.sources._find import find_files, readable
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError

__all__ = ["list_examples", "parse_labels", "paths"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = (*_DELIMITERS, ".jsonl")


def list_examples(directory: Path, names: Sequence[str], columns: Columns) -> Records | None:
    """Reads the list of a split; a `table.Source`.

    Raises:
      InputError: there are several lists, or one is not text or lacks a column.
    """
    lists = find_files(directory, names, _SUFFIXES)
    if not lists:
        return None
    if len(lists) > 1:
        raise InputError(
            f"config.data.dir must contain one list for each split, got {str(directory)!r} with "
            f"{', '.join(path.name for path in lists)}"
        )
    path = lists[0]
    images, labels = [], []
    for where, row in _rows(path):
        images.append(_value(row, columns.image, where))
        labels.append(_value(row, columns.label, where))

    def read(index: int) -> bytes:
        return (path.parent / images[index]).read_bytes()

    return Records(images, parse_labels(labels), read)


def paths(path: Path, column: str) -> Iterator[str]:
    """Yields the values of one column of a list.

    Raises:
      InputError: the list is not text, or lacks the column.
    """
    return (_value(row, column, where) for where, row in _rows(path))


def parse_labels(labels: Sequence[str]) -> np.ndarray:
    """Converts labels to integers if all are decimal integers.

    >>> parse_labels(["2", "10"]).tolist(), parse_labels(["2", "ten"]).tolist()
    ([2, 10], ['2', 'ten'])
    """
    if all(re.fullmatch("-?[0-9]{1,18}", label) for label in labels):
        return np.asarray([int(label) for label in labels], np.int64)
    return np.asarray(labels, str)


def _value(row: Mapping[str, Any], column: str, where: str) -> str:
    if row.get(column) in (None, ""):
        known = ", ".join(repr(name) for name in row if row[name] and name is not None)
        raise InputError(f"{where}: must have a value of {column!r}, got {known}")
    return str(row[column])


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the rows of a list, each with its location."""
    try:
        with readable(path), path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".jsonl":
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield f"{path}:{number}", _parse_object(line, f"{path}:{number}")
            else:
                reader = csv.DictReader(file, delimiter=_DELIMITERS[path.suffix])
                for row in reader:
                    yield f"{path}:{reader.line_num}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: must be a list in UTF-8 ({error})") from None


def _parse_object(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, Mapping):
        raise InputError(f"{where}: must be a JSON object")
    return row
