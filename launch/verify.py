"""Replays the last steps of a run: python -m launch.verify --workdir=DIR [--steps=K].

Compares the state bit for bit with the newest checkpoint. --other=DIR2 finds the first checkpoint
in which two runs of the same config differ. Nothing is written. The status is 1 if states differ.
"""

import os
import sys

from absl import flags

from jaxml import _cpu
from jaxml.config import user_path
from jaxml.errors import InputError
from jaxml.training.workdir import read_config
from launch import cli

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
STEPS = flags.DEFINE_integer(
    "steps", None, "least number of steps to replay; by default those after the last but one "
    "checkpoint", 1
)  # fmt: skip
OTHER = flags.DEFINE_string("other", "", "folder of another run of the same config")


def main() -> None:
    """Prints a line for each comparison."""
    if not WORKDIR.value:
        raise InputError("--workdir must be given")
    if OTHER.value and STEPS.value is not None:
        raise InputError("--steps must not be given with --other")
    workdir = user_path(WORKDIR.value)
    config = read_config(workdir)
    _cpu.tune(os.environ, xla_flags=config.cpu.xla_flags)  # as in the run
    from jaxml.training import compare_runs, verify_run  # imports JAX, which reads the environment

    if OTHER.value:
        result = compare_runs(workdir, user_path(OTHER.value))
    else:
        result = verify_run(workdir, STEPS.value)
    print("\n".join(result.lines))
    sys.exit(0 if result.is_equal else 1)


if __name__ == "__main__":
    cli.run(main)
