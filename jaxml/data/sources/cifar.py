"""CIFAR-10 and CIFAR-100 as published, in the python and the binary form, in a folder or a tarball.

An image is 3,072 bytes: 32x32 red, then green, then blue values. The binary form puts the label
(CIFAR-100: the coarse and the fine label) before each image. A file of the python form is a pickled
dict.

References:
  Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
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
from jaxml.errors import InputError, one_line

__all__ = ["CIFAR10", "CIFAR100", "Layout", "load", "load_cifar10", "load_cifar100"]

_IMAGE_BYTES = 3 * 32 * 32


class Layout(NamedTuple):
    """The files of one form of a data set.

    Attributes:
      folder: name of the folder with the files.
      tarball: name of the tarball of that folder.
      train: names of the training files, in order.
      test: name of the test file.
      images: number of images in each file, by name.
      label_bytes: number of label bytes before each image, the last of which is the label; 0 in
        the python form.
      label_key: key of the labels in the python form.
    """

    folder: str
    tarball: str
    train: tuple[str, ...]
    test: str
    images: Mapping[str, int]
    label_bytes: int = 0
    label_key: bytes = b""


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_BINARY_BATCHES = tuple(f"{name}.bin" for name in _BATCHES)
CIFAR10 = (
    Layout(
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        train=_BATCHES,
        test="test_batch",
        images=dict.fromkeys([*_BATCHES, "test_batch"], 10_000),
        label_key=b"labels",
    ),
    Layout(
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
        train=_BINARY_BATCHES,
        test="test_batch.bin",
        images=dict.fromkeys([*_BINARY_BATCHES, "test_batch.bin"], 10_000),
        label_bytes=1,
    ),
)
CIFAR100 = (
    Layout(
        "cifar-100-python",
        "cifar-100-python.tar.gz",
        train=("train",),
        test="test",
        images={"train": 50_000, "test": 10_000},
        label_key=b"fine_labels",
    ),
    Layout(
        "cifar-100-binary",
        "cifar-100-binary.tar.gz",
        train=("train.bin",),
        test="test.bin",
        images={"train.bin": 50_000, "test.bin": 10_000},
        label_bytes=2,
    ),
)

# Names of the classes in the order of their labels, as in the published files of metadata.
_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
CIFAR10_CLASSES = tuple(_CIFAR10_CLASSES.split())
CIFAR100_CLASSES = tuple(_CIFAR100_CLASSES.split())


def load_cifar10(directory: Path) -> Dataset:
    """Loads CIFAR-10: 50,000 training and 10,000 test images of 32x32x3 in 10 classes.

    Args:
      directory: contains the published folder or tarball of either form, or is that folder.

    Raises:
      InputError: a file is missing, truncated or corrupt.
    """
    return load(directory, CIFAR10, CIFAR10_CLASSES)


def load_cifar100(directory: Path) -> Dataset:
    """Loads CIFAR-100 with its 100 fine labels; see `load_cifar10`."""
    return load(directory, CIFAR100, CIFAR100_CLASSES)


def load(directory: Path, layouts: tuple[Layout, ...], class_names: tuple[str, ...]) -> Dataset:
    """Loads the first of several layouts that a directory contains.

    Raises:
      InputError: there is none, or a file is missing, truncated or corrupt.
    """
    for layout in layouts:
        for folder in (directory / layout.folder, directory):
            if (folder / layout.test).is_file() or (folder / layout.train[0]).is_file():
                return _parse(_read_folder(folder, layout), layout, class_names)
        if (directory / layout.tarball).is_file():
            return _parse(_read_tarball(directory / layout.tarball, layout), layout, class_names)
    wanted = ", ".join(name for layout in layouts for name in (f"{layout.folder}/", layout.tarball))
    raise InputError(f"config.data.dir must contain one of {wanted}, got {str(directory)!r}")


def _read_folder(folder: Path, layout: Layout) -> dict[str, tuple[str, bytes]]:
    """Reads the files of a layout from a folder: name -> (location, content)."""
    contents = {}
    for name in layout.images:
        try:
            contents[name] = (str(folder / name), (folder / name).read_bytes())
        except OSError as error:
            raise InputError(f"{folder / name}: {error.strerror}") from None
    return contents


def _read_tarball(path: Path, layout: Layout) -> dict[str, tuple[str, bytes]]:
    """Reads the files of a layout from a tarball, in memory: name -> (location, content)."""
    contents = {}
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tarball:
            for member in tarball:
                name = Path(member.name).name
                # Links are ignored: they can point anywhere.
                file = tarball.extractfile(member) if member.isfile() else None
                if file is not None and name in layout.images:
                    contents[name] = (f"{path}: {name}", file.read())
            while stream.read(2**20):  # to the end of the gzip stream, where its checksum is
                pass
    except (tarfile.TarError, EOFError, MemoryError, OSError, OverflowError, zlib.error) as error:
        detail = one_line(error)
        raise InputError(f"{path}: the tarball is cut short or corrupt ({detail})") from None
    missing = [name for name in layout.images if name not in contents]
    if missing:
        raise InputError(f"{path}: must contain {', '.join(missing)}")
    return contents


def _parse(
    contents: dict[str, tuple[str, bytes]], layout: Layout, class_names: tuple[str, ...]
) -> Dataset:
    num_classes = len(class_names)
    parse = _parse_binary if layout.label_bytes else _parse_python
    splits = {}
    for name, (where, content) in contents.items():
        images, labels = parse(where, content, layout, layout.images[name])
        if labels.min() < 0 or labels.max() >= num_classes:
            raise InputError(
                f"{where}: labels must be in [0, {num_classes}), "
                f"got a range of [{labels.min()}, {labels.max()}]"
            )
        # from channels first to channels last
        images = np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        splits[name] = Split(images, labels.astype(np.int32))
    parts = zip(*(splits[name] for name in layout.train), strict=True)
    train = Split(*(np.concatenate(arrays) for arrays in parts))
    return Dataset(train, splits[layout.test], num_classes, class_names=class_names)


def _parse_binary(
    where: str, content: bytes, layout: Layout, count: int
) -> tuple[np.ndarray, np.ndarray]:
    record = layout.label_bytes + _IMAGE_BYTES
    if len(content) != count * record:
        raise InputError(
            f"{where}: must have {count * record} bytes ({count} images of {record} bytes), "
            f"got {len(content)}"
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
            f"{where}: must be a CIFAR batch, a dict with an array 'data' "
            f"and a list or array '{layout.label_key.decode()}'"
        )
    if images.dtype != np.uint8:
        raise InputError(f"{where}: 'data' must have dtype uint8, got {images.dtype}")
    labels = labels.reshape(-1).tolist() if isinstance(labels, np.ndarray) else labels
    if images.shape != (count, _IMAGE_BYTES) or len(labels) != count:
        raise InputError(
            f"{where}: must have data of shape ({count}, {_IMAGE_BYTES}) and {count} labels, "
            f"got {images.shape} and {len(labels)}"
        )
    if not all(type(label) is int for label in labels):
        raise InputError(f"{where}: the labels must be integers")
    # Labels beyond 64 bits are clipped to values that are out of range as well.
    return images, np.asarray([min(max(label, -1), 2**31) for label in labels])


def _entry(batch: Any, key: bytes) -> Any:
    """Returns the entry of a key: bytes as published, or text as Python 3 pickles it."""
    if not isinstance(batch, dict):
        return None
    return batch[key] if key in batch else batch.get(key.decode())
