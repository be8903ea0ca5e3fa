"""HDF5 files from others: nothing outside of the file is read, and no more than the file holds."""

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
    """An HDF5 file while it is entered; what goes wrong with it meanwhile is an InputError.

    Args:
      source: the file, or its content.
      path: the name of the file, for messages.

    Raises:
      InputError: the file is cut short or corrupt, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(f"{path}: is read by h5py, run: pip install h5py") from None
    try:
        with h5py.File(source, "r") as file:
            yield file
    except InputError:
        raise
    except _CORRUPT as error:
        detail = repr(str(error))[1:-1][:200]
        raise InputError(f"{path}: cut short or corrupt HDF5 ({detail})") from None


def datasets(file: "h5py.File", path: Path) -> dict[str, "h5py.Dataset"]:
    """All datasets by their place in the file.

    Raises:
      InputError: there are links, or one object stands in two places; Keras writes neither, and by
        them a small file could be endless, or lead out of it.
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
                raise InputError(f"{path}: {place[:100]!r} is a link, which no file of Keras has")
            item = group[name]
            if item in seen:
                raise InputError(f"{path}: {place[:100]!r} stands in two places")
            seen.add(item)
            if isinstance(item, h5py.Dataset):
                found[place] = item
            elif isinstance(item, h5py.Group):
                pending.append((f"{place}/", item))
    return found


def array(dataset: "h5py.Dataset", path: Path) -> np.ndarray:
    """The numbers of a dataset; bfloat16, which Keras leaves without a name, as float32.

    Raises:
      InputError: it is of no numbers, or they are not all there.
    """
    place = f"{path}: {str(dataset.name)[:100]!r}"
    dtype = dataset.dtype
    if dtype != "V2" and dtype.kind not in "fiub":
        raise InputError(f"{place} is of dtype {str(dtype)[:50]}, not of numbers")
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{place} leads to another file")
    if dataset.id.get_storage_size() < dataset.nbytes:
        raise InputError(f"{place} is compressed or was never written")
    if dtype == "V2":
        return widen(np.asarray(dataset).view(BFLOAT16))
    return np.asarray(dataset, dtype.newbyteorder("="))
