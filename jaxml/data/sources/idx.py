"""IDX files, gzipped or raw: MNIST, Fashion-MNIST, KMNIST, EMNIST and custom data sets.

An IDX file has two zero bytes, a byte for the type (8: unsigned byte), a byte for the number of
dimensions, each dimension as a big-endian 32-bit integer, and the values in C order.

References:
  LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

import contextlib
import gzip
import io
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from jaxml.data._dataset import Dataset, Split
from jaxml.errors import InputError
from jaxml.io import memory

__all__ = ["load", "read"]


def load(directory: Path) -> Dataset:
    """Loads a data set of four IDX files.

    Args:
      directory: contains `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
        `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each optionally with `.gz`. They may
        have a common prefix, as in `emnist-letters-train-images-idx3-ubyte.gz`, and `test` in place
        of `t10k`.

    Returns:
      Images `[n, height, width, 1]`; the number of classes is the largest label plus one.

    Raises:
      InputError: a file is missing, truncated or corrupt, or the files do not match.
    """
    paths = [
        _find(directory, names, kind, ndim)
        for names in (("train",), ("t10k", "test"))
        for kind, ndim in (("images", 3), ("labels", 1))
    ]
    if len({_prefix(path) for path in paths}) > 1:
        raise InputError(
            f"config.data.dir must contain the files of one data set, got {directory} with "
            f"{', '.join(path.name for path in paths)}"
        )
    train, test = _split(*paths[:2]), _split(*paths[2:])
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise InputError(
            f"config.data.dir must contain images of one size, got {directory} with "
            f"training images of {train.inputs.shape[1:3]} and "
            f"test images of {test.inputs.shape[1:3]} pixels"
        )
    num_classes = int(max(train.targets.max(), test.targets.max())) + 1
    return Dataset(train, test, num_classes)


def read(path: Path) -> np.ndarray:
    """Reads one IDX file of unsigned bytes.

    Args:
      path: a raw or gzipped file, which is detected from its content.

    Returns:
      A uint8 array of the shape in the header.

    Raises:
      InputError: the file cannot be read, has a wrong magic number or length, or does not fit in
        memory.
    """
    try:
        with path.open("rb") as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if gzipped else contextlib.nullcontext(raw) as file:
                shape = _read_header(path, file)
                return _read_values(path, file, shape)
    except EOFError:
        raise InputError(f"{path}: the gzip stream is cut short") from None
    except (OSError, zlib.error) as error:
        raise InputError(f"{path}: {error}") from None


def _read_header(path: Path, file: io.BufferedIOBase) -> tuple[int, ...]:
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08":
        raise InputError(
            f"{path}: must be an IDX file of unsigned bytes, which starts with 000008 and the "
            f"number of dimensions, got {start.hex()}"
        )
    ndim = start[3]
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise InputError(f"{path}: the header is cut short after {4 + len(sizes)} bytes")
    shape = struct.unpack(f">{ndim}I", sizes)
    if ndim > 64 or math.prod(filter(None, shape)) > 2**62:
        raise InputError(
            f"{path}: the {ndim} dimensions in the header exceed the limits of an array"
        )
    return shape


def _read_values(path: Path, file: io.BufferedIOBase, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    available = memory.available_on_host()
    if available is not None and count > available:
        raise InputError(
            f"{path}: must fit in the available memory of {memory.in_words(available)}, "
            f"got {memory.in_words(count)}"
        )
    content = file.read(count)
    surplus = 0
    while part := file.read(2**20):  # to the end of a gzip stream, where its checksum is
        surplus += len(part)
    if len(content) + surplus != count:
        raise InputError(
            f"{path}: must have {' x '.join(map(str, shape))} values as stated in its header, "
            f"got {len(content) + surplus}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _split(image_path: Path, label_path: Path) -> Split:
    images, labels = read(image_path), read(label_path)
    for path, array, ndim in ((image_path, images, 3), (label_path, labels, 1)):
        if array.ndim != ndim:
            raise InputError(f"{path}: must have {ndim} dimensions, got shape {array.shape}")
        if not array.size:
            what = "example" if not len(array) else "pixel"
            raise InputError(f"{path}: must have at least one {what}, got shape {array.shape}")
    if len(images) != len(labels):
        raise InputError(
            f"{label_path}: must have one label for each of the {len(images)} images in "
            f"{image_path.name}, got {len(labels)}"
        )
    return Split(images[..., None], labels.astype(np.int32))


def _find(directory: Path, names: tuple[str, ...], kind: str, ndim: int) -> Path:
    """Finds the file of a kind; a raw file is preferred to its gzipped version."""
    patterns = [f"{name}-{kind}{dash}idx{ndim}-ubyte" for name in names for dash in "-."]
    found = {
        path.name.removesuffix(".gz"): path
        for suffix in (".gz", "")
        for pattern in patterns
        for path in directory.glob(f"*{pattern}{suffix}")
        if path.is_file()
    }
    if len(found) > 1:
        raise InputError(
            f"config.data.dir must contain a single data set, got {directory} with "
            f"{', '.join(sorted(found))}"
        )
    for path in found.values():
        return path
    raise InputError(
        f"config.data.dir must contain {patterns[0]} or {patterns[0]}.gz, got {str(directory)!r}"
    )


def _prefix(path: Path) -> str:
    return re.split("train-|t10k-|test-", path.name)[0]
