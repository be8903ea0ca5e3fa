"""PyTorch's `.pth` and `.pt` files, read without torch and without running what is pickled in them.

Since torch 1.6 such a file is a zip archive: `NAME/data.pkl` pickles the tensors, each by its
shape, its strides and the key of a storage, and the storages are `NAME/data/KEY`. Before, it was a
row of pickles with the storages after them. In both, the pickle is read by `jaxml.unpickle`, to
which the names of torch are nothing but text.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxml import unpickle
from jaxml.errors import InputError
from jaxml.weights.archive import Archive
from jaxml.weights.bfloat16 import BFLOAT16, widen
from jaxml.weights.first_bytes import ZIP, first_bytes

PICKLE = b"\x80"  # how a pickle begins
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an old file

# Where training scripts keep the state dict, beside the epoch, the optimiser's state, ...
ENTRIES = ("state_dict", "model_state_dict", "model", "model_ema", "state_dict_ema")

_DTYPES = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": BFLOAT16,
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
    "torch BoolStorage": np.dtype("?"),
}


@dataclass(frozen=True)
class _Storage:
    """Numbers in a row, which are elsewhere in the file."""

    kind: str
    key: str
    numel: int

    @property
    def nbytes(self) -> int:
        return self.numel * _DTYPES[self.kind].itemsize


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, inside of it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the state dict in a file that `torch.save` wrote.

    Args:
      path: a state dict, or a dict that holds one under one of `ENTRIES`.

    Returns:
      The tensors by name, in the order of the file, read-only and perhaps strided; in the dtypes of
      the file but for bfloat16, which NumPy lacks and which becomes float32. The prefix `module.`
      of `DataParallel` and of averaged models is taken away.

    Raises:
      InputError: the file cannot be read, is cut short or corrupt, names anything but tensors,
        holds a tensor that does not fit its storage, or not exactly one state dict.

    Source: what `torch.load(path, weights_only=True)` reads, less what is no state dict.
    """
    start = first_bytes(path)
    if start.startswith(ZIP):
        return _read_archive(path)
    if start.startswith(PICKLE):
        return _read_legacy(path)
    raise InputError(f"{path}: no PyTorch file, it starts with {start[:4].hex()}")


class _Parts(unpickle.Parts):
    """What torch makes a tensor with."""

    kind = "a state dict of tensors"
    names = frozenset(
        {
            *("collections OrderedDict", "torch Size"),
            *("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"),
            *("torch._utils _rebuild_parameter", *_DTYPES),
        }
    )

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        match name, arguments:
            case "collections OrderedDict", ():
                return {}
            case "torch Size", (tuple() as sizes,):
                return sizes
            case "torch._utils _rebuild_parameter", (_Tensor() as tensor, _, _):
                return tensor
            case "torch._utils _rebuild_tensor", (storage, offset, shape, strides):
                return _tensor(storage, offset, shape, strides)
            case "torch._utils _rebuild_tensor_v2", (storage, offset, shape, strides, _, _):
                return _tensor(storage, offset, shape, strides)
        raise ValueError(f"{name.replace(' ', '.', 1)} of what it is never given")

    def build(self, target: Any, state: Any) -> None:
        # Of a state dict it is `_metadata`, the versions of the layers.
        if type(target) is not dict or type(state) is not dict:
            raise ValueError("a state for no dict")

    def refer(self, key: Any) -> Any:
        match key:
            case ("storage", unpickle.Name(kind), str() as name, str(), int() as numel, *rest):
                storage = _Storage(kind, name, numel)
                if kind not in _DTYPES or not 0 <= numel < 2**48 or rest not in ([], [None]):
                    raise ValueError("a storage of an unknown kind or size, or a part of one")
                if self.storages.setdefault(name, storage) != storage:
                    raise ValueError("a storage of two kinds or sizes")
                return storage
        raise ValueError("a reference to something that is no storage")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    """A tensor, once it is sure that it lies in its storage."""
    if type(storage) is not _Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise ValueError("a tensor without storage, shape or strides")
    numbers = (offset, *shape, *strides)
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise ValueError("a tensor of negative, immense or no integer sizes, strides or offset")
    if len(shape) != len(strides) or len(shape) > 64:
        raise ValueError("a tensor of more than 64 dimensions, or not as many strides")
    if math.prod(filter(None, shape)) >= 2**48:
        raise ValueError("a tensor of immense sizes")
    size = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if size and (last >= storage.numel or size > storage.numel):
        raise ValueError(f"a tensor of shape {shape} beyond its storage of {storage.numel} numbers")
    return _Tensor(storage, offset, shape, strides)


def _state_dict(content: Any, path: Path) -> dict[str, _Tensor]:
    """The state dict in what was pickled."""
    content = _decode_keys(content)
    entries = [name for name in ENTRIES if type(content.get(name)) is dict]
    if len(entries) > 1:
        raise InputError(
            f"{path}: holds more than one state dict, {', '.join(entries)}: save one of them alone"
        )
    tensors = _decode_keys(content[entries[0]]) if entries else content
    wrong = [key for key, value in tensors.items() if type(value) is not _Tensor]
    if wrong or not tensors:
        what = f"{repr(wrong[0])[:100]} is no tensor" if wrong else "there are no tensors"
        raise InputError(
            f"{path}: holds no state dict, alone or as one of {', '.join(ENTRIES)}: {what}"
        )
    return _strip_prefix(tensors)


def _decode_keys(content: Any) -> dict[str, Any]:
    """A dict with text for keys, also where Python 2 wrote it; what is no dict has none."""
    if type(content) is not dict:
        return {}
    return {
        key.decode("latin1") if type(key) is bytes else str(key): content[key] for key in content
    }


def _strip_prefix(tensors: dict[str, _Tensor]) -> dict[str, _Tensor]:
    names = [name for name in tensors if name != "n_averaged"]  # the counter of an averaged model
    if not all(name.startswith("module.") for name in names):
        return tensors
    return {name.removeprefix("module."): tensors[name] for name in names}


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    with Archive(path) as archive:
        pickles = [name for name in archive.names if name.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise InputError(f"{path}: a zip archive that torch.save did not write")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.names and archive.read(f"{root}byteorder") != b"little":
            raise InputError(f"{path}: its numbers are not little-endian")
        content = io.BytesIO(archive.read(pickles[0]))
        tensors = _state_dict(unpickle.load(content, _Parts(), f"{path}: {pickles[0]}"), path)
        return _arrays(tensors, lambda key: archive.read(f"{root}data/{key}"), path)


def _read_legacy(path: Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    file, parts = io.BytesIO(content), _Parts()
    if unpickle.load(file, parts, str(path)) != MAGIC:
        raise InputError(f"{path}: a pickle that torch.save did not write")
    version, system, value, keys = [unpickle.load(file, parts, str(path)) for _ in range(4)]
    if version != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InputError(f"{path}: not version 1001 of torch.save, or not little-endian")
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise InputError(f"{path}: has no list of storages")
    places: dict[str, slice] = {}
    end = file.tell()
    for key in keys:
        start = end + 8  # behind the number of elements, which the pickle says too
        end = start + (parts.storages[key].nbytes if key in parts.storages else 0)
        places[key] = slice(start, end)

    def storage(key: str) -> bytes:
        if key not in places:
            raise InputError(f"{path}: has no storage {key[:100]!r} in it")
        return content[places[key]]

    return _arrays(_state_dict(value, path), storage, path)


def _arrays(
    tensors: dict[str, _Tensor], content: Callable[[str], bytes], path: Path
) -> dict[str, np.ndarray]:
    """The arrays of tensors, whose storages are read once however many share them."""
    numbers: dict[str, np.ndarray] = {}
    for storage in {tensor.storage for tensor in tensors.values()}:
        read = content(storage.key)
        if len(read) != storage.nbytes:
            raise InputError(
                f"{path}: {storage.nbytes} bytes of the storage {storage.key[:100]!r} are needed, "
                f"it holds {len(read)}"
            )
        numbers[storage.key] = widen(np.frombuffer(read, _DTYPES[storage.kind]))
    return {name: _view(tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    start = numbers[tensor.offset :]
    return np.lib.stride_tricks.as_strided(start, tensor.shape, strides, writeable=False)
