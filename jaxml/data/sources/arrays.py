"""NumPy arrays, memory-mapped: `train.npz` with images and labels, or one `.npy` file of each.

The images are uint8 `[n, height, width]` or `[n, height, width, channels]`, the labels integers
`[n]`. An `.npz` file holds them under the names of the columns (see `table.Columns`), with or
without a plural s; `.npy` files are called `train_images.npy` and `train_labels.npy`.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxml.data.sources._find import check_readable, find_files, readable
from jaxml.data.sources.table import Columns, Records
from jaxml.errors import InputError, one_line

__all__ = ["list_examples", "read_array"]


def list_examples(directory: Path, names: Sequence[str], columns: Columns) -> Records | None:
    """Maps the arrays of a split into memory; a `table.Source`.

    Raises:
      InputError: an array is missing or damaged, or has another dtype or shape.
    """
    paths = find_files(directory, names, (".npz", ".npy"))
    if not paths:
        return None
    arrays = {name: array for path in paths for name, array in _map(path).items()}
    images, labels = (_column(arrays, column, paths[0]) for column in columns)
    where = paths[0]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(
            f"{where}: the images must be uint8 [n, height, width, channels], "
            f"got {images.dtype} {list(images.shape)}"
        )
    if labels.dtype.kind not in "iu" or labels.shape not in ((len(images),), (len(images), 1)):
        raise InputError(
            f"{where}: the labels must be {len(images)} integers, "
            f"got {labels.dtype} {list(labels.shape)}"
        )

    def read(index: int) -> np.ndarray:
        image = np.asarray(images[index])
        return image if image.ndim == 3 else image[..., None]

    example_names = [f"{where.name}[{index}]" for index in range(len(images))]
    return Records(example_names, labels.reshape(-1).astype(np.int64), read)


def read_array(path: Path, column: str) -> np.ndarray:
    """Maps the only array of a file, or the one with the name of a column, into memory.

    Raises:
      InputError: the file is damaged, or has no such array.
    """
    arrays = _map(path)
    return next(iter(arrays.values())) if len(arrays) == 1 else _column(arrays, column, path)


def _column(arrays: dict[str, np.ndarray], column: str, path: Path) -> np.ndarray:
    """Returns the array whose name is a column, or ends with it."""
    ends = (column, f"{column}s")
    found = [array for name, array in arrays.items() if name.endswith(ends)]
    if len(found) != 1:
        raise InputError(
            f"{path}: must have one array {column!r} or {column + 's'!r}, got {', '.join(arrays)}"
        )
    return found[0]


def _map(path: Path) -> dict[str, np.ndarray]:
    """Maps the arrays of a file; only the compressed arrays of an archive are read."""
    check_readable(path)
    try:
        with readable(path):
            if path.suffix == ".npy":
                return {path.stem: np.load(path, mmap_mode="r")}
            with zipfile.ZipFile(path) as archive:
                return {
                    member.filename.removesuffix(".npy"): _map_member(path, archive, member)
                    for member in archive.infolist()
                }
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        detail = one_line(error)
        raise InputError(f"{path}: must hold NumPy arrays of numbers ({detail})") from None


def _map_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        if member.compress_type != zipfile.ZIP_STORED:
            return np.lib.format.read_array(file, allow_pickle=False)
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(file)
        header = file.tell()
    if dtype.hasobject:
        raise ValueError("the dtype is object")
    with path.open("rb") as file:  # the local header has fields of its own length
        file.seek(member.header_offset + 26)
        name_length, extra_length = np.frombuffer(file.read(4), "<u2").tolist()
    start = member.header_offset + 30 + name_length + extra_length + header
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
