"""PyTorch's `.pth` and `.pt` files, read without torch and without executing their pickles.

Since torch 1.6 a file is a zip archive: `NAME/data.pkl` pickles the tensors, each with its shape,
its strides and the key of a storage, and `NAME/data/KEY` are the storages. Older files are a
sequence of pickles followed by the storages. Both are read by `jaxml.io.unpickle`, which treats the
names in a pickle as text; `_torch_parts` interprets them.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.errors import InputError
from jaxml.io import unpickle
from jaxml.weights._archive import opened
from jaxml.weights._first_bytes import ZIP, first_bytes
from jaxml.weights._prefixes import SETTING, select, unknown
from jaxml.weights._torch_parts import TorchParts
from jaxml.weights._torch_types import NoArray, Reader, Storage, Tensor

PICKLE = b"\x80"  # first byte of a pickle
MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of an old file

# Names under which training scripts save the state dict.
ENTRIES = ("state_dict", "model_state_dict", "model")
_ORDERS = {b"little": "<", b"big": ">"}
_LONGEST_INTEGER = 10**18  # for integers as names


def read(path: Path, entry: str = "") -> dict[str, np.ndarray]:
    """Reads the state dict in a file that `torch.save` wrote.

    Args:
      path: a file of a state dict, or of a dict that contains at least one.
      entry: name of the state dict, or prefix of its names. Empty selects the only state dict, or
        the only one with a name in `ENTRIES`.

    Returns:
      The tensors by name, in the order of the file, read-only and possibly strided, without the
      prefixes of wrappers. They have the dtypes of the file except for those that NumPy lacks:
      bfloat16 and float8 become float32, complex32 becomes complex64.

    Raises:
      InputError: the file cannot be read, is truncated or corrupt, contains other objects than
        tensors, or does not have the state dict.
    """
    start = first_bytes(path)
    if start.startswith(ZIP):
        return _read_archive(path, entry)
    if start.startswith(PICKLE):
        return _read_legacy(path, entry)
    raise InputError(f"{path}: not a PyTorch file, it starts with {start[:4].hex()}")


def _state_dict(content: Any, entry: str, path: Path) -> dict[str, Tensor]:
    """Returns the state dict in unpickled content."""
    tensors = _choose(_decode_keys(content), entry, path)
    wrong = [key for key, value in tensors.items() if type(value) is not Tensor]
    if wrong or not tensors:
        problem = "there are no tensors"
        if wrong:
            value = tensors[wrong[0]]
            kind = value.kind if isinstance(value, NoArray) else "not a tensor"
            problem = f"{repr(wrong[0])[:100]} is {kind}"
        raise InputError(
            f"{path}: has no state dict, at the top level or as {', '.join(ENTRIES)}: {problem}"
        )
    return tensors


def _choose(content: dict[str, Any], entry: str, path: Path) -> dict[str, Any]:
    """Returns the dict that an entry selects; empty selects the only or the usual one."""
    inner = {name: _decode_keys(value) for name, value in content.items() if type(value) is dict}
    if entry in inner:
        return select(inner[entry], "", str(path))
    found = [name for name, tensors in inner.items() if _is_state_dict(tensors)]
    usual = [name for name in ENTRIES if name in inner]
    if len(usual) == 1:
        found = usual
    if len(found) == 1:
        content = inner[found[0]]
    elif found and not entry:
        raise InputError(
            f"{SETTING} must name one of the state dicts in {path}: "
            f"{', '.join(repr(name)[1:-1][:100] for name in found[:10])}"
        )
    elif found:
        raise unknown(entry, found, str(path))
    return select(content, entry, str(path))


def _is_state_dict(content: dict[str, Any]) -> bool:
    return bool(content) and all(type(value) is Tensor for value in content.values())


def _decode_keys(content: Any) -> dict[str, Any]:
    """Converts the keys of a dict to text; returns an empty dict for other content."""
    if type(content) is not dict:
        return {}
    return {_text(key): value for key, value in content.items()}


def _text(key: Any) -> str:
    if type(key) is bytes:
        return key.decode("latin1")
    if type(key) is int and abs(key) < _LONGEST_INTEGER:
        return str(key)
    return key if type(key) is str else f"a key of type {type(key).__name__}"


def _read_archive(path: Path, entry: str) -> dict[str, np.ndarray]:
    with opened(path) as archive:
        pickles = [name for name in archive.names if name.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise InputError(f"{path}: not a zip archive written by torch.save")
        root = pickles[0].removesuffix("data.pkl")
        order = b"little"
        if f"{root}byteorder" in archive.names:
            order = archive.read(f"{root}byteorder")
        if order not in _ORDERS:
            raise InputError(f"{path}: its byte order must be little or big")
        content = io.BytesIO(archive.read(pickles[0]))
        pickled = unpickle.load(content, TorchParts(), f"{path}: {pickles[0]}")
        tensors = _state_dict(pickled, entry, path)

        def storage(wanted: Storage) -> bytes:
            return _whole(archive.read(f"{root}data/{wanted.key}"), wanted, path)

        reader = Reader(storage, _ORDERS[order])
        return {name: reader.array(tensor) for name, tensor in tensors.items()}


def _read_legacy(path: Path, entry: str) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    file, parts = io.BytesIO(content), TorchParts()
    if unpickle.load(file, parts, str(path)) != MAGIC:
        raise InputError(f"{path}: not a pickle written by torch.save")
    version, _, value, keys = [unpickle.load(file, parts, str(path)) for _ in range(4)]
    if version != 1001:
        raise InputError(f"{path}: must have version 1001 of torch.save")
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise InputError(f"{path}: has no list of storages")
    places: dict[str, slice] = {}
    end = file.tell()
    for key in keys:
        start = end + 8  # after the number of elements
        storage = parts.storages.get(key)
        end = start + (storage.numel * storage.itemsize if storage else 0)
        places[key] = slice(start, end)

    def read(wanted: Storage) -> bytes:
        if wanted.key not in places:
            raise InputError(f"{path}: has no storage {wanted.key[:100]!r}")
        place = places[wanted.key]
        stated = int.from_bytes(content[place.start - 8 : place.start], "little")
        if stated != wanted.numel:
            raise InputError(
                f"{path}: the storage {wanted.key[:100]!r} must have {wanted.numel} numbers, "
                f"got {stated}"
            )
        return _whole(content[place], wanted, path)

    reader = Reader(read)  # always little-endian
    tensors = _state_dict(value, entry, path)
    return {name: reader.array(tensor) for name, tensor in tensors.items()}


def _whole(content: bytes, storage: Storage, path: Path) -> bytes:
    """Returns the bytes of a storage if their number is right."""
    needed = storage.numel * storage.itemsize
    if len(content) != needed:
        raise InputError(
            f"{path}: the storage {storage.key[:100]!r} must have {needed} bytes, "
            f"got {len(content)}"
        )
    return content
