"""Storages and tensors of torch, and their conversion to NumPy arrays.

Errors are ValueError; their messages describe the tensor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from jaxml.io.unpickle import Name, Opaque
from jaxml.weights._bfloat16 import BFLOAT16

# Limits tensors that repeat a few values with strides of 0, since copying a hostile one would
# exhaust the memory.
MOST_REPEATED = 2**26

# Dtypes that become float32 without loss, by their names in torch.
_WIDENED = {
    "bfloat16": BFLOAT16,
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
}
DTYPES = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64", "bool")},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16)},
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (32, 64)},
    **{name: np.dtype(name) for name in ("complex64", "complex128")},
    "complex32": np.dtype("u4"),  # two float16
    **_WIDENED,
}
# Packed or quantized dtypes, which cannot be converted.
OTHER_DTYPES = {
    *("float4_e2m1fn_x2", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"),
    *("qint8", "qint32", "quint8", "quint4x2", "quint2x4"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
}
# Dtypes of the storage classes.
STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "qint8",
    "QInt32": "qint32",
    "QUInt8": "quint8",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}


@dataclass(frozen=True)
class Storage:
    """Contiguous values that are stored elsewhere in the file, or a part of them.

    Attributes:
      dtype: name of the dtype in torch; uint8 if the dtype is that of the tensors.
      key: key of the storage in the file.
      numel: number of values in the whole storage.
      start: index of the first value of the part.
      size: number of values in the part.
    """

    dtype: str
    key: str
    numel: int
    start: int
    size: int

    @property
    def itemsize(self) -> int:
        """Number of bytes of a value."""
        return _itemsize(self.dtype)


@dataclass(frozen=True, eq=False)
class Tensor(Opaque):
    """View of a storage; the offset counts values of the tensor's dtype."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugated: bool = False
    negated: bool = False


class NoArray(Opaque):
    """Tensor that cannot be converted to an array.

    Attributes:
      kind: description for messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind


def make_tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: str = "") -> Tensor:
    """Creates a tensor after checking that it lies inside its storage."""
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise ValueError("a tensor without storage, shape or strides")
    numbers = (offset, *shape, *strides)
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise ValueError("a tensor with sizes, strides or offset outside [0, 2**48)")
    if len(shape) != len(strides) or len(shape) > 64:
        raise ValueError("a tensor with more than 64 dimensions, or not one stride for each")
    if math.prod(filter(None, shape)) >= 2**48:
        raise ValueError("a tensor of 2**48 values or more")
    dtype = dtype or storage.dtype
    start, rest = divmod(storage.start * storage.itemsize, _itemsize(dtype))
    held = storage.size * storage.itemsize // _itemsize(dtype)
    size = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if size and (last >= held or size > max(held, MOST_REPEATED)):
        raise ValueError(f"a tensor of shape {shape} beyond its storage of {held} values")
    if rest:
        raise ValueError("a tensor that starts inside a value")
    return Tensor(storage, dtype, start + offset, shape, strides)


def with_bits(tensor: Tensor, bits: Any) -> Tensor:
    """Marks a tensor whose values must be conjugated or negated when they are read."""
    if type(bits) is not dict or not bits.keys() <= {"conj", "neg"}:
        raise ValueError("a tensor with unknown bits")
    return replace(tensor, conjugated=bits.get("conj") is True, negated=bits.get("neg") is True)


class Reader:
    """Converts tensors to arrays; reads each storage once, even if several tensors share it."""

    def __init__(self, content: Callable[[Storage], bytes], order: str = "<") -> None:
        """Takes a function that returns the bytes of a storage, and their order, "<" or ">"."""
        self._content, self._order = content, order
        self._bytes: dict[str, bytes] = {}
        self._numbers: dict[tuple[Any, ...], np.ndarray] = {}

    def array(self, tensor: Tensor) -> np.ndarray:
        """Returns the values of a tensor, read-only and possibly strided."""
        key = tensor.storage.key, tensor.dtype, tensor.conjugated, tensor.negated
        if key not in self._numbers:
            self._numbers[key] = self._flat(tensor)
        numbers = self._numbers[key]
        strides = [stride * numbers.itemsize for stride in tensor.strides]
        start = numbers[tensor.offset :]
        return np.lib.stride_tricks.as_strided(start, tensor.shape, strides, writeable=False)

    def _flat(self, tensor: Tensor) -> np.ndarray:
        storage = tensor.storage
        if storage.key not in self._bytes:
            self._bytes[storage.key] = self._content(storage)
        content = self._bytes[storage.key]
        whole = len(content) - len(content) % _itemsize(tensor.dtype)
        numbers = _decode(np.frombuffer(content[:whole], np.uint8), tensor.dtype, self._order)
        if tensor.conjugated:
            numbers = np.conj(numbers)
        return np.negative(numbers) if tensor.negated else numbers


def dtype_of(name: Any) -> str:
    """Returns torch's name of an unpickled dtype."""
    known = DTYPES.keys() | OTHER_DTYPES
    dtype = name.text.removeprefix("torch ") if type(name) is Name else ""
    if dtype not in known:
        raise ValueError("an unknown dtype")
    return dtype


def _itemsize(dtype: str) -> int:
    if dtype in DTYPES:
        return DTYPES[dtype].itemsize
    return {"qint32": 4, "bits16": 2}.get(dtype, 1)


def _decode(content: np.ndarray, dtype: str, order: str) -> np.ndarray:
    """Converts bytes to values with a dtype of NumPy and native byte order."""
    if dtype == "complex32":
        halves = content.view(f"{order}f2")
        return halves.astype(np.float32).view(np.complex64)
    if dtype in _WIDENED:
        size = _WIDENED[dtype].itemsize
        whole = content.view(f"{order}u{size}").astype(f"u{size}", copy=False)
        return whole.view(_WIDENED[dtype]).astype(np.float32)
    numbers = content.view(DTYPES[dtype].newbyteorder(order))
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
