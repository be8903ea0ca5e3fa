"""What stops a run and is told to a person in one line, without a traceback."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class JaxmlError(Exception):
    """A run cannot go on; the message is one line that says what would be right."""


class InputError(JaxmlError, ValueError):
    """A setting, file or argument is not what it has to be."""


class DivergedError(JaxmlError):
    """The loss is no longer finite."""


class SaveError(JaxmlError):
    """A file of a run cannot be written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Ends a message about an unknown name.

    >>> nearest("config.sed", ["config.seed", "config.batch_size"])
    "; did you mean 'config.seed'?"
    >>> nearest("x", ["config.seed"])
    ''
    """
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def choose(table: Mapping[str, T], name: str, setting: str) -> T:
    """Looks `name` up in a table of choices.

    Args:
      table: what there is, by name.
      name: what was asked for.
      setting: where the name was set, for the message.

    Returns:
      The entry.

    Raises:
      InputError: there is no such entry; the message lists those there are.

    Example:
      >>> choose({"relu": max}, "rleu", "config.model.activation")
      Traceback (most recent call last):
      jaxml.errors.InputError: config.model.activation: 'rleu' is not one of relu; \
did you mean 'relu'?
    """
    if name in table:
        return table[name]
    raise InputError(f"{setting}: {name!r} is not one of {', '.join(table)}{nearest(name, table)}")
