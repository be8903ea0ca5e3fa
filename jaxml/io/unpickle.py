"""Reads pickles without running code from them.

A pickle is a program for a stack machine. The machine here implements only the instructions that
build containers, numbers and strings. No value can be called, and no attribute is looked up or set
by a name from the file. A reader that supports other objects describes them by a subclass of
`Parts`.
"""

import pickletools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from jaxml.errors import InputError

__all__ = ["Name", "Opaque", "Parts", "load", "update"]


@dataclass(frozen=True)
class Name:
    """A global name in a pickle, as text; only `Parts` gives it a meaning."""

    text: str


class Opaque:
    """A placeholder for an object that the reader ignores; equal only to itself."""


class Parts(ABC):
    """The objects that a pickle may contain in addition to containers, numbers and strings.

    All arguments of the methods come from the file and may be anything. The methods raise a
    ValueError for arguments that they do not support.

    Attributes:
      kind: description of the pickled object, for messages.
      names: the global names that the pickle may contain, as "module name".
      encoding: encoding of strings written by Python 2; None returns them as bytes.
    """

    kind: ClassVar[str]
    names: ClassVar[frozenset[str]]
    encoding: ClassVar[str | None] = None

    @abstractmethod
    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Returns the value of calling one of the names."""

    @abstractmethod
    def build(self, target: Any, state: Any) -> None:
        """Sets the state of a value returned by `call`."""

    @abstractmethod
    def refer(self, key: Any) -> Any:
        """Returns the object that a persistent id refers to."""


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_INSTRUCTIONS = {
    *("PROTO", "FRAME", "STOP", "POP", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GET", "BINPERSID"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"),
    *("TUPLE", "LIST", "DICT", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
    *("EMPTY_SET", "ADDITEMS", "FROZENSET", "NEWOBJ"),
    *_CONSTANTS,
    *_VALUES,
    *_SIZES,
}
# The escapes in string literals of Python 2.
_ESCAPE = re.compile(rb"""\\(?:x([0-9a-fA-F]{2})|([\\'"nrt]))""")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_MOST_KEY_ITEMS = 1000
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}


def load(file: BinaryIO, parts: Parts, where: str) -> Any:
    """Reads one pickle.

    Args:
      file: an in-memory file, which bounds the sizes that the pickle states. Its position
        afterwards is the end of the pickle.
      parts: the objects that the pickle may contain.
      where: name of the file, for messages.

    Returns:
      The pickled value, with sets as lists or tuples.

    Raises:
      InputError: the pickle is truncated, corrupt, or contains anything else.
    """
    try:
        return _run(file, parts)
    except KeyError:
        raise InputError(f"{where}: corrupt (undefined memo entry)") from None
    except (IndexError, OverflowError, TypeError, ValueError) as error:
        detail = repr(str(error))[1:-1][:200]
        raise InputError(f"{where}: cut short, corrupt or hostile ({detail})") from None


def _run(file: BinaryIO, parts: Parts) -> Any:
    stack = _Stack()
    memo: dict[int, Any] = {}
    for name, argument in _instructions(file, parts):
        match name:
            case "STOP":
                return stack.pop()
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                if not 0 <= argument < file.tell():
                    raise ValueError("a memo index beyond the size of the file")
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[argument])
            case "GLOBAL" | "STACK_GLOBAL" | "REDUCE" | "NEWOBJ" | "BUILD" | "BINPERSID":
                _assemble(name, argument, stack, parts)
            case "STRING" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument.decode(parts.encoding) if parts.encoding else argument)
            case _:
                _collect(name, argument, stack)
    raise ValueError("no STOP instruction")


class _Stack(list[Any]):
    """The stack of the machine."""

    def take(self, count: int) -> list[Any]:
        """Pops the last `count` entries."""
        if len(self) < count:
            raise ValueError("the stack is empty")
        items = self[len(self) - count :]
        del self[len(self) - count :]
        return items

    def take_marked(self) -> list[Any]:
        """Pops the entries after the last mark, and the mark."""
        for depth, item in enumerate(reversed(self)):
            if item is _MARK:
                items = self.take(depth)
                self.pop()
                return items
        raise ValueError("no mark")


def _instructions(file: BinaryIO, parts: Parts) -> Iterator[tuple[str, Any]]:
    """Yields the name and the argument of each instruction."""
    while code := file.read(1):
        opcode = _OPCODES.get(code)
        if opcode is None or opcode.name not in _INSTRUCTIONS:
            name = opcode.name if opcode else code.hex()
            raise ValueError(f"the instruction {name}, which is not part of {parts.kind}")
        if opcode.name == "GLOBAL":  # pickletools would decode escapes
            yield "GLOBAL", " ".join(file.readline()[:-1].decode("latin1") for _ in range(2))
        elif opcode.name == "STRING":
            yield "STRING", _unquoted(file.readline())
        elif opcode.name in ("BINSTRING", "SHORT_BINSTRING"):
            yield opcode.name, opcode.arg.reader(file).encode("latin1") if opcode.arg else b""
        else:
            yield opcode.name, opcode.arg.reader(file) if opcode.arg else None


def _unquoted(line: bytes) -> bytes:
    """Returns the content of a string literal of Python 2."""
    content = line.strip()
    if len(content) < 2 or content[:1] != content[-1:] or content[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotation marks")
    return _ESCAPE.sub(
        lambda match: bytes([int(match[1], 16)]) if match[1] else _ESCAPED.get(match[2], match[2]),
        content[1:-1],
    )


def _collect(name: str, argument: Any, stack: _Stack) -> None:
    """Runs an instruction that builds a plain value or a container."""
    match name:
        case "PROTO" | "FRAME":
            pass
        case "POP":
            stack.pop()
        case "MARK":
            stack.append(_MARK)
        case "EMPTY_TUPLE":
            stack.append(())
        case "EMPTY_LIST" | "EMPTY_SET":
            stack.append([])
        case "EMPTY_DICT":
            stack.append({})
        case "TUPLE" | "FROZENSET":
            stack.append(tuple(stack.take_marked()))
        case "LIST":
            stack.append(stack.take_marked())
        case "DICT":
            items = stack.take_marked()
            stack.append({})
            update(stack[-1], items)
        case "APPEND" | "APPENDS" | "ADDITEMS":
            items = stack.take(1) if name == "APPEND" else stack.take_marked()
            if type(stack[-1]) is not list:
                raise ValueError("items for something that is not a list")
            stack[-1].extend(items)
        case "SETITEM" | "SETITEMS":
            items = stack.take_marked() if name == "SETITEMS" else stack.take(2)
            update(stack[-1], items)
        case _ if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        case _ if name in _VALUES:
            stack.append(argument)
        case _ if name in _SIZES:
            stack.append(tuple(stack.take(_SIZES[name])))


def update(target: Any, items: list[Any]) -> None:
    """Adds alternating keys and values to a dict.

    Raises:
      ValueError: the target is not a dict, or a key is not hashable or is large.
    """
    if type(target) is not dict or len(items) % 2:
        raise ValueError("items for something that is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if _count_items(key, _MOST_KEY_ITEMS) > _MOST_KEY_ITEMS:
            raise ValueError("a key that is a large tuple")
        target[key] = value


def _count_items(key: Any, most: int) -> int:
    """Counts the values in a possibly nested key, up to a little more than `most`.

    Hashing a nested tuple can take exponential time and unlimited recursion, so keys are bounded.
    """
    count = 0
    pending = [key]
    while pending and count <= most:
        item = pending.pop()
        count += 1
        if type(item) is tuple:
            pending.extend(item[:most])
        elif not isinstance(item, str | bytes | int | float | None | Name | Opaque):
            raise ValueError(f"a key of the type {type(item).__name__}")
    return count


def _assemble(name: str, argument: Any, stack: _Stack, parts: Parts) -> None:
    """Runs an instruction that `parts` gives a meaning."""
    match name:
        case "GLOBAL":
            stack.append(_name(argument, parts))
        case "STACK_GLOBAL":
            module, attribute = stack.take(2)
            if type(module) is not str or type(attribute) is not str:
                raise ValueError("a name that is not text")
            stack.append(_name(f"{module} {attribute}", parts))
        case "REDUCE" | "NEWOBJ":
            function, arguments = stack.take(2)
            if type(function) is not Name or type(arguments) is not tuple:
                raise ValueError("a call of something that is not callable, or without arguments")
            stack.append(parts.call(function.text, arguments))
        case "BUILD":
            (state,) = stack.take(1)
            parts.build(stack[-1], state)
        case "BINPERSID":
            stack.append(parts.refer(stack.pop()))


def _name(name: str, parts: Parts) -> Name:
    if name not in parts.names:
        shown = name.replace(" ", ".", 1)[:100]
        raise ValueError(f"it names {shown}, which is not part of {parts.kind}")
    return Name(name)
