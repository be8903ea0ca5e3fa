"""Switches of the fast paths: environment variables, and the config of the current run."""

import os
from collections.abc import Mapping

ONEDNN, XLA_FLAGS = "JAXML_ONEDNN", "JAXML_XLA_FLAGS"
_OFF = {"0", "false", "no", "off"}
_config = {ONEDNN: True}


def configure(*, onednn: bool) -> None:
    """Switches oneDNN on or off in the programs that this process compiles from now on."""
    _config[ONEDNN] = onednn


def is_on(variable: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether neither the environment nor the config switches a fast path off.

    >>> is_on("JAXML_XLA_FLAGS", {"JAXML_XLA_FLAGS": "0"})
    False
    """
    return environment.get(variable, "").lower() not in _OFF and _config.get(variable, True)
