"""The building blocks of the config tree: `setting` declares a field, `Settings` is a node.

Annotations are real types, not strings, because the command line parses each value by its type.
"""

import dataclasses
import reprlib
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from jaxml.errors import InputError

T = TypeVar("T")

LARGEST_INT = 2**31 - 1  # XLA counts steps and units in int32


def setting(
    default: T,
    doc: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    steps: bool = False,
    resume: str = "same",
) -> T:
    """Declares a field of the config tree.

    Args:
      default: the default value.
      doc: one plain sentence for `--help`.
      low: inclusive lower bound.
      above: exclusive lower bound.
      high: inclusive upper bound.
      below: exclusive upper bound.
      choices: the allowed strings; empty allows every string.
      steps: whether the string must have the form that `parse_steps` accepts.
      resume: the values with which a run may resume: "same" requires the same value, "raised"
        also allows a larger one, "any" allows every value.
    """
    rules = {"low": low, "above": above, "high": high, "below": below, "choices": tuple(choices)}
    metadata = {"doc": doc, **rules, "steps": steps, "resume": resume}
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """A node of the config tree. Assigning to an unknown name raises an `InputError`."""

    def __setattr__(self, name: str, value: Any) -> None:
        section = type(self).__name__.removesuffix("Config").lower()
        path = f"{section}.{name}" if section else name
        kinds = {field.name: field.type for field in dataclasses.fields(typing.cast(Any, self))}
        if name not in kinds:
            from jaxml.config._checks import check_name  # here, because it imports the tree

            check_name(path)
        kind: Any = kinds[name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and type(value) is not kind:
            raise InputError(
                f"config.{path} must be an instance of {kind.__name__}, got {reprlib.repr(value)}"
            )
        super().__setattr__(name, value)
