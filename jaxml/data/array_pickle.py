"""Reads pickles of plain containers and uint8 arrays, and runs nothing that is in them."""

import io
from typing import Any

import numpy as np

from jaxml import unpickle


class _Array:
    """An array until its bytes are there."""

    array: np.ndarray | None = None


class _Dtype:
    """The dtype of unsigned bytes."""


_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_NDARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"
_ENCODE = "_codecs encode"  # by which Python 3 writes bytes in old protocols
_BYTES = "__builtin__ bytes"  # and these when they are none


def loads(content: bytes, where: str) -> Any:
    """Reads a pickle of containers, numbers, byte strings and uint8 arrays.

    Args:
      content: the pickle; strings of Python 2 become bytes.
      where: the name of the file, for messages.

    Returns:
      What was pickled. Arrays are found in a dict of the top level; elsewhere they are of no use.

    Raises:
      InputError: the pickle is cut short or corrupt, or holds anything else.
    """
    value = unpickle.load(io.BytesIO(content), _Arrays(), where)
    if isinstance(value, dict):
        return {key: v.array if isinstance(v, _Array) else v for key, v in value.items()}
    return value


class _Arrays(unpickle.Parts):
    """What NumPy makes an array of bytes with."""

    kind = "an array"
    names = frozenset({*_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE, _BYTES})

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in _RECONSTRUCT:
            return _Array()
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
        if type(target) is _Dtype:  # the byte order and the rest say nothing about bytes
            return
        if type(target) is not _Array or type(state) is not tuple or len(state) != 5:
            raise ValueError("a state for no array")
        _, shape, dtype, fortran, content = state
        if type(dtype) is not _Dtype or type(content) is not bytes or type(shape) is not tuple:
            raise ValueError("an array that is not made of bytes")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("an array without a shape")
        flat = np.frombuffer(content, np.uint8)
        target.array = flat.reshape(shape, order="F" if fortran is True or fortran == 1 else "C")

    def refer(self, key: Any) -> Any:
        raise ValueError(f"a reference ({type(key).__name__}), which is not part of an array")


def _dtype(name: Any) -> _Dtype:
    if type(name) not in (str, bytes) or name not in {"u1", b"u1"}:
        shown = name[:20] if type(name) in (str, bytes) else type(name).__name__
        raise ValueError(f"an array of dtype {shown!r}, only unsigned bytes are read")
    return _Dtype()
