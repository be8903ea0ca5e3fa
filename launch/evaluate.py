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


REAL_LABELS = flags.DEFINE_string(
    "real_labels",
    "",
    "JSON file with the valid labels of each evaluation image, such as ImageNet's real.json: a "
    "list of lists of class numbers in the order of the file names, or an object from file names "
    "to lists; prints real_accuracy, without the images that have no label",
)
CLASSES = flags.DEFINE_string(
    "classes",
    "",
    "text file with the name or number of a class in each line; prints classes_accuracy, of the "
    "images and logits of these classes alone",
)


def main() -> None:
    """Prints the metrics on the evaluation set of the run."""
    _cpu.tune(os.environ)
    from jaxml.training import evaluate_checkpoint  # imports JAX, so after the flags

    metrics = evaluate_checkpoint(
        user_path(WORKDIR.value),
        CHECKPOINT.value,
        real_labels=user_path(REAL_LABELS.value) if REAL_LABELS.value else None,
        classes=user_path(CLASSES.value) if CLASSES.value else None,
    )
    for name, value in metrics.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    cli.run(main)
