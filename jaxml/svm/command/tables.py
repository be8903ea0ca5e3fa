"""Examples that an experiment fits or predicts, and their name in messages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files import libsvm_format


@dataclass(frozen=True, eq=False)
class Table:
    """Labelled examples.

    Attributes:
      name: where they come from.
      x: `[n, features]`, dense or sparse.
      y: `[n]` labels or targets.
      zero_based: whether the first feature had the index 0 in a file.
    """

    name: str
    x: Any
    y: np.ndarray
    zero_based: bool = False

    def __post_init__(self) -> None:
        values = self.x.data if sparse.issparse(self.x) else self.x
        if not np.isfinite(values).all():
            raise InputError(f"{self.name}: features that are infinite or NaN")
        if not np.isfinite(self.y).all():
            raise InputError(f"{self.name}: labels that are infinite or NaN")

    def classes(self) -> np.ndarray:
        """The labels as integers.

        Raises:
          InputError: they are no integers, or all the same.
        """
        labels = self.y.astype(np.int64)
        if (other := self.y[labels != self.y]).size:
            raise InputError(
                f"{self.name}: the label {other[0]:g} is no integer, as a class is; "
                f"for real targets there is the loss epsilon_insensitive"
            )
        if len(np.unique(labels)) < 2:
            raise InputError(f"{self.name}: one class only, {labels[0]}; two or more are needed")
        return labels

    def part(self, rows: np.ndarray) -> "Table":
        """Some of the examples."""
        return Table(self.name, self.x[rows], self.y[rows])


def read_tables(train: Path, test: Path | None) -> tuple[Table, Table | None]:
    """Reads files in libsvm's text format.

    Args:
      train: the training set.
      test: the test set: features that it lacks are 0, and it has no others.

    Returns:
      The examples of both.

    Raises:
      InputError: a file cannot be read; the message names file and line.
    """
    examples = libsvm_format.read(train)
    x: Any = examples.x
    features = x.shape[1]
    if not features:
        raise InputError(f"{train}: no line has a feature")
    table = Table(str(train), x, examples.labels, examples.zero_based)
    if test is None:
        return table, None
    return table, read_table(test, num_features=features, zero_based=examples.zero_based)


def read_table(
    path: Path, *, num_features: int | None = None, zero_based: bool | None = None
) -> Table:
    """Reads a file in libsvm's text format, of which something may be known."""
    found = libsvm_format.read(path, num_features=num_features, zero_based=zero_based)
    return Table(str(path), found.x, found.labels, found.zero_based)
