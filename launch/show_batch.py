"""Shows a training batch of a run: python -m launch.show_batch --workdir=DIR --step=N.

Prints the index, label, file and crop of each example, and writes the augmented images as a grid.
"""

import math
from pathlib import Path

import numpy as np
from absl import flags

from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cli
from launch.outputs import check_output

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
STEP = flags.DEFINE_integer("step", 0, "index of the training step, from 0")
OUT = flags.DEFINE_string("out", "", "PNG file of the augmented images; by default none is written")


def main() -> None:
    """Prints the examples and writes the images."""
    if not WORKDIR.value:
        raise InputError("--workdir must be given")
    out = user_path(OUT.value) if OUT.value else None
    check_output("--out", out)
    from jaxml.training import inspect_batch  # imports JAX, so after the flags

    examples, inputs = inspect_batch(user_path(WORKDIR.value), STEP.value)
    if out is not None:
        _write_grid(out, inputs)
    for number, (example, label, name, box) in enumerate(examples):
        crop = f"  crop {','.join(map(str, box))}" if box else ""
        print(f"{number:4}  example {example:7}  label {label}  {name}{crop}".rstrip())


def _write_grid(path: Path, images: np.ndarray) -> None:
    """Writes images `[n, height, width, channels]` as one PNG, about as wide as high."""
    from jaxml.data._optional import require

    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise InputError(f"--out must be empty for examples that are no images, got {path}")
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, height, width, channels), np.uint8)
    grid[:count] = images
    grid = grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    pixels = grid.reshape(rows * height, columns * width, channels)
    image = require("PIL.Image", "pillow").fromarray(pixels[..., 0] if channels == 1 else pixels)
    try:
        image.save(path, "PNG")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


if __name__ == "__main__":
    cli.run(main)
