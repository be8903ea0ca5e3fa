"""Reads pickles of plain containers and integer arrays without running code from them."""

import io
import math
from typing import Any, Literal

import numpy as np

from jaxml.io import unpickle


class _Array:
    """A placeholder for an array, until the pickle gives its content."""

    array: np.ndarray | None = None


class _Dtype:
    """An integer dtype; the pickle may set its byte order later."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.order: Literal["<", ">"] = "<"

    def array(self, content: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
        """Returns the array with the given bytes; raises a ValueError for an invalid shape."""
        if type(content) not in (bytes, bytearray) or type(shape) is not tuple:
            raise ValueError("the content of an array must be bytes")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("the shape of an array must be a tuple of non-negative integers")
        dtype = np.dtype(self.name).newbyteorder(self.order)
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("the shape of an array must match its number of bytes")
        flat = np.frombuffer(bytes(content), dtype)
        return flat.reshape(shape, order=order).astype(dtype.newbyteorder("="), copy=False)


_CORES = ("numpy.core", "numpy._core")  # NumPy 1 and 2
_RECONSTRUCT = tuple(f"{core}.multiarray _reconstruct" for core in _CORES)
_FROM_BUFFER = tuple(f"{core}.numeric _frombuffer" for core in _CORES)  # protocol 5
_SCALAR = tuple(f"{core}.multiarray scalar" for core in _CORES)
_NDARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"
_ENCODE = "_codecs encode"  # bytes of Python 3 in old protocols
_BYTES = "__builtin__ bytes"  # the same, if empty
_INTEGERS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}


def loads(content: bytes, where: str) -> Any:
    """Reads a pickle of containers, numbers, byte strings and arrays of integers.

    Args:
      content: the pickle. Strings of Python 2 become bytes.
      where: name of the file, for messages.

    Returns:
      The pickled value. Arrays are only supported as values of a dict at the top level; elsewhere
      they are unusable placeholders.

    Raises:
      InputError: the pickle is truncated, corrupt, or contains anything else.
    """
    value = unpickle.load(io.BytesIO(content), _Arrays(), where)
    if isinstance(value, dict):
        return {key: v.array if isinstance(v, _Array) else v for key, v in value.items()}
    return value


class _Arrays(unpickle.Parts):
    """The functions and classes that make up a pickled array of integers."""

    kind = "an array"
    names = frozenset({*_RECONSTRUCT, *_FROM_BUFFER, *_SCALAR, _NDARRAY, _DTYPE, _ENCODE, _BYTES})

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in _RECONSTRUCT:
            return _Array()
        if name in _FROM_BUFFER and len(arguments) == 4 and type(arguments[1]) is _Dtype:
            content, dtype, shape, order = arguments
            return dtype.array(content, shape, _order(order in ("F", b"F")))
        if name in _SCALAR and len(arguments) == 2 and type(arguments[0]) is _Dtype:
            return int(arguments[0].array(arguments[1], (), "C"))
        if name == _BYTES and not arguments:
            return b""
        if name == _DTYPE and arguments:
            return _dtype(arguments[0])
        if name == _ENCODE and len(arguments) == 2:
            text, encoding = arguments
            if (
                type(text) is str
                and type(encoding) in (str, bytes)
                and encoding in {"latin1", b"latin1"}
            ):
                return text.encode("latin1")
            raise ValueError("bytes must be encoded as latin1")
        raise ValueError("a call of something that is not callable")

    def build(self, target: Any, state: Any) -> None:
        if type(target) is _Dtype:
            order = state[1] if type(state) is tuple and len(state) > 1 else None
            target.order = ">" if order in (">", b">") else "<"
            return
        if type(target) is not _Array or type(state) is not tuple or len(state) != 5:
            raise ValueError("the state of an array must be a tuple of 5 entries")
        _, shape, dtype, fortran, content = state
        if type(dtype) is not _Dtype:
            raise ValueError("the state of an array must contain a dtype")
        target.array = dtype.array(content, shape, _order(fortran in (True, 1)))

    def refer(self, key: Any) -> Any:
        raise ValueError(f"a reference ({type(key).__name__}), which is not part of an array")


def _order(fortran: bool) -> Literal["C", "F"]:
    return "F" if fortran else "C"


def _dtype(name: Any) -> _Dtype:
    text = name.decode("latin1") if type(name) is bytes else name
    if type(text) is not str or text not in _INTEGERS:
        shown = text[:20] if type(text) is str else type(name).__name__
        raise ValueError(f"the dtype of an array must be an integer type, got {shown!r}")
    return _Dtype(text)
