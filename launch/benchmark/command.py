"""Environment of the project's commands, which benchmarks start as users do."""

import os

from launch import cli


def environment() -> dict[str, str]:
    """Returns the environment of this process, with the project on `PYTHONPATH`."""
    path = os.pathsep.join(filter(None, (str(cli.ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path}
