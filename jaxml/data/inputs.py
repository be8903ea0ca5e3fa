"""Inputs without labels: an image, a folder, a list or an array, read one after the other.

A `--input` is one of

- a file with an image, or a folder with images in it and in the folders below it;
- a list: `.csv`, `.tsv` or `.jsonl` with a column of paths (see `sources.lists`), or `.txt` with a
  path a line, relative to the list;
- an array: `.npy` or `.npz` with uint8 images `[n, height, width]` or
  `[n, height, width, channels]`, or with features `[n, features]`.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxml.data import decode
from jaxml.data._optional import require
from jaxml.data.sources import arrays, folder, lists
from jaxml.data.sources._find import readable
from jaxml.errors import InputError

__all__ = ["Input", "list_inputs", "of_array", "prepare"]


class Input(NamedTuple):
    """One example without a label.

    Attributes:
      name: path relative to the folder or list, or position in the array.
      read: returns an encoded image, uint8 pixels `[height, width, channels]`, or features.
    """

    name: str
    read: Callable[[], decode.Content]


def list_inputs(path: Path | str, *, column: str = "image") -> Iterator[Input]:
    """Lists the inputs at a path in a fixed order; folders and lists are read as needed.

    Args:
      path: see above.
      column: column of a list that holds the paths.

    Raises:
      InputError: there is no such path, or it has no inputs.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"--input={path}: no such file or folder")
    if path.is_dir():
        found, kind = _in_folder(path), f"images ({', '.join(folder.SUFFIXES)})"
    elif path.suffix in (".npy", ".npz"):
        found, kind = of_array(arrays.read_array(path, column), name=path.name), "examples"
    elif path.suffix in (".csv", ".tsv", ".jsonl", ".txt"):
        found, kind = _in_list(path, column), "paths"
    else:
        found, kind = iter([Input(path.name, path.read_bytes)]), "an image"
    first = next(found, None)
    if first is None:
        raise InputError(f"--input={path}: must contain {kind}, got none")
    return itertools.chain([first], found)


def of_array(array: np.ndarray, *, name: str = "") -> Iterator[Input]:
    """Yields the examples of an array; a memory-mapped one is read as needed.

    Args:
      array: uint8 images `[n, height, width]` or `[n, height, width, channels]`, or features
        `[n, features]`.
      name: start of the names of the examples.

    Raises:
      InputError: the array has another shape or dtype.

    Example:
      >>> [one.name for one in of_array(np.zeros((2, 8, 8), np.uint8))]
      ['[0]', '[1]']
    """
    images = array.ndim in (3, 4) and array.dtype == np.uint8
    if not images and not (array.ndim == 2 and array.dtype.kind in "iuf"):
        raise InputError(
            f"{name or 'the inputs'}: must be uint8 images [n, height, width, channels] or "
            f"features [n, features], got {array.dtype} {list(array.shape)}"
        )

    def read(index: int) -> np.ndarray:
        one = np.asarray(array[index])
        return one[..., None] if one.ndim == 2 else one

    return (Input(f"{name}[{i}]", lambda i=i: read(i)) for i in range(len(array)))


def prepare(
    content: decode.Content, shape: tuple[int, ...], *, center_fraction: float = 1.0
) -> np.ndarray:
    """Converts an input to the shape that a network takes, as in the evaluation of its run.

    Args:
      content: see `Input.read`.
      shape: `(height, width, channels)` for images, `(features,)` otherwise.
      center_fraction: see `decode.center_crop`.

    Returns:
      A uint8 image or float32 features. Images become greyscale for 1 channel, by the weights of
      `PIL.Image.Image.convert("L")`, and greyscale images are repeated for 3 channels.

    Raises:
      DamagedError: the image cannot be decoded, or the shapes do not fit.

    Example:
      >>> prepare(np.zeros((16, 20, 3), np.uint8), (8, 8, 1)).shape
      (8, 8, 1)
    """
    if len(shape) == 1:
        if not isinstance(content, np.ndarray) or content.shape != shape:
            got = content.shape if isinstance(content, np.ndarray) else "an image"
            raise decode.DamagedError(f"the network takes {shape[0]} features, got {got}")
        return content.astype(np.float32)
    if isinstance(content, np.ndarray) and content.ndim != 3:
        raise decode.DamagedError(f"the network takes images, got {len(content)} features")
    image = decode.center_crop(content, (shape[0], shape[1]), fraction=center_fraction)
    if image.shape[2] == shape[2]:
        return image
    if (image.shape[2], shape[2]) == (3, 1):
        return np.asarray(require("PIL.Image", "pillow").fromarray(image).convert("L"))[..., None]
    if image.shape[2] == 1:
        return np.repeat(image, shape[2], axis=2)
    raise decode.DamagedError(f"the network takes {shape[2]} channels, got {image.shape[2]}")


def _in_folder(path: Path) -> Iterator[Input]:
    for name in folder.images(path):
        file = Path(name)
        yield Input(str(file.relative_to(path)), file.read_bytes)


def _in_list(path: Path, column: str) -> Iterator[Input]:
    if path.suffix == ".txt":
        try:
            with readable(path), path.open(encoding="utf-8-sig") as file:
                names = (line.strip() for line in file)
                yield from (_relative(path, name) for name in names if name)
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: must be a list in UTF-8 ({error})") from None
    else:
        yield from (_relative(path, name) for name in lists.paths(path, column))


def _relative(path: Path, name: str) -> Input:
    return Input(name, (path.parent / name).read_bytes)
