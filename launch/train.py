"""Trains a network: python -m launch.train --config=configs/NAME.py --workdir=DIR.

Any setting is overridden as --config.FIELD=VALUE. The same command goes on where it was stopped.
"""

import time
from pathlib import Path

from absl import flags

from launch import cli

CONFIG = cli.define_config("configs/digits_resnet20v1.py")
WORKDIR = flags.DEFINE_string(
    "workdir", "", "folder of the run; by default a new one under runs/, named when it starts"
)


def main() -> None:
    """Trains by the flags."""
    from jaxml.train import train_and_evaluate  # after the flags, for it takes a second to import

    workdir = Path(WORKDIR.value or _new_workdir())
    print(f"run in {workdir}", flush=True)
    train_and_evaluate(CONFIG.value, workdir)


def _new_workdir() -> str:
    name = Path(flags.FLAGS["config"].config_filename.split(":")[0]).stem
    return f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"


if __name__ == "__main__":
    cli.run(main)
