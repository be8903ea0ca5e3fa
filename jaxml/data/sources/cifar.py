"""CIFAR-10 and CIFAR-100 as published: the python and the binary form, in a folder or a tarball.

An image is 3,072 bytes: 32x32 red, then green, then blue values. The binary form puts the label
(CIFAR-100: the coarse label and the label) before each image; the python form is a pickled dict.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxml.data._dataset import Dataset, Split
from jaxml.data.sources import _array_pickle
from jaxml.errors import InputError

IMAGE_BYTES = 3 * 32 * 32


class Layout(NamedTuple):
    """How one form of one set is published.

    Attributes:
      folder: name of the folder with the files.
      tarball: name of the tarball of that folder.
      train: the files of the training set, in order.
      test: the file of the test set.
      images: how many images each of these files has, by name.
      label_bytes: bytes before each image, of which the last is the label; 0 for the python form.
      label_key: key of the labels in the python form.
    """

    folder: str
    tarball: str
    train: tuple[str, ...]
    test: str
    images: Mapping[str, int]
    label_bytes: int
    label_key: bytes


def _layout(
    folder: str, train: tuple[str, ...], test: str, counts: tuple[int, int], **form: Any
) -> Layout:
    tarball = folder.replace("batches-py", "python").replace("batches-bin", "binary") + ".tar.gz"
    if "batches" not in folder:  # CIFAR-100's folder and tarball share a name
        tarball = f"{folder}.tar.gz"
    return Layout(
        folder, tarball, train, test, dict.fromkeys(train, counts[0]) | {test: counts[1]}, **form
    )


CIFAR10 = (
    _layout(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        (10_000, 10_000),
        label_bytes=0,
        label_key=b"labels",
    ),
    _layout(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        (10_000, 10_000),
        label_bytes=1,
        label_key=b"",
    ),
)
CIFAR100 = (
    _layout(
        "cifar-100-python",
        ("train",),
        "test",
        (50_000, 10_000),
        label_bytes=0,
        label_key=b"fine_labels",
    ),
    _layout(
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        (50_000, 10_000),
        label_bytes=2,
        label_key=b"",
    ),
)


def load_cifar10(directory: Path) -> Dataset:
    """Loads CIFAR-10: 50,000 training and 10,000 test images of 32x32x3 in 10 classes.

    Args:
      directory: holds the published folder or tarball of either form, or is that folder.

    Returns:
      The set, in the order of the files.

    Raises:
      InputError: a file is missing, truncated or corrupt.
    """
    return load(directory, CIFAR10, num_classes=10)


def load_cifar100(directory: Path) -> Dataset:
    """Loads CIFAR-100 with its 100 fine labels; otherwise as `load_cifar10`."""
    return load(directory, CIFAR100, num_classes=100)


def load(directory: Path, layouts: tuple[Layout, ...], *, num_classes: int) -> Dataset:
    """Loads the first of several layouts that is found in a folder.

    Raises:
      InputError: none is found, or a file is missing, truncated or corrupt.
    """
    for layout in layouts:
        for folder in (directory / layout.folder, directory):
            if (folder / layout.test).is_file() or (folder / layout.train[0]).is_file():
                return _parse(_read_folder(folder, layout), layout, num_classes)
        if (directory / layout.tarball).is_file():
            return _parse(_read_tarball(directory / layout.tarball, layout), layout, num_classes)
    wanted = ", ".join(name for layout in layouts for name in (f"{layout.folder}/", layout.tarball))
    raise InputError(f"config.data.dir: {str(directory)!r} has none of {wanted}")


def _read_folder(folder: Path, layout: Layout) -> dict[str, tuple[str, bytes]]:
    """Reads the files of a layout: name -> (where it was, content)."""
    contents = {}
    for name in layout.images:
        try:
            contents[name] = (str(folder / name), (folder / name).read_bytes())
        except OSError as error:
            raise InputError(f"{folder / name}: {error.strerror}") from None
    return contents


def _read_tarball(path: Path, layout: Layout) -> dict[str, tuple[str, bytes]]:
    """Reads the same out of a tarball, in memory: nothing is unpacked to disk."""
    contents = {}
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tarball:
            for member in tarball:
                name = Path(member.name).name
                # never a link, which can point anywhere
                file = tarball.extractfile(member) if member.isfile() else None
                if file is not None and name in layout.images:
                    contents[name] = (f"{path}: {name}", file.read())
            while stream.read(2**20):  # up to the checksum behind the end of the archive
                pass
    except (tarfile.TarError, EOFError, MemoryError, OSError, OverflowError, zlib.error) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{path}: the tarball is cut short or corrupt ({detail})") from None
    missing = [name for name in layout.images if name not in contents]
    if missing:
        raise InputError(f"{path}: has no {', '.join(missing)}")
    return contents


def _parse(contents: dict[str, tuple[str, bytes]], layout: Layout, num_classes: int) -> Dataset:
    parse = _parse_binary if layout.label_bytes else _parse_python
    splits = {}
    for name, (where, content) in contents.items():
        images, labels = parse(where, content, layout, layout.images[name])
        if labels.min() < 0 or labels.max() >= num_classes:
            raise InputError(
                f"{where}: labels in [0, {num_classes}), not in [{labels.min()}, {labels.max()}]"
            )
        # planes of red, green and blue -> one pixel after the other
        images = np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        splits[name] = Split(images, labels.astype(np.int32))
    parts = zip(*(splits[name] for name in layout.train), strict=True)
    train = Split(*(np.concatenate(arrays) for arrays in parts))
    return Dataset(train, splits[layout.test], num_classes)


def _parse_binary(
    where: str, content: bytes, layout: Layout, count: int
) -> tuple[np.ndarray, np.ndarray]:
    record = layout.label_bytes + IMAGE_BYTES
    if len(content) != count * record:
        raise InputError(
            f"{where}: {count} images of {record} bytes are {count * record} bytes, "
            f"it has {len(content)}"
        )
    records = np.frombuffer(content, np.uint8).reshape(count, record)
    return records[:, layout.label_bytes :], records[:, layout.label_bytes - 1]


def _parse_python(
    where: str, content: bytes, layout: Layout, count: int
) -> tuple[np.ndarray, np.ndarray]:
    batch = _array_pickle.loads(content, where)
    images = _entry(batch, b"data")
    labels = _entry(batch, layout.label_key)
    if not isinstance(images, np.ndarray) or not isinstance(labels, list | np.ndarray):
        raise InputError(
            f"{where}: not a CIFAR batch, a dict with an array 'data' "
            f"and a list or array '{layout.label_key.decode()}'"
        )
    if images.dtype != np.uint8:
        raise InputError(f"{where}: data of dtype uint8, not {images.dtype}")
    labels = labels.reshape(-1).tolist() if isinstance(labels, np.ndarray) else labels
    if images.shape != (count, IMAGE_BYTES) or len(labels) != count:
        raise InputError(
            f"{where}: data of shape ({count}, {IMAGE_BYTES}) and {count} labels, "
            f"not {images.shape} and {len(labels)}"
        )
    if not all(type(label) is int for label in labels):
        raise InputError(f"{where}: the labels must be integers")
    # However large a label is, it becomes one that fits and is refused.
    return images, np.asarray([min(max(label, -1), 2**31) for label in labels])


def _entry(batch: Any, key: bytes) -> Any:
    """An entry by a key in bytes, as published, or in text, as Python 3 pickles it anew."""
    if not isinstance(batch, dict):
        return None
    return batch[key] if key in batch else batch.get(key.decode())
