"""Which parameters stay as they are: those whose path matches a pattern."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import jax

from jaxml.errors import InputError
from jaxml.types import PyTree


def is_frozen(pattern: str | None, path: str) -> bool:
    """Whether a path begins with what the pattern describes.

    Args:
      pattern: a regular expression; empty for none.
      path: names joined by slashes, such as "stage1/block2/conv1/kernel".

    Example:
      >>> is_frozen("stem|stage[12]/", "stage2/block1/norm1/scale")
      True
      >>> is_frozen(None, "stem_conv/kernel")
      False
    """
    return bool(pattern) and re.match(pattern, path) is not None


def keep_frozen(pattern: str | None, old: PyTree, new: PyTree) -> PyTree:
    """The new parameters, but the old ones where they are frozen.

    >>> keep_frozen("stem", {"head": 1, "stem": 1}, {"head": 2, "stem": 2})
    {'head': 2, 'stem': 1}
    """

    def choose(path: Sequence[Any], before: Any, after: Any) -> Any:
        return before if is_frozen(pattern, joined(path)) else after

    return jax.tree_util.tree_map_with_path(choose, old, new) if pattern else new


def check_pattern(pattern: str, setting: str) -> None:
    """Checks that a pattern is a regular expression.

    Raises:
      InputError: it is not.

    Example:
      >>> check_pattern("stage(", "config.weights.freeze")
      Traceback (most recent call last):
      jaxml.errors.InputError: config.weights.freeze: 'stage(' is not a regular expression: \
missing ), unterminated subpattern at position 5
    """
    try:
        with warnings.catch_warnings(action="error"):
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise InputError(f"{setting}: {pattern!r} is not a regular expression: {error}") from None


def joined(path: Sequence[Any]) -> str:
    """A path of a tree of dictionaries as one string.

    >>> jax.tree_util.tree_map_with_path(lambda path, _: joined(path), {"a": {"b": 0}})
    {'a': {'b': 'a/b'}}
    """
    return "/".join(str(entry.key) for entry in path)
