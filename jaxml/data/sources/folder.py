"""Image folders: one folder of images for each class.

    photos/train/cat/1.jpg  photos/train/dog/a/2.png  photos/val/cat/3.webp

The folders of the classes may also be directly in `photos`, without `train`. The classes are
numbered in the order of their names. Files with other extensions are ignored.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxml.data.sources._find import readable
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError

__all__ = ["SUFFIXES", "images", "list_examples"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


def list_examples(directory: Path, names: Sequence[str], columns: Columns) -> Records | None:
    """Lists the images of a split in the order of class and path; a `table.Source`.

    Raises:
      InputError: a class folder has no image, cannot be read, or contains a loop of links.
    """
    del columns
    roots = [directory / name for name in names] if names else [directory]
    root = next((root for root in roots if root.is_dir()), None)
    if root is None:
        return None
    with readable(root):
        classes = sorted(entry.name for entry in _scan(root) if entry.is_dir())
    if names and not classes:
        raise InputError(f"{root}: must contain a folder for each class, got none")
    paths: list[str] = []
    labels: list[str] = []
    for name in classes:
        images = sorted(_images(str(root / name), ()))
        if not images:
            raise InputError(
                f"{root / name}: must contain images ({', '.join(SUFFIXES)}), got an empty class"
            )
        paths += images
        labels += [name] * len(images)
    start = len(str(directory)) if str(directory) != "." else 0

    def read(index: int) -> bytes:
        return Path(directory, example_names[index]).read_bytes()

    example_names = [path[start:].lstrip("/") for path in paths]
    return Records(example_names, np.asarray(labels), read, tuple(classes)) if classes else None


def images(folder: Path) -> Iterator[str]:
    """Yields the paths of the images in a folder and in the folders below it, each sorted.

    Raises:
      InputError: a folder cannot be read, or contains a loop of links.
    """
    return _images(str(folder), ())


def _images(folder: str, parents: tuple[str, ...]) -> Iterator[str]:
    """Yields the paths of the images in a folder and in the folders below it."""
    place = os.path.realpath(folder)
    if place in parents:
        raise InputError(f"{folder}: is a symbolic link to a folder that contains it")
    for entry in sorted(_scan(folder), key=lambda entry: entry.name):
        with readable(folder):  # a link to itself cannot be followed
            is_folder = entry.is_dir()
        if is_folder:
            yield from _images(entry.path, (*parents, place))
        elif entry.name.lower().endswith(SUFFIXES):
            yield entry.path


def _scan(folder: Path | str) -> list[os.DirEntry[str]]:
    """Returns the visible entries of a folder."""
    with readable(folder), os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]
