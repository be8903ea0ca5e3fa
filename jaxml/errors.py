"""User-facing errors, reported in one line without a traceback."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

__all__ = ["DivergedError", "InputError", "JaxmlError", "SaveError", "choose", "nearest"]

T = TypeVar("T")


class JaxmlError(Exception):
    """Base class of errors that end a run; the message is one line that says how to fix them."""


class InputError(JaxmlError, ValueError):
    """A config, file or argument is invalid."""


class DivergedError(JaxmlError):
    """The loss is not finite."""


class SaveError(JaxmlError):
    """A file of a run cannot be written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a suggestion for a message about an unknown name, or "" if none is similar.

    >>> nearest("config.sed", ["config.seed", "config.batch_size"])
    "; did you mean 'config.seed'?"
    >>> nearest("x", ["config.seed"])
    ''
    """
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def one_line(error: Exception, most: int | None = None) -> str:
    r"""Returns the message of an error as one line, of at most `most` characters.

    >>> one_line(ValueError("wrong\n  value"))
    'wrong value'
    """
    return " ".join(str(error).split())[:most]


def choose(table: Mapping[str, T], name: str, setting: str) -> T:
    """Returns the entry of a table.

    Args:
      table: the choices by name.
      name: the chosen name.
      setting: the setting or argument that holds the name, for the message.

    Raises:
      InputError: the table has no such entry.

    Example:
      >>> choose({"relu": max}, "rleu", "config.model.activation")
      Traceback (most recent call last):
      jaxml.errors.InputError: config.model.activation must be one of relu, got 'rleu'; \
did you mean 'relu'?
    """
    if name in table:
        return table[name]
    raise InputError(
        f"{setting} must be one of {', '.join(table)}, got {name!r}{nearest(name, table)}"
    )
