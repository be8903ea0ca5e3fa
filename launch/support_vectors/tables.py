"""Labelled samples, with the name of their source for messages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm import files


@dataclass(frozen=True, eq=False)
class Table:
    """Labelled samples.

    Attributes:
      name: name of the source.
      x: `[n, features]`, dense or sparse.
      y: `[n]` labels or targets.
      zero_based: whether the first feature has index 0 in the file.
    """

    name: str
    x: Any
    y: np.ndarray
    zero_based: bool = False

    def __post_init__(self) -> None:
        values = self.x.data if sparse.issparse(self.x) else self.x
        for what, array in (("features", values), ("labels", self.y)):
            if not np.isfinite(array).all():
                raise InputError(f"{self.name}: {what} must be finite")

    def classes(self) -> np.ndarray:
        """Returns the labels as integers, of which at least two are different."""
        labels = self.y.astype(np.int64)
        if (other := self.y[labels != self.y]).size:
            raise InputError(
                f"{self.name}: classes must be integers, got {other[0]:g}; "
                f"use --loss=epsilon_insensitive for real targets"
            )
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"{self.name}: there must be at least two classes, got only {labels[0]}"
            )
        return labels


def read_tables(train: Path, test: Path | None) -> tuple[Table, Table | None]:
    """Reads a training set and a test set, which must not have more features."""
    table = read_table(train)
    features = table.x.shape[1]
    if not features:
        raise InputError(f"{train}: there must be at least one feature")
    if test is None:
        return table, None
    return table, read_table(test, num_features=features, zero_based=table.zero_based)


def read_table(
    path: Path, *, num_features: int | None = None, zero_based: bool | None = None
) -> Table:
    """Reads a file in libsvm's text format; see `jaxml.svm.files.read_examples`."""
    found = files.read_examples(path, num_features=num_features, zero_based=zero_based)
    return Table(str(path), found.x, found.labels, found.zero_based)
