"""Reads pickles of plain containers and integer arrays, and runs nothing that is in them."""

import io
import math
from typing import Any, Literal

import numpy as np

from jaxml.io import unpickle


class _Array:
    """An array until its bytes are there."""

    array: np.ndarray | None = None


class _Dtype:
    """The dtype of integers; the order of their bytes may follow."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.order: Literal["<", ">"] = "<"

    def array(self, content: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
        """Returns an array of some bytes; raises ValueError where they do not fit the shape."""
        if type(content) not in (bytes, bytearray) or type(shape) is not tuple:
            raise ValueError("an array that is not made of bytes")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("an array without a shape")
        dtype = np.dtype(self.name).newbyteorder(self.order)
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("an array of another size than its bytes")
        flat = np.frombuffer(bytes(content), dtype)
        return flat.reshape(shape, order=order).astype(dtype.newbyteorder("="), copy=False)


_CORES = ("numpy.core", "numpy._core")  # of NumPy 1 and 2
_RECONSTRUCT = tuple(f"{core}.multiarray _reconstruct" for core in _CORES)
_FROM_BUFFER = tuple(f"{core}.numeric _frombuffer" for core in _CORES)  # of protocol 5
_SCALAR = tuple(f"{core}.multiarray scalar" for core in _CORES)
_NDARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"
_ENCODE = "_codecs encode"  # by which Python 3 writes bytes in old protocols
_BYTES = "__builtin__ bytes"  # and these when they are none
_INTEGERS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}


def loads(content: bytes, where: str) -> Any:
    """Reads a pickle of containers, numbers, byte strings and arrays of integers.

    Args:
      content: the pickle; strings of Python 2 become bytes.
      where: the name of the file, for messages.

    Returns:
      What was pickled. Arrays are found in a dict of the top level; elsewhere they may be of no
      use.

    Raises:
      InputError: the pickle is cut short or corrupt, or holds anything else.
    """
    value = unpickle.load(io.BytesIO(content), _Arrays(), where)
    if isinstance(value, dict):
        return {key: v.array if isinstance(v, _Array) else v for key, v in value.items()}
    return value


class _Arrays(unpickle.Parts):
    """What NumPy makes an array of integers with."""

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
            raise ValueError("bytes that are not written as latin1")
        raise ValueError("a call of what cannot be called")

    def build(self, target: Any, state: Any) -> None:
        if type(target) is _Dtype:
            order = state[1] if type(state) is tuple and len(state) > 1 else None
            target.order = ">" if order in (">", b">") else "<"
            return
        if type(target) is not _Array or type(state) is not tuple or len(state) != 5:
            raise ValueError("a state for no array")
        _, shape, dtype, fortran, content = state
        if type(dtype) is not _Dtype:
            raise ValueError("an array that is not made of bytes")
        target.array = dtype.array(content, shape, _order(fortran in (True, 1)))

    def refer(self, key: Any) -> Any:
        raise ValueError(f"a reference ({type(key).__name__}), which is not part of an array")


def _order(fortran: bool) -> Literal["C", "F"]:
    return "F" if fortran else "C"


def _dtype(name: Any) -> _Dtype:
    text = name.decode("latin1") if type(name) is bytes else name
    if type(text) is not str or text not in _INTEGERS:
        shown = text[:20] if type(text) is str else type(name).__name__
        raise ValueError(f"an array of dtype {shown!r}, only integers are read")
    return _Dtype(text)
