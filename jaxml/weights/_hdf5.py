"""HDF5 files from untrusted sources: reads nothing outside the file and no more than it holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from jaxml.errors import InputError
from jaxml.weights._bfloat16 import BFLOAT16, widen

if TYPE_CHECKING:
    import h5py

_CORRUPT = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)


@contextmanager
def opened(source: Path | BinaryIO, path: Path) -> Iterator["h5py.File"]:
    """Opens an HDF5 file and converts errors of the body to InputError.

    Args:
      source: the file, or its content.
      path: path of the file, for messages.

    Raises:
      InputError: the file is truncated or corrupt, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(f"{path}: h5py must be installed to read it: pip install h5py") from None
    try:
        with h5py.File(source, "r") as file:
            yield file
    except InputError:
        raise
    except _CORRUPT as error:
        detail = repr(str(error))[1:-1][:200]
        raise InputError(f"{path}: truncated or corrupt HDF5 ({detail})") from None


def datasets(file: "h5py.File", path: Path) -> dict[str, "h5py.Dataset"]:
    """Returns all datasets by their path in the file.

    Raises:
      InputError: there are links, or one object has two paths. Keras writes neither, and they could
        lead out of the file or make it endless.
    """
    import h5py

    found: dict[str, h5py.Dataset] = {}
    seen: set[h5py.HLObject] = {file}
    pending: list[tuple[str, h5py.Group]] = [("", file)]
    while pending:
        prefix, group = pending.pop()
        for name in group:
            place = f"{prefix}{name}"
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise InputError(f"{path}: {place[:100]!r} is a link, which Keras never writes")
            item = group[name]
            if item in seen:
                raise InputError(f"{path}: {place[:100]!r} has two paths")
            seen.add(item)
            if isinstance(item, h5py.Dataset):
                found[place] = item
            elif isinstance(item, h5py.Group):
                pending.append((f"{place}/", item))
    return found


def array(dataset: "h5py.Dataset", path: Path) -> np.ndarray:
    """Reads a dataset; converts bfloat16, which Keras stores without its name, to float32.

    Raises:
      InputError: the dataset is not numeric or not stored completely in the file.
    """
    place = f"{path}: {str(dataset.name)[:100]!r}"
    dtype = dataset.dtype
    if dtype != "V2" and dtype.kind not in "fiub":
        raise InputError(f"{place} must be numeric, got dtype {str(dtype)[:50]}")
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{place} refers to another file")
    if dataset.id.get_storage_size() < dataset.nbytes:
        raise InputError(f"{place} is compressed or was never written")
    if dtype == "V2":
        return widen(np.asarray(dataset).view(BFLOAT16))
    return np.asarray(dataset, dtype.newbyteorder("="))
