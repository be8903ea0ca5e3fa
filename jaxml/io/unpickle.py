"""Reads pickles, and runs nothing that is in them.

A pickle is a program for a machine with a stack. The machine here knows only the instructions that
make containers, numbers and strings; nothing that it handles can be called, and no attribute of
anything is ever looked up or set by a name out of the file. What else a file may be made of, its
reader says by `Parts`.
"""

import pickletools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from jaxml.errors import InputError


@dataclass(frozen=True)
class Name:
    """A name out of a pickle, as text; it can be used only in the places that `Parts` looks at."""

    text: str


class Opaque:
    """Stands for something in a pickle that its reader has no use for; equal only to itself."""


class Parts(ABC):
    """What a pickle may be made of beside containers, numbers and strings.

    The methods raise ValueError where they are given anything unexpected: all arguments are what
    the file says.

    Attributes:
      kind: what the pickle is of, for messages.
      names: the names that the pickle may hold, as "module name".
      encoding: of the strings that Python 2 wrote; None leaves them as bytes.
    """

    kind: ClassVar[str]
    names: ClassVar[frozenset[str]]
    encoding: ClassVar[str | None] = None

    @abstractmethod
    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What a call of one of the names stands for."""

    @abstractmethod
    def build(self, target: Any, state: Any) -> None:
        """Completes what stands for something by its state."""

    @abstractmethod
    def refer(self, key: Any) -> Any:
        """What a reference to something outside of the pickle stands for."""


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
# Escapes by which Python 2 writes a string; any other character stands for itself.
_ESCAPE = re.compile(rb"""\\(?:x([0-9a-fA-F]{2})|([\\'"nrt]))""")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_MOST_KEY_ITEMS = 1000
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}


def load(file: BinaryIO, parts: Parts, where: str) -> Any:
    """Reads one pickle.

    Args:
      file: in memory, so that no size that it states is more than there is; it is left behind the
        pickle.
      parts: what it may be made of.
      where: the name of the file, for messages.

    Returns:
      What was pickled: sets as lists or tuples, strings of Python 2 as `parts.encoding` says.

    Raises:
      InputError: the pickle is cut short or corrupt, or holds anything else.
    """
    try:
        return _run(file, parts)
    except KeyError:
        raise InputError(f"{where}: corrupt (no such memo entry)") from None
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
                    raise ValueError("a memo entry beyond the size of the file")
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


def _instructions(file: BinaryIO, parts: Parts) -> Iterator[tuple[str, Any]]:
    """The names of the instructions with their arguments."""
    while code := file.read(1):
        opcode = _OPCODES.get(code)
        if opcode is None or opcode.name not in _INSTRUCTIONS:
            name = opcode.name if opcode else code.hex()
            raise ValueError(f"the instruction {name}, which is not part of {parts.kind}")
        if opcode.name == "GLOBAL":  # pickletools would undo escapes, and warn of some
            yield "GLOBAL", " ".join(file.readline()[:-1].decode("latin1") for _ in range(2))
        elif opcode.name == "STRING":
            yield "STRING", _unquoted(file.readline())
        elif opcode.name in ("BINSTRING", "SHORT_BINSTRING"):
            yield opcode.name, opcode.arg.reader(file).encode("latin1") if opcode.arg else b""
        else:
            yield opcode.name, opcode.arg.reader(file) if opcode.arg else None


def _unquoted(line: bytes) -> bytes:
    """The string of Python 2 that a line quotes."""
    content = line.strip()
    if len(content) < 2 or content[:1] != content[-1:] or content[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotation marks")
    return _ESCAPE.sub(
        lambda match: bytes([int(match[1], 16)]) if match[1] else _ESCAPED.get(match[2], match[2]),
        content[1:-1],
    )


def _collect(name: str, argument: Any, stack: _Stack) -> None:
    """Puts plain values onto the stack, and lists, tuples and dicts of them."""
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
                raise ValueError("items for no list")
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
    """Adds keys and values, which follow each other, to a dict.

    Raises:
      ValueError: it is no dict, or a key is none or large.
    """
    if type(target) is not dict or len(items) % 2:
        raise ValueError("items for no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if _count_items(key, _MOST_KEY_ITEMS) > _MOST_KEY_ITEMS:
            raise ValueError("a key that is a large tuple")
        target[key] = value


def _count_items(key: Any, most: int) -> int:
    """How many values a key is made of; counting ends beyond `most`.

    To hash a tuple of tuples may take as good as for ever, and any depth.
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
    """Lets `parts` say what the rest stands for."""
    match name:
        case "GLOBAL":
            stack.append(_name(argument, parts))
        case "STACK_GLOBAL":
            module, attribute = stack.take(2)
            if type(module) is not str or type(attribute) is not str:
                raise ValueError("a name that is no text")
            stack.append(_name(f"{module} {attribute}", parts))
        case "REDUCE" | "NEWOBJ":
            function, arguments = stack.take(2)
            if type(function) is not Name or type(arguments) is not tuple:
                raise ValueError("a call of what cannot be called, or without arguments")
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
