"""Trains a network: python -m launch.train --config=configs/NAME.py --workdir=DIR.

Any setting is overridden as --config.FIELD=VALUE. The same command goes on where it was stopped.
"""

import time
from pathlib import Path

from absl import flags

from launch import cli

WORKDIR = flags.DEFINE_string(
    "workdir", "", "folder of the run; by default a new one under runs/, named when it starts"
)


def main() -> None:
    """Trains by the flags."""
    from jaxml.train import train_and_evaluate  # after the flags, for it takes a second to import

    name, config = cli.config()
    workdir = Path(WORKDIR.value or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    print(f"run in {workdir}", flush=True)
    train_and_evaluate(config, workdir)


if __name__ == "__main__":
    cli.run(main, config="configs/digits_resnet20v1.py")
