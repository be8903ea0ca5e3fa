"""Proves once per build of jaxlib and model of CPU that a fast path works, in a child process.

An unknown XLA flag ends the process, and a broken call might never return. The child runs `_child`
with every fast path switched off, so it starts no child of its own.

Each outcome is a JSON file in `$XDG_CACHE_HOME/jaxml/cpu` (`~/.cache` by default). The name of the
file depends on everything that the outcome does. A failure is tried again after a day, as it may be
due to a machine that was busy or out of memory. A file that cannot be read or written only costs
another proof.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from jaxml._cpu import _switches
from jaxml.io import atomic, cache, process

LIMIT_S = 120.0
FAILURE_LASTS_S = 24 * 3600.0
_PROGRAM = ("-m", "jaxml._cpu._child")
PASSED = "passed"  # a word in the output of a child
# The fast paths that are not XLA flags, and their names in messages.
ONEDNN, PARTITION = "onednn", "onednn-partition"
NAMES = {ONEDNN: "oneDNN convolution", PARTITION: "oneDNN convolution on several devices"}
# Properties of a CPU in /proc/cpuinfo that select the instructions of a program.
_CPU = re.compile(
    r"(vendor_id|cpu family|model|model name|stepping|flags|Features|CPU \w+)\s*:.*", re.ASCII
)

_logger = logging.getLogger("jaxml")
_lock = threading.Lock()


class Outcome(NamedTuple):
    """Outcome of a proof.

    Attributes:
      reason: why the fast path is not used; empty if it works.
      time: when it was tried, in seconds since the epoch.
    """

    reason: str
    time: float


def onednn_applies() -> bool:
    """Returns whether jaxlib may contain oneDNN: its builds for Linux on x86 do."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def onednn_works(devices: int = 1) -> bool:
    """Returns whether oneDNN's convolution is switched on and works here; tries it once.

    Args:
      devices: number of devices of the program.
    """
    if not (_switches.is_on(_switches.ONEDNN) and onednn_applies()):
        return False
    names = [ONEDNN] if devices == 1 else [ONEDNN, PARTITION]
    return all(not outcome(name).reason for name in names)


def flag_works(flag: str) -> bool:
    """Returns whether XLA knows a flag and computes correctly with it; tries it once."""
    return not outcome(flag).reason


def outcome(name: str) -> Outcome:
    """Returns the outcome of a fast path, of `NAMES` or an XLA flag; logs a line if it failed."""
    with _lock:  # programs may be lowered concurrently
        return _outcome(name)


def cache_file(name: str) -> Path | None:
    """Returns the file with the outcome of a fast path; None for a user without a home folder."""
    folder = cache.folder("cpu")
    if folder is None:
        return None
    label = re.sub(r"\W+", "-", name).strip("-")
    return folder / f"{label}-{_identity()[:16]}.json"


def forget(name: str) -> None:
    """Forgets an outcome, so that the fast path is tried again."""
    _outcome.cache_clear()
    if file := cache_file(name):
        with contextlib.suppress(OSError):
            file.unlink()


@functools.cache
def _outcome(name: str) -> Outcome:
    found = _read(name)
    if found is None:
        found = Outcome(_try(name), time.time())
        _write(name, found)
    if found.reason:
        _logger.warning(
            "%s is not used, programs are slower: %s; `python -m launch.doctor` explains",
            NAMES.get(name, name),
            found.reason,
        )
    return found


def _read(name: str) -> Outcome | None:
    file = cache_file(name)
    if file is None:
        return None
    try:
        entry = json.loads(file.read_text())
        found = Outcome(str(entry["reason"]), float(entry["time"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    is_stale = found.reason and not 0 <= time.time() - found.time < FAILURE_LASTS_S
    return None if is_stale else found


def _write(name: str, found: Outcome) -> None:
    file = cache_file(name)
    if file is None:
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(file, json.dumps({"path": name, **found._asdict()}).encode())


def _try(name: str) -> str:
    """Runs the child process, and returns the reason of a failure or an empty string."""
    try:
        output = process.run(
            [*_PROGRAM, name], limit_s=LIMIT_S, environment=_child_environment(name)
        )
    except process.ChildError as error:
        return str(error)
    return "" if PASSED in output.split() else "the child process did not finish"


def _child_environment(name: str) -> dict[str, str]:
    """Returns this process's environment without variables that change what a child does."""
    dropped = ("JAX_", "XLA_", "PYTHONWARNINGS")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return kept | {
        "JAX_PLATFORMS": "cpu",
        "JAX_TRACEBACK_FILTERING": "off",  # its notes would follow the message
        "XLA_FLAGS": name if name.startswith("--") else "",
        _switches.ONEDNN: "0",
        _switches.XLA_FLAGS: "0",
    }


@functools.cache
def _identity() -> str:
    """Returns a digest of everything that an outcome depends on."""
    settings = sorted(
        item for item in os.environ.items() if item[0].startswith(("ONEDNN_", "DNNL_"))
    )
    parts = [
        *(_build(name) for name in ("jax", "jaxlib")),
        platform.machine(),
        _cpu_model(),
        repr(settings),
        *(file.read_text() for file in sorted(Path(__file__).parent.glob("*.py"))),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _build(name: str) -> str:
    """Returns the version of a library and the digests of its files."""
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    return f"{installed.version}\n{installed.read_text('RECORD')}"


def _cpu_model() -> str:
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return platform.processor()
    return "\n".join(match[0] for match in map(_CPU.fullmatch, first.splitlines()) if match)
