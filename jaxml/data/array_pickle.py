"""Reads pickles of plain containers and uint8 arrays, and runs nothing that is in them.

A pickle is a program that can call whatever its reader lets it name. This reader lets it name the
three functions that a pickled NumPy array is made with, and gives it stand-ins for them that can
only assemble bytes: not even NumPy's own constructors are within its reach.
"""

import io
import pickle
from typing import Any

import numpy as np

from jaxml.errors import InputError


class _Dtype:
    """Stands in for `numpy.dtype`: unsigned bytes, nothing else."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in (b"u1", "u1"):
            raise pickle.UnpicklingError(
                f"an array of dtype {name!r}, only unsigned bytes are read"
            )

    def __setstate__(self, state: Any) -> None:
        """The byte order and the rest say nothing about bytes."""


class _Array:
    """Stands in for `numpy.ndarray` until its bytes are there."""

    array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array that is not made of bytes")
        flat = np.frombuffer(content, np.uint8)
        self.array = flat.reshape(shape, order="F" if fortran else "C")


def _encode(text: Any, encoding: Any) -> bytes:
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes in old protocols."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("bytes that are not written as latin1")
    return text.encode("latin1")


class _Reconstruct:
    """Stands in for `numpy.core.multiarray._reconstruct`."""

    def __new__(cls, *_: Any) -> Any:
        return _Array()


_STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is not part of an array"
            ) from None


def loads(content: bytes, where: str) -> Any:
    """Reads a pickle of containers, numbers, byte strings and uint8 arrays.

    Args:
      content: the pickle; strings of Python 2 become bytes.
      where: the name of the file, for messages.

    Returns:
      What was pickled. Arrays are found in a dict of the top level; elsewhere they are of no use.

    Raises:
      InputError: the pickle is cut short or corrupt, or names anything else.
    """
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except (EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{where}: cut short, corrupt or hostile ({error})") from None
    # A corrupt stream of opcodes can raise more inside the unpickler than its own error.
    except (
        AttributeError,
        IndexError,
        KeyError,
        MemoryError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(f"{where}: corrupt ({type(error).__name__}: {error})") from None
    if isinstance(value, dict):
        return {key: v.array if isinstance(v, _Array) else v for key, v in value.items()}
    return value
