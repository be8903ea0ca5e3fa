"""Evaluates a checkpoint of a run: python -m launch.evaluate --workdir=DIR --checkpoint=best."""

import os

from absl import flags

from jaxml import _cpu
from jaxml.config import user_path
from launch import cli

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "newest",
    "newest, best, or the number of a step; the parameters of several checkpoints, separated by "
    "commas, are averaged",
)


def main() -> None:
    """Prints the metrics on the evaluation set of the run."""
    _cpu.tune(os.environ)
    from jaxml.training import evaluate_checkpoint  # imports JAX, so after the flags

    for name, value in evaluate_checkpoint(user_path(WORKDIR.value), CHECKPOINT.value).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    cli.run(main)
