"""Checks arguments and results of the pure functions against their annotations."""

from collections.abc import Callable
from typing import Any, Self

from beartype import BeartypeConf, FrozenDict, beartype

# Each method is checked on its own, without its class, so Self cannot be resolved. An int is
# accepted for a float.
_beartype = beartype(
    conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any}), is_pep484_tower=True)
)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds checks to a function; constructors are exempt, as JAX rebuilds pytrees with any leaf."""
    return function if function.__name__ == "__init__" else _beartype(function)
