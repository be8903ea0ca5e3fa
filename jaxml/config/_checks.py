"""Checks of the names, types and values of settings."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from jaxml.config._parsing import parse_steps
from jaxml.config._tree import Config
from jaxml.errors import InputError, nearest

_KINDS: dict[Any, str] = {
    int: "an int",
    float: "a float",
    bool: "true or false",
    str: "a non-empty string",
    tuple[float, ...]: "a tuple of floats",
    tuple[int, ...]: "a tuple of ints",
    tuple[str, ...]: "a tuple of non-empty strings",
}
_BOUNDS = {"low": ">=", "above": ">", "high": "<=", "below": "<"}


def fields(config: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Yields (dotted name, field, value) for every setting, in the order of declaration.

    >>> [name for name, _, _ in fields(Config())][:2]
    ['seed', 'num_seeds']
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field, value


def check(config: Config) -> None:
    """Checks the type and value of every setting.

    Raises:
      InputError: a setting is invalid; the message names the first one and its rule.

    Example:
      >>> check(Config(num_epochs=0))
      Traceback (most recent call last):
      jaxml.errors.InputError: config.num_epochs must be an int >= 1, got 0
    """
    for name, field, value in fields(config):
        if not _is_valid(value, field):
            raise InputError(f"config.{name} must be {rule(field)}, got {value!r}")


def check_name(name: str) -> None:
    """Checks that a dotted name, without `config.`, is a setting.

    Raises:
      InputError: there is no such setting; the message suggests a similar one.

    Example:
      >>> check_name("optim.learnin_rate")
      Traceback (most recent call last):
      jaxml.errors.InputError: config.optim.learnin_rate is not a setting; \
did you mean 'config.optim.learning_rate'?
    """
    known = [f"config.{known}" for known, _, _ in fields(Config())]
    path = f"config.{name}"
    if path not in known:
        parent, _, last = path.rpartition(".")
        # Initials in the same section (`optim.lr`), then the same name in another section.
        alike = [p for p in known if p.startswith(f"{parent}.") and last == _initials(p)]
        alike += [p for p in known if p.endswith(f".{last}")]
        hint = f"; did you mean {alike[0]!r}?" if alike else nearest(path, known)
        raise InputError(f"{path} is not a setting{hint or '; --help lists them'}")


def rule(field: dataclasses.Field[Any]) -> str:
    """Describes the values that a setting accepts.

    >>> rule(dataclasses.fields(Config)[0])
    'an int >= 0 and <= 4294967295'
    """
    rules = field.metadata
    kind, optional = _kind(field)
    if rules["steps"]:
        text = "two increasing steps such as 10:20"
    elif rules["choices"]:
        text = "one of " + ", ".join(rules["choices"])
    else:
        bounds = [
            f"{sign} {rules[name]:.10g}"
            for name, sign in _BOUNDS.items()
            if rules[name] is not None
        ]
        text = " ".join([_KINDS[kind], " and ".join(bounds)]).strip()
    return f"{text}, or None" if optional else text


def is_optional(field: dataclasses.Field[Any]) -> bool:
    """Returns True if a setting may be None."""
    return _kind(field)[1]


def _kind(field: dataclasses.Field[Any]) -> tuple[Any, bool]:
    """Returns the type of a setting without None, and whether it may be None."""
    kind: Any = field.type
    if typing.get_origin(kind) is not types.UnionType:
        return kind, False
    (inner,) = set(typing.get_args(kind)) - {types.NoneType}
    return inner, True


def _initials(path: str) -> str:
    return "".join(word[0] for word in path.rpartition(".")[2].split("_"))


def _is_valid(value: Any, field: dataclasses.Field[Any]) -> bool:
    kind, optional = _kind(field)
    if value is None:
        return optional
    items = value if isinstance(value, tuple) else (value,)
    return _is_a(value, kind) and all(_in_range(item, field.metadata) for item in items)


def _is_a(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        entry = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(_is_a(item, entry) for item in value)
    if kind is float:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        )
    return type(value) is kind and value != ""


def _in_range(value: Any, rules: Mapping[str, Any]) -> bool:
    return (
        (rules["low"] is None or value >= rules["low"])
        and (rules["above"] is None or value > rules["above"])
        and (rules["high"] is None or value <= rules["high"])
        and (rules["below"] is None or value < rules["below"])
        and (not rules["choices"] or value in rules["choices"])
        and (not rules["steps"] or _is_steps(value))
    )


def _is_steps(text: str) -> bool:
    try:
        parse_steps(text)
    except ValueError:
        return False
    return True
