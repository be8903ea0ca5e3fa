"""The circumstances of a run: its command, code, versions and hardware."""

import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from jaxml.io import memory

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
_ROOT = Path(__file__).parent.parent.parent


def environment() -> dict[str, Any]:
    """Returns the command, the time, the versions, the git commit and the hardware as JSON.

    `commit` and `clean` are None outside of a git checkout; `clean` is whether the tracked files
    are those of the commit.

    >>> sorted(environment())
    ['clean', 'command', 'commit', 'hardware', 'started', 'versions']
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "command": shlex.join(sys.orig_argv),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "clean": None if changes is None else not changes,
        "versions": {"python": platform.python_version(), **_versions()},
        "hardware": _hardware(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    """Returns what git prints about this code, or None if it is not in a checkout of its own."""
    if not (_ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            ["git", "-C", str(_ROOT), *arguments],  # noqa: S607 (git of the user)
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _hardware() -> str:
    """Returns the kind and the number of the processors, and the memory of the host."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, StopIteration):
        return f"{os.cpu_count()} CPUs ({platform.machine()})"
    return f"{os.cpu_count()} x {name}, {memory.in_words(total)}"
