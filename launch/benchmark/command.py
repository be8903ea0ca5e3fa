"""Commands of the project, started as a person starts them."""

import os

from launch import cli


def environment() -> dict[str, str]:
    """That of this process, with the project found from any folder."""
    path = os.pathsep.join(filter(None, (str(cli.ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path}
