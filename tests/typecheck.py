"""Checks arguments and results of the pure functions against their annotations."""

from collections.abc import Callable
from typing import Any, Self

from beartype import BeartypeConf, FrozenDict, beartype

# Methods are checked one by one, apart from the class that Self would mean; an int is a float.
_beartype = beartype(
    conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any}), is_pep484_tower=True)
)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its checks; a pytree may hold anything, for JAX rebuilds it so."""
    return function if function.__name__ == "__init__" else _beartype(function)
