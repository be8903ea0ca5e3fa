"""Text of numbers and of sparse rows, and headers of model files: lines of a key and its values."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files._compression import LONGEST_LINE
from jaxml.svm.files._parser import is_finite

_INTEGER = re.compile(r"[+-]?\d{1,15}")


@dataclass(frozen=True)
class Header:
    """The line number and the values of each key, and the number of the line after the header."""

    path: Path
    fields: dict[str, tuple[int, list[str]]]
    line: int

    def word(self, key: str, allowed: Collection[str]) -> str:
        """Returns the word of a key."""
        return self._values(key, 1, f"one of {', '.join(allowed)}", lambda word: word in allowed)[0]

    def integers(self, key: str, count: int) -> np.ndarray:
        """Returns the `[count]` integers of a key."""
        return np.array(self._values(key, count, "an integer", _INTEGER.fullmatch), np.int64)

    def real(self, key: str) -> float:
        """Returns the finite number of a key."""
        return float(self.reals(key, 1)[0])

    def reals(self, key: str, count: int) -> np.ndarray:
        """Returns the `[count]` finite numbers of a key, in float64."""
        found = self._values(key, count, "a finite number", lambda word: is_finite(word.encode()))
        return np.array(found, np.float64)

    def size(self, key: str, least: int = 0) -> int:
        """Returns the integer of a key that counts something."""
        value = int(self.integers(key, 1)[0])
        if value < least:
            self.reject(key, f"must be >= {least}, got {value}")
        return value

    def classes(self, kind: str, *, is_classifier: bool) -> tuple[int, np.ndarray | None]:
        """Returns the number of classes, 2 if there are none, and the labels of a classifier."""
        count = self.size("nr_class", least=1)
        if is_classifier:
            return count, self.integers("label", count)
        if count != 2:
            self.reject("nr_class", f"must be 2 for {kind}, got {count}")
        return count, None

    def reject(self, key: str, problem: str) -> NoReturn:
        """Raises an `InputError` for the line of a key."""
        raise InputError(f"{self.path}, line {self.fields[key][0]}: {key} {problem}")

    def _values(self, key: str, count: int, rule: str, is_valid: Callable[[str], Any]) -> list[str]:
        if key not in self.fields:
            raise InputError(f"{self.path}: {key} is missing before line {self.line}")
        values = self.fields[key][1]
        if len(values) != count:
            self.reject(key, f"must have {count} value{'s' * (count != 1)}, got {len(values)}")
        for value in values:
            if not is_valid(value):
                self.reject(key, f"must be {rule}, got {value!r:.50}")
        return values


def read_header(file: BufferedIOBase, path: Path, keys: Collection[str], end: str) -> Header:
    """Reads a file from its start to the line `end`, with the allowed keys in any order."""
    fields: dict[str, tuple[int, list[str]]] = {}
    for line, content in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), 1):
        key, *values = content.decode("ascii", "backslashreplace").split() or [""]
        if key == end and not values:
            return Header(path, fields, line + 1)
        if key and key not in keys:
            raise InputError(
                f"{path}, line {line}: key must be one of {', '.join([*keys, end])}, "
                f"got {key!r:.50}"
            )
        if key in fields:
            raise InputError(f"{path}, line {line}: duplicate key {key!r}")
        if key:
            fields[key] = (line, values)
    raise InputError(f"{path}: the file ends before the line {end!r}")


def format_header(fields: Iterable[tuple[str, Any]], end: str) -> bytes:
    """Formats words and numbers as a header, without the keys whose value is None."""
    lines = [
        " ".join([key, *([value] if isinstance(value, str) else shortest(np.atleast_1d(value)))])
        for key, value in fields
        if value is not None
    ]
    return "\n".join([*lines, end, ""]).encode()


def shortest(values: np.ndarray) -> list[str]:
    """Formats each number of an array in the fewest digits that identify it in its dtype.

    >>> shortest(np.array([0.1, 2.0, 1e300])), shortest(np.array([0.1], np.float32))
    (['0.1', '2', '1e+300'], ['0.1'])
    """
    if not np.isfinite(values).all():
        raise ValueError("numbers in a file must be finite")
    different, places = np.unique(values.view(f"u{values.itemsize}"), return_inverse=True)
    numbers = different.view(values.dtype)
    # repr is faster than NumPy, but only supports float64.
    texts = map(repr, numbers.tolist()) if values.itemsize == 8 else numbers.astype(str).tolist()
    texts = [text.removesuffix(".0") for text in texts]
    return [texts[place] for place in places.tolist()]


def join_columns(columns: np.ndarray) -> list[str]:
    """Formats a matrix, given its columns, as one string for each row."""
    return [" ".join(row) for row in zip(*map(shortest, columns), strict=True)]


def format_rows(heads: Sequence[str], x: sparse.csr_array, first_index: int) -> bytes:
    """Formats lines of a head and the `index:value` pairs of the stored entries of `x`."""
    indices = (x.indices.astype(np.int64) + first_index).tolist()
    entries = [f" {i}:{value}" for i, value in zip(indices, shortest(x.data), strict=True)]
    ends: list[int] = np.asarray(x.indptr).tolist()
    rows = zip(heads, ends[:-1], ends[1:], strict=True)
    return "".join(f"{head}{''.join(entries[a:b])}\n" for head, a, b in rows).encode()
