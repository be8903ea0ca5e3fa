"""Tar shards in the WebDataset layout.

The members of an example are consecutive and have the same path up to the first dot of the file
name: `0001.jpg` and `0001.cls`, or `0001.png` and `0001.json`. A `.cls` member holds a class number
or name as text, a `.json` member an object with the label column.

References:
  Aizman, Maltby and Breuel, "High performance I/O for large scale deep learning", 2019.
"""

import json
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jaxml.data.sources import folder
from jaxml.data.sources._find import find_files
from jaxml.data.sources._index import Index, create_index, index_shards, read_bytes
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError, one_line

__all__ = ["list_examples"]

_LABEL_SUFFIXES = (".cls", ".json")


def list_examples(directory: Path, names: Sequence[str], columns: Columns) -> Records | None:
    """Lists the examples of a split's shards `NAME*.tar`; a `table.Source`.

    Raises:
      InputError: a shard is compressed, cut short, or has duplicate or incomplete examples.
    """
    shards = find_files(directory, names, (".tar",))
    build = partial(_build, label_column=columns.label)
    return index_shards(shards, build, read_bytes, f"tar {columns.label}")


def _build(path: Path, *, label_column: str) -> Index:
    """Indexes one shard."""
    images: dict[str, tuple[str, int, int]] = {}  # by key: name, offset and size
    labels: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                parent, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key, suffix = f"{parent}/{stem}", f".{suffix.lower()}"
                if not member.isfile() or not suffix.endswith((*folder.SUFFIXES, *_LABEL_SUFFIXES)):
                    continue
                is_label = suffix.endswith(_LABEL_SUFFIXES)
                if key in (labels if is_label else images):
                    raise InputError(f"{path}: must have each example once, got two {member.name}")
                if is_label:
                    file = shard.extractfile(member)
                    content = file.read() if file else b""
                    labels[key] = _parse_label(f"{path}:{member.name}", content, label_column)
                else:
                    images[key] = (member.name, member.offset_data, member.size)
            _check_end(path, shard.offset)
    except (tarfile.TarError, EOFError, OSError) as error:
        detail = one_line(error)
        raise InputError(
            f"{path}: must be an uncompressed tar file, but is cut short or corrupt ({detail})"
        ) from None
    incomplete = labels.keys() ^ images.keys()
    if incomplete:
        key = min(incomplete)
        missing = "a label (.cls or .json)" if key in images else "an image"
        raise InputError(f"{path}: example {key.removeprefix('/')!r} must have {missing}")
    return create_index(
        [(name, labels[key], start, size) for key, (name, start, size) in images.items()]
    )


def _check_end(path: Path, offset: int) -> None:
    """Checks that the block of zeros at the end of the archive is there."""
    if read_bytes(path, offset, 512) != bytes(512):
        raise InputError(f"{path}: is cut short, its end-of-archive mark is missing")


def _parse_label(where: str, content: bytes, column: str) -> str:
    try:
        text = content.decode().strip()
        label = json.loads(text)[column] if where.endswith(".json") else text
    except KeyError:
        raise InputError(f"{where}: must have a key {column!r}") from None
    except (ValueError, TypeError):
        raise InputError(f"{where}: must be a label in UTF-8") from None
    return str(label)
