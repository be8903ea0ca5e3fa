"""The lines before the numbers in the model files of libsvm and liblinear: a key and its values."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import NoReturn

import numpy as np

from jaxml.errors import InputError
from jaxml.svm.files.libsvm_rows import is_finite
from jaxml.svm.files.packed_file import LONGEST_LINE

_INTEGER = re.compile(r"[+-]?\d{1,15}")


@dataclass(frozen=True)
class Header:
    """What a model file says before its rows.

    Attributes:
      path: the file, for messages.
      fields: the values of each key, and its line.
      line: the number of the line that follows.
    """

    path: Path
    fields: dict[str, tuple[int, list[str]]]
    line: int

    def word(self, key: str, allowed: Iterable[str]) -> str:
        """The one word of a key."""
        values = self._values(key, 1)
        if values[0] not in allowed:
            self.refuse(key, f"{values[0]!r:.50} is not one of {', '.join(allowed)}")
        return values[0]

    def integers(self, key: str, count: int) -> np.ndarray:
        """The integers of a key, int64 `[count]`."""
        values = self._values(key, count)
        for value in values:
            if not _INTEGER.fullmatch(value):
                self.refuse(key, f"{value!r:.50} is no integer")
        return np.array(values, np.int64)

    def reals(self, key: str, count: int) -> np.ndarray:
        """The numbers of a key, float64 `[count]`."""
        values = self._values(key, count)
        for value in values:
            if not is_finite(value.encode()):
                self.refuse(key, f"{value!r:.50} is no finite number")
        return np.array(values, np.float64)

    def size(self, key: str, least: int = 0) -> int:
        """The one integer of a key, which counts something."""
        value = int(self.integers(key, 1)[0])
        if value < least:
            self.refuse(key, f"{value} is below {least}")
        return value

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raises an InputError at the line of a key."""
        raise InputError(f"{self.path}, line {self.fields[key][0]}: {key}: {problem}")

    def _values(self, key: str, count: int) -> list[str]:
        if key not in self.fields:
            raise InputError(f"{self.path}: has no line {key!r} before line {self.line}")
        values = self.fields[key][1]
        if len(values) != count:
            self.refuse(key, f"{len(values)} values, it has to be {count}")
        return values


def read_header(file: BufferedIOBase, path: Path, keys: Collection[str], end: str) -> Header:
    """Reads up to the line that says `end`.

    Args:
      file: opened for reading, at its start.
      path: its name, for messages.
      keys: the keys that may stand there, in any order.
      end: the last line.

    Returns:
      The header; the file stands at the line after it.

    Raises:
      InputError: another key, the same one twice, or no end.
    """
    fields: dict[str, tuple[int, list[str]]] = {}
    for line, content in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), 1):
        key, *values = content.decode("ascii", "backslashreplace").split() or [""]
        if key == end and not values:
            return Header(path, fields, line + 1)
        if key and key not in keys:
            raise InputError(
                f"{path}, line {line}: {key!r:.50} is not one of {', '.join([*keys, end])}"
            )
        if key in fields:
            raise InputError(f"{path}, line {line}: a second {key!r}")
        if key:
            fields[key] = (line, values)
    raise InputError(f"{path}: ends before a line {end!r}")
