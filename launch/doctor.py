"""Shows the installation and which fast paths of a CPU are in use: python -m launch.doctor.

A fast path that was never tried on this machine is tried now, which takes some seconds.
"""

import importlib.metadata
import os
import platform

from absl import flags

from jaxml import _cpu
from launch import cli

AGAIN = flags.DEFINE_boolean("again", False, "try the fast paths again, ignoring the cache")
LIBRARIES = ("jaxml", "jax", "jaxlib", "flax", "optax", "numpy")


def main() -> None:
    """Prints one line per fact."""
    rows = [("Python", f"{platform.python_version()} on {platform.platform()}")]
    rows += [(name, _version(name)) for name in LIBRARIES]
    rows += _cpu.report(again=AGAIN.value)
    _cpu.tune(os.environ)
    import jax  # reads the environment

    rows.append(("devices", ", ".join(f"{d.id}: {d.device_kind}" for d in jax.devices())))
    width = max(len(name) for name, _ in rows)
    for name, fact in rows:
        print(f"{name:{width}}  {fact}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    cli.run(main)
