"""Checks of hyper-parameters; their errors name the argument, the rule and the value."""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from jaxml.errors import InputError, nearest


def is_number(value: Any) -> bool:
    """Returns whether a value is a real number; booleans are not."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Returns whether a value is an integer; booleans are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> None:
    """Raises `InputError` unless `value` is finite, > `above`, >= `least` and <= `most`."""
    if is_number(value) and math.isfinite(value) and above < value and least <= value <= most:
        return
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in ((">", above), (">=", least), ("<=", most))
        if math.isfinite(bound)
    ]
    rule = " ".join(["a finite number", " and ".join(bounds)]).rstrip()
    raise InputError(f"`{name}` must be {rule}, got {value!r}")


def check_choice(name: str, value: Any, known: Collection[str]) -> None:
    """Raises `InputError` unless `value` is one of the known names."""
    if value not in known:
        raise InputError(
            f"`{name}` must be one of {', '.join(known)}, got {value!r}{nearest(str(value), known)}"
        )
