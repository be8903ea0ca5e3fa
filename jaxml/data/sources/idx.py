"""IDX files, gzipped or raw: MNIST, Fashion-MNIST, KMNIST, EMNIST and any set of one's own.

An IDX file is two zero bytes, a byte for the type (8: unsigned byte), a byte for the number of
dimensions, each dimension as a big-endian 32-bit integer, then the values in C order.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
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


def load(directory: Path) -> Dataset:
    """Loads `train-images-idx3-ubyte` and its three siblings, each with or without `.gz`.

    Args:
      directory: holds one such set. A prefix before `train` or `t10k` is allowed, as EMNIST has it
        (`emnist-letters-train-images-idx3-ubyte.gz`), and so is `test` for `t10k`.

    Returns:
      Images `[n, height, width, 1]`; as many classes as the largest label needs.

    Raises:
      InputError: a file is missing, truncated, corrupt, or does not fit its sibling.
    """
    paths = [
        _find(directory, names, kind, ndim)
        for names in (("train",), ("t10k", "test"))
        for kind, ndim in (("images", 3), ("labels", 1))
    ]
    if len({_prefix(path) for path in paths}) > 1:
        raise InputError(
            f"config.data.dir: {directory} holds files of different sets: "
            f"{', '.join(path.name for path in paths)}"
        )
    train, test = _split(*paths[:2]), _split(*paths[2:])
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise InputError(
            f"config.data.dir: {directory} holds training images of {train.inputs.shape[1:3]} and "
            f"test images of {test.inputs.shape[1:3]} pixels, they must be of one size"
        )
    num_classes = int(max(train.targets.max(), test.targets.max())) + 1
    return Dataset(train, test, num_classes)


def read(path: Path) -> np.ndarray:
    """Reads one IDX file of unsigned bytes.

    Args:
      path: a raw file, or a gzipped one whatever its name.

    Returns:
      A uint8 array of the shape that the header gives.

    Raises:
      InputError: the file cannot be read, its magic number or length is wrong, or it does not fit
        in memory.
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
            f"{path}: not an IDX file of unsigned bytes, it starts with {start.hex()} "
            "instead of 000008 and the number of dimensions"
        )
    ndim = start[3]
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise InputError(f"{path}: ends inside its header, after {4 + len(sizes)} bytes")
    shape = struct.unpack(f">{ndim}I", sizes)
    if ndim > 64 or math.prod(filter(None, shape)) > 2**62:
        raise InputError(f"{path}: no array has the {ndim} dimensions of its header")
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
    while part := file.read(2**20):  # up to the checksum of a gzip stream
        surplus += len(part)
    if len(content) + surplus != count:
        raise InputError(
            f"{path}: its header promises {' x '.join(map(str, shape))} bytes, "
            f"it holds {len(content) + surplus}"
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
            f"{label_path}: {len(labels)} labels for the {len(images)} images of {image_path.name}"
        )
    return Split(images[..., None], labels.astype(np.int32))


def _find(directory: Path, names: tuple[str, ...], kind: str, ndim: int) -> Path:
    """Finds the one file of a kind; a raw file goes before its gzipped twin."""
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
            f"config.data.dir: {directory} holds more than one set: {', '.join(sorted(found))}"
        )
    for path in found.values():
        return path
    raise InputError(
        f"config.data.dir: {str(directory)!r} has no {patterns[0]} or {patterns[0]}.gz"
    )


def _prefix(path: Path) -> str:
    return re.split("train-|t10k-|test-", path.name)[0]
