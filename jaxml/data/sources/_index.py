"""Indexes of the records in shards: built by reading a shard once, then cached.

`classes.json` next to the shards may hold the names of the classes, a JSON list in the order of
their numbers, such as a run and `python -m launch.convert` write it.

The cache is `jaxml/indexes` in `$XDG_CACHE_HOME` or `~/.cache`. An index is rebuilt when the size
or the modification time of its shard changes.
"""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxml.data.sources._find import check_readable, readable
from jaxml.data.sources.lists import parse_labels
from jaxml.data.sources.table import Content, Records
from jaxml.errors import InputError
from jaxml.io import atomic, cache

CLASSES = "classes.json"
_VERSION = 1


class Index(NamedTuple):
    """The examples of one shard.

    Attributes:
      names: names of the examples, unique in the shard.
      labels: class numbers or names, as text.
      offsets: position of each example in the shard, in bytes or records.
      sizes: number of bytes of each example.
    """

    names: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def create_index(rows: Sequence[tuple[str, str, int, int]]) -> Index:
    """Converts rows of name, label, offset and size to an index."""
    names, labels, offsets, sizes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Index(
        np.asarray(names, str),
        np.asarray(labels, str),
        np.asarray(offsets, np.int64),
        np.asarray(sizes, np.int64),
    )


def index_shards(
    shards: Sequence[Path],
    build: Callable[[Path], Index],
    read: Callable[[Path, int, int], Content],
    kind: str,
) -> Records | None:
    """Lists the examples of shards.

    Args:
      shards: the paths.
      build: indexes one shard.
      read: reads an example of a shard, given its offset and size.
      kind: the format and everything else that the index depends on.

    Returns:
      The examples, or None without shards.
    """
    if not shards:
        return None
    indexes = [_cached(path, build, kind) for path in shards]
    ends = np.cumsum([len(index.names) for index in indexes])

    def read_example(example: int) -> Content:
        shard = int(np.searchsorted(ends, example, "right"))
        index = indexes[shard]
        row = example - int(ends[shard]) + len(index.names)
        return read(shards[shard], int(index.offsets[row]), int(index.sizes[row]))

    return Records(
        [
            f"{path.name}:{name}"
            for path, index in zip(shards, indexes, strict=True)
            for name in index.names
        ],
        parse_labels([str(label) for index in indexes for label in index.labels]),
        read_example,
        class_names=_class_names(shards[0].parent / CLASSES),
        digest=" ".join(str(int(index.sizes.sum())) for index in indexes),
    )


def read_bytes(path: Path, offset: int, size: int) -> bytes:
    """Reads a part of a file."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)


def _class_names(path: Path) -> tuple[str, ...]:
    """Reads the names of the classes, if there is a file of them."""
    if not path.exists():
        return ()
    try:
        with readable(path):
            names = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: must be a JSON list of class names")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: must have each class name once")
    return tuple(names)


def _cached(path: Path, build: Callable[[Path], Index], kind: str) -> Index:
    check_readable(path)
    status = path.stat()
    # A shard that is checked before it is renamed has the index of its final name.
    place = path.resolve().with_name(path.name.removeprefix(atomic.PARTIAL))
    identity = (str(place), status.st_size, status.st_mtime_ns, kind, _VERSION)
    name = hashlib.sha256(repr(identity).encode()).hexdigest()
    folder = cache.folder("indexes")
    if folder is None:
        return _build(path, build)
    file = folder / f"{name}.npz"
    unusable = (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*unusable), np.load(file) as arrays:
        return Index(**arrays)
    index = _build(path, build)
    content = io.BytesIO()
    np.savez(content, **index._asdict())
    with contextlib.suppress(OSError):  # the cache only saves time
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write(file, content.getvalue())
    return index


def _build(path: Path, build: Callable[[Path], Index]) -> Index:
    index = build(path)
    if not len(index.names):
        raise InputError(f"{path}: must contain examples, got none")
    return index
