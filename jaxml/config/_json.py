"""Conversion of configs to and from JSON and help text, and their comparison when resuming."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from jaxml.config._checks import check, fields, rule
from jaxml.config._tree import Config
from jaxml.errors import InputError


def to_json(config: Config) -> str:
    """Converts a config to indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str | bytes) -> Config:
    """Converts the output of `to_json` back to a config.

    Raises:
      InputError: the text is not a JSON object, names an unknown setting or has an invalid value.

    Example:
      >>> from_json(to_json(Config(seed=3))).seed
      3
    """
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, Mapping):
        raise InputError("not the JSON of a config")
    return from_tree(tree)


def from_tree(tree: Mapping[str, Any]) -> Config:
    """Converts nested dictionaries to a config; missing settings have their defaults.

    Raises:
      InputError: the tree names an unknown setting or has an invalid value.
    """
    config = Config()
    known = {name for name, *_ in fields(config)}
    for name, value in _flatten(tree):
        if name not in known:
            raise InputError(f"config.{name} is not a setting of this version of jaxml")
        assign(config, name, tuple(value) if isinstance(value, list) else value)
    check(config)
    return config


def value(config: Config, name: str) -> Any:
    """Returns a setting by its dotted name."""
    return functools.reduce(getattr, name.split("."), config)


def assign(config: Config, name: str, value: Any) -> None:
    """Sets a setting by its dotted name."""
    *parents, field = name.split(".")
    setattr(functools.reduce(getattr, parents, config), field, value)


def differences(config: Config, stored: Mapping[str, Any]) -> list[str]:
    """Lists the settings that do not allow a run to resume with another config.

    Args:
      config: the config with which to resume.
      stored: the config of the run as nested dictionaries; missing settings have their defaults.

    Returns:
      A phrase for each such setting.

    Example:
      >>> differences(Config(seed=1, num_epochs=40), dataclasses.asdict(Config()))
      ['config.seed is 0 there, 1 here']
    """
    rules = {name: field.metadata["resume"] for name, field, _ in fields(config)}
    here = dict(_flatten(json.loads(to_json(config))))
    there = dict(_flatten(json.loads(to_json(Config()))))
    there |= _flatten(json.loads(json.dumps(stored)))  # JSON turns tuples into lists
    return [
        f"config.{name} is {there[name]} there, {here.get(name, 'not a setting')} here"
        for name in there
        if not _may_resume(rules.get(name, "same"), there[name], here.get(name))
    ]


def describe(config: Config) -> str:
    """Lists every setting with its value, help text and allowed values, for `--help`."""
    return "\n".join(
        f"  --config.{name}={value!r}\n      {field.metadata['doc']} Must be {rule(field)}."
        for name, field, value in fields(config)
    )


def _may_resume(resume: str, there: Any, here: Any) -> bool:
    if resume == "raised":
        return isinstance(there, int) and here >= there
    return resume == "any" or there == here


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
