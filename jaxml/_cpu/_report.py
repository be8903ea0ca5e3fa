"""Describes the fast paths, for `python -m launch.doctor`."""

import os
from collections.abc import Iterator

from jaxml._cpu import _proof, _switches, _tuning


def report(*, again: bool = False) -> Iterator[tuple[str, str]]:
    """Yields the name and the state of each fast path; tries those without a cached outcome.

    Args:
      again: whether to try all of them, ignoring the cache.
    """
    onednn = _off(_switches.ONEDNN)
    if not _proof.onednn_applies():
        onednn = "off: jaxlib contains oneDNN only on Linux for x86-64"
    for path, name in _proof.NAMES.items():
        yield name, onednn or _state(path, again=again)
    flags_off = _off(_switches.XLA_FLAGS)
    if _tuning.has_accelerator():
        flags_off = "off: JAX has a plugin for an accelerator"
    for flag in _tuning.XLA_OPTIONS:
        yield _tuning.name_of(flag), flags_off or _state(flag, again=again)


def _off(variable: str) -> str:
    return "" if _switches.is_on(variable) else f"off: {variable}={os.environ.get(variable)}"


def _state(name: str, *, again: bool) -> str:
    if again:
        _proof.forget(name)
    reason = _proof.outcome(name).reason
    return f"{f'off: {reason}' if reason else 'on'} (cached in {_proof.cache_file(name)})"
