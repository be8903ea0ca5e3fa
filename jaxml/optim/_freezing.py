"""Frozen parameters, selected by a regular expression on their paths."""

import re
import warnings
from typing import Any

import jax
from jax.tree_util import keystr

from jaxml.errors import InputError
from jaxml.types import PyTree


def is_frozen(pattern: str | None, path: str) -> bool:
    """Returns True if the pattern matches the start of a path.

    Args:
      pattern: a regular expression; None freezes nothing.
      path: names joined by slashes, such as "stage1/block2/conv1/kernel".

    Example:
      >>> is_frozen("stem|stage[12]/", "stage2/block1/norm1/scale")
      True
      >>> is_frozen(None, "stem_conv/kernel")
      False
    """
    return bool(pattern) and re.match(pattern, path) is not None


def keep_frozen(pattern: str | None, old: PyTree, new: PyTree) -> PyTree:
    """Returns the new parameters, with the old values where they are frozen.

    >>> keep_frozen("stem", {"head": 1, "stem": 1}, {"head": 2, "stem": 2})
    {'head': 2, 'stem': 1}
    """

    def choose(path: tuple[Any, ...], before: Any, after: Any) -> Any:
        return before if is_frozen(pattern, keystr(path, simple=True, separator="/")) else after

    return jax.tree_util.tree_map_with_path(choose, old, new) if pattern else new


def check_pattern(pattern: str, setting: str) -> None:
    """Checks that a pattern is a regular expression.

    Args:
      pattern: the pattern.
      setting: the name of the setting, for the message.

    Raises:
      InputError: the pattern is invalid.

    Example:
      >>> check_pattern("stage(", "config.weights.freeze")
      Traceback (most recent call last):
      jaxml.errors.InputError: config.weights.freeze must be a regular expression, got 'stage(': \
missing ), unterminated subpattern at position 5
    """
    try:
        with warnings.catch_warnings(action="error"):
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise InputError(
            f"{setting} must be a regular expression, got {pattern!r}: {error}"
        ) from None
