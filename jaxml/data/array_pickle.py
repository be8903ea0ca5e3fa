"""Reads pickles of plain containers and uint8 arrays, and runs nothing that is in them.

A pickle is a program for a machine with a stack. The machine here knows only the instructions that
make containers, numbers, strings and arrays of bytes; nothing that it handles can be called, and
no attribute of anything is ever looked up or set by a name out of the file.
"""

import io
import pickletools
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxml.errors import InputError


class _Array:
    """An array until its bytes are there."""

    array: np.ndarray | None = None


class _Dtype:
    """The dtype of unsigned bytes."""


_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE, _BYTES, _MARK = (object() for _ in range(6))
_NAMES = {
    "numpy ndarray": _NDARRAY,
    "numpy dtype": _DTYPE,
    "numpy.core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _RECONSTRUCT,
    "_codecs encode": _ENCODE,  # by which Python 3 writes bytes in old protocols
    "__builtin__ bytes": _BYTES,  # and these when they are none
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_INSTRUCTIONS = {
    *("PROTO", "FRAME", "STOP", "POP", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GET"),
    *("BINSTRING", "SHORT_BINSTRING", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"),
    *("TUPLE", "LIST", "DICT", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
    *_CONSTANTS,
    *_VALUES,
    *_SIZES,
}
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}


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
    try:
        value = _run(content)
    except KeyError:
        raise InputError(f"{where}: corrupt (no such memo entry)") from None
    except (IndexError, OverflowError, TypeError, ValueError) as error:
        detail = repr(str(error))[1:-1][:200]
        raise InputError(f"{where}: cut short, corrupt or hostile ({detail})") from None
    if isinstance(value, dict):
        return {key: v.array if isinstance(v, _Array) else v for key, v in value.items()}
    return value


def _run(content: bytes) -> Any:
    stack = _Stack()
    memo: dict[int, Any] = {}
    for name, argument in _instructions(content):
        match name:
            case "STOP":
                return stack.pop()
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                if not 0 <= argument < len(content):
                    raise ValueError("a memo entry beyond the size of the file")
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[argument])
            case "GLOBAL" | "STACK_GLOBAL" | "REDUCE" | "BUILD":
                _assemble(name, argument, stack)
            case _:
                _collect(name, argument, stack)
    raise ValueError("it has no end")


class _Stack(list[Any]):
    """What the instructions work on."""

    def take(self, count: int) -> list[Any]:
        """The last entries, which are gone then."""
        if len(self) < count:
            raise ValueError("the stack is empty")
        items = self[len(self) - count :]
        del self[len(self) - count :]
        return items

    def take_marked(self) -> list[Any]:
        """The entries after the last mark, which are gone then, and the mark too."""
        for depth, item in enumerate(reversed(self)):
            if item is _MARK:
                items = self.take(depth)
                self.pop()
                return items
        raise ValueError("no mark")


def _instructions(content: bytes) -> Iterator[tuple[str, Any]]:
    """The names of the instructions with their arguments."""
    file = io.BytesIO(content)
    while code := file.read(1):
        opcode = _OPCODES.get(code)
        if opcode is None or opcode.name not in _INSTRUCTIONS:
            name = opcode.name if opcode else code.hex()
            raise ValueError(f"the instruction {name}, which is not part of an array")
        if opcode.name == "GLOBAL":  # pickletools would undo escapes, and warn of some
            yield "GLOBAL", " ".join(file.readline()[:-1].decode("latin1") for _ in range(2))
        else:
            yield opcode.name, opcode.arg.reader(file) if opcode.arg else None


def _collect(name: str, argument: Any, stack: _Stack) -> None:
    """Puts plain values onto the stack, and lists, tuples and dicts of them."""
    match name:
        case "PROTO" | "FRAME":
            pass
        case "POP":
            stack.pop()
        case "MARK":
            stack.append(_MARK)
        case "BINSTRING" | "SHORT_BINSTRING":
            stack.append(argument.encode("latin1"))
        case "EMPTY_TUPLE":
            stack.append(())
        case "EMPTY_LIST":
            stack.append([])
        case "EMPTY_DICT":
            stack.append({})
        case "TUPLE":
            stack.append(tuple(stack.take_marked()))
        case "LIST":
            stack.append(stack.take_marked())
        case "DICT":
            items = stack.take_marked()
            stack.append({})
            _update(stack[-1], items)
        case "APPEND" | "APPENDS":
            items = stack.take_marked() if name == "APPENDS" else stack.take(1)
            if type(stack[-1]) is not list:
                raise ValueError("items for no list")
            stack[-1].extend(items)
        case "SETITEM" | "SETITEMS":
            items = stack.take_marked() if name == "SETITEMS" else stack.take(2)
            _update(stack[-1], items)
        case _ if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        case _ if name in _VALUES:
            stack.append(argument)
        case _ if name in _SIZES:
            stack.append(tuple(stack.take(_SIZES[name])))


def _assemble(name: str, argument: Any, stack: _Stack) -> None:
    """Names what an array is made with, and makes it."""
    match name:
        case "GLOBAL":
            stack.append(_name(argument))
        case "STACK_GLOBAL":
            module, attribute = stack.take(2)
            if type(module) is not str or type(attribute) is not str:
                raise ValueError("a name that is no text")
            stack.append(_name(f"{module} {attribute}"))
        case "REDUCE":
            function, arguments = stack.take(2)
            stack.append(_call(function, arguments))
        case "BUILD":
            (state,) = stack.take(1)
            _build(stack[-1], state)


def _name(name: str) -> object:
    if name not in _NAMES:
        shown = name.replace(" ", ".", 1)[:100]
        raise ValueError(f"it names {shown}, which is not part of an array")
    return _NAMES[name]


def _update(target: Any, items: list[Any]) -> None:
    if type(target) is not dict or len(items) % 2:
        raise ValueError("items for no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, bytes, int):
            raise ValueError("a key that is neither text nor a number")
        target[key] = value


def _call(function: Any, arguments: Any) -> Any:
    if type(arguments) is not tuple:
        raise ValueError("arguments that are no tuple")
    if function is _RECONSTRUCT:
        return _Array()
    if function is _BYTES and not arguments:
        return b""
    if function is _DTYPE and arguments:
        name = arguments[0]
        if type(name) not in (str, bytes) or name not in {"u1", b"u1"}:
            shown = name[:20] if type(name) in (str, bytes) else type(name).__name__
            raise ValueError(f"an array of dtype {shown!r}, only unsigned bytes are read")
        return _Dtype()
    if function is _ENCODE and len(arguments) == 2:
        text, encoding = arguments
        if (
            type(text) is str
            and type(encoding) in (str, bytes)
            and encoding in {"latin1", b"latin1"}
        ):
            return text.encode("latin1")
        raise ValueError("bytes that are not written as latin1")
    raise ValueError("a call of what cannot be called")


def _build(target: Any, state: Any) -> None:
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
