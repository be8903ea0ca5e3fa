"""Random-access tables of labelled images, and the numbering of their classes.

A source lists the examples of a split in a fixed order and reads any of them by its index, from
several threads. Data order, sharding and resuming are therefore the same for every source.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np

from jaxml.data.decode import Content
from jaxml.errors import InputError

__all__ = ["SPLITS", "Columns", "Example", "Records", "Source", "Table", "create_tables"]

# The names that files and folders of a split may have.
SPLITS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}


class Columns(NamedTuple):
    """Names of the columns, or features, that hold the image and its label."""

    image: str = "image"
    label: str = "label"


class Example(NamedTuple):
    """One example of a table.

    Attributes:
      content: an encoded image, or uint8 pixels `[height, width, channels]`.
      label: class number.
      name: name of the file or record, for messages.
    """

    content: Content
    label: int
    name: str


class Records(NamedTuple):
    """The examples of one split, as its files describe them.

    Attributes:
      names: unique names.
      labels: class numbers, or class names, `[n]`. Numbers are indices of `class_names`, if given.
      read: returns the content of the example with an index.
      class_names: names of the classes, if the files have them.
      digest: changes if the files change in a way that names and labels do not show.
    """

    names: Sequence[str]
    labels: np.ndarray
    read: Callable[[int], Content]
    class_names: tuple[str, ...] = ()
    digest: str = ""


class Source(Protocol):
    """A function that lists the examples of a split."""

    def __call__(
        self, directory: Path, names: Sequence[str], columns: Columns, /
    ) -> Records | None:
        """Lists the examples.

        Args:
          directory: the directory of the data set.
          names: names that the split may have; none for a set without splits.
          columns: the columns to read.

        Returns:
          The examples, or None if the directory has no such split.

        Raises:
          InputError: a file is damaged, or lacks a column.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Examples with class numbers, some of those that a source lists.

    Attributes:
      records: the examples that the source lists.
      labels: int32 class number of each of them.
      rows: the examples of the table, as indices of `records`.
    """

    records: Records
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        row = int(self.rows[index])
        return Example(self.records.read(row), int(self.labels[row]), self.records.names[row])

    def name(self, index: int) -> str:
        """Returns the name of an example without reading it."""
        return self.records.names[int(self.rows[index])]

    def digest(self) -> str:
        """Returns a digest of the names and labels, without reading the images."""
        digest = hashlib.sha256(self.records.digest.encode())
        digest.update("\n".join(map(self.name, range(len(self)))).encode())
        digest.update(self.labels[self.rows].tobytes())
        return digest.hexdigest()

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Splits the table at random within each class, into the rest and a fraction.

        The fraction of a class is rounded to whole examples, at least one if it has two or more.
        """
        held_out = []
        labels = self.labels[self.rows]
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            count = max(round(fraction * len(members)), 1) if len(members) > 1 else 0
            order = np.random.default_rng((seed, int(label))).permutation(members)
            held_out.append(order[: min(count, len(members) - 1)])
        chosen = np.zeros(len(self), bool)
        chosen[np.concatenate(held_out)] = True
        rest = dataclasses.replace(self, rows=self.rows[~chosen])
        return rest, dataclasses.replace(self, rows=self.rows[chosen])


def create_tables(
    source: Source, directory: Path, columns: Columns
) -> tuple[dict[str, Table], tuple[str, ...]]:
    """Lists the splits of a data set, and numbers its classes as in the training split.

    Args:
      source: lists the examples of a split.
      directory: the directory of the data set.
      columns: the columns to read.

    Returns:
      The tables by the name of the split, "train" and perhaps "val" and "test"; and the names of
      the classes, in the order of their numbers.

    Raises:
      InputError: there is no training split, fewer than two classes, or an evaluation split has a
        class that the training split lacks.
    """
    if not directory.exists():
        raise InputError(f"config.data.dir must be an existing path, got {str(directory)!r}")
    found = {split: source(directory, names, columns) for split, names in SPLITS.items()}
    splits = {split: records for split, records in found.items() if records is not None}
    if not splits and (records := source(directory, (), columns)) is not None:
        splits = {"train": records}
    if "train" not in splits:
        kinds = f"only {' and '.join(splits)}" if splits else "no examples of this kind"
        raise InputError(
            f"config.data.dir must contain a training split, got {str(directory)!r} with {kinds}"
        )
    for split, records in splits.items():
        if not len(records.names):
            raise InputError(
                f"config.data.dir must contain {split} examples, got {str(directory)!r} with none"
            )
    class_names = _class_names(splits["train"], directory)
    are_names = splits["train"].labels.dtype.kind != "i"
    tables = {}
    for split, records in splits.items():
        if are_names:  # those of another split may look like numbers
            records = records._replace(labels=_names(records))
        numbers = _number(records, class_names)
        tables[split] = Table(records, numbers, np.arange(len(records.names)))
    return tables, class_names


def _class_names(train: Records, directory: Path) -> tuple[str, ...]:
    if train.class_names:
        names = train.class_names
    elif train.labels.dtype.kind == "i":
        names = tuple(map(str, range(int(train.labels.max()) + 1)))
    else:
        names = tuple(map(str, np.unique(train.labels)))
    if len(names) < 2:
        raise InputError(
            f"config.data.dir must contain at least 2 classes, got {str(directory)!r} with "
            f"{', '.join(map(repr, names))}"
        )
    return names


def _names(records: Records) -> np.ndarray:
    """Returns the labels as class names."""
    labels, names = records.labels, records.class_names
    if labels.dtype.kind != "i" or not names:
        return labels.astype(str)
    known = (labels >= 0) & (labels < len(names))
    _check_known(known, records, f"in [0, {len(names)})")
    return np.asarray(names)[labels]


def _number(records: Records, class_names: tuple[str, ...]) -> np.ndarray:
    """Returns the class number of each example."""
    labels = _names(records) if records.class_names else records.labels
    if labels.dtype.kind == "i":
        known = (labels >= 0) & (labels < len(class_names))
        numbers = labels
        wanted = f"in [0, {len(class_names)})"
    else:
        table = {name: number for number, name in enumerate(class_names)}
        unique, inverse = np.unique(labels, return_inverse=True)
        numbers = np.asarray([table.get(str(name), -1) for name in unique], np.int32)[inverse]
        known = numbers >= 0
        wanted = f"one of the {len(class_names)} classes of the training split"
    _check_known(known, records, wanted)
    return numbers.astype(np.int32)


def _check_known(known: np.ndarray, records: Records, wanted: str) -> None:
    if not known.all():
        first = int(np.flatnonzero(~known)[0])
        raise InputError(
            f"{records.names[first]}: the label must be {wanted}, got {records.labels[first]} "
            f"({np.sum(~known)} of {len(known)} examples)"
        )
