"""Predicts classes: python -m launch.predict --workdir=DIR --input=PATH --output=FILE.csv.

The input is an image, a folder of images, a list of paths (.csv, .tsv, .jsonl, .txt), or an array
(.npy, .npz). Each input becomes a row with the most probable classes and their probabilities, or
with the error of a damaged image. The data of the run are not needed.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from absl import flags

from jaxml import _cpu
from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cache, cli, tables
from launch.outputs import check_new

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "newest",
    cli.CHECKPOINT_HELP,
)
INPUT = flags.DEFINE_string("input", "", "image, folder, list or array")
COLUMN = flags.DEFINE_string("image_column", "image", "column or array of the input with images")
OUTPUT = flags.DEFINE_string("output", "", "file to write: .csv, .jsonl or .parquet")
OVERWRITE = flags.DEFINE_boolean("overwrite", False, "replace a file that exists")
TOP = flags.DEFINE_integer("top", 5, "number of classes in a row", 1)
FEATURES = flags.DEFINE_string(
    "features",
    "",
    "intermediate result, such as features or stage1, to write instead of predictions, to an .npz "
    "file with the arrays images (names), features, damaged (names) and errors",
)
EXPLAIN = flags.DEFINE_string(
    "explain",
    "",
    "folder for a picture of each image: the image, and the pixels that its most probable class "
    "depends on by input gradient, integrated gradients and Grad-CAM",
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "number of examples in a batch", 1)


def main() -> None:
    """Writes the predictions."""
    for flag in (WORKDIR, INPUT, OUTPUT):
        if not flag.value:
            raise InputError(f"--{flag.name} must be given")
    output, suffixes = user_path(OUTPUT.value), [".npz"] if FEATURES.value else [*tables.WRITERS]
    if output.suffix not in suffixes:
        raise InputError(f"--output must end in {', '.join(suffixes)}, got {OUTPUT.value!r}")
    check_new("--output", output, overwrite=OVERWRITE.value)
    if FEATURES.value and EXPLAIN.value:
        raise InputError("--explain must be unset with --features")
    cache.keep_compiled(cache.user_folder(os.environ), os.environ)
    _cpu.tune(os.environ)
    from jaxml.data.inputs import list_inputs  # imports JAX, so after the flags
    from jaxml.training import load_network, predict
    from jaxml.training.trained import check_tap

    inputs = list_inputs(user_path(INPUT.value), column=COLUMN.value)
    network = load_network(user_path(WORKDIR.value), CHECKPOINT.value)
    if FEATURES.value:
        check_tap(network, FEATURES.value, "--features")
    print(network, file=sys.stderr)
    predictions = predict(network, inputs, tap=FEATURES.value or None, batch_size=BATCH_SIZE.value)
    if EXPLAIN.value:
        predictions = _explained(network, predictions, user_path(EXPLAIN.value))
    predictions = _counted(predictions)
    if FEATURES.value:
        tables.write_features(output, predictions)
        return
    top = min(TOP.value, max(len(network.class_names), 1))
    columns = _columns(network.class_names, top)
    with tables.WRITERS[output.suffix](output, columns) as write:
        for one in predictions:
            write(_row(one, network.class_names, top))


def _columns(class_names: tuple[str, ...], top: int) -> dict[str, type]:
    """Returns the types of the columns by name."""
    columns: dict[str, type] = {"image": str}
    if class_names:
        for rank in range(1, top + 1):
            columns |= {f"class_{rank}": str, f"probability_{rank}": float}
    else:
        columns["value"] = float
    return columns | {"error": str}


def _row(one: Any, class_names: tuple[str, ...], top: int) -> dict[str, Any]:
    row: dict[str, Any] = {"image": one.name}
    if one.error:
        return row | {"error": one.error}
    if not class_names:
        return row | {"value": float(one.values[0])}
    order = (-one.values).argsort(kind="stable")[:top]  # of ties, the first class
    for rank, number in enumerate(order, start=1):
        row |= {
            f"class_{rank}": class_names[number],
            f"probability_{rank}": float(one.values[number]),
        }
    return row


def _counted(predictions: Iterable[Any]) -> Iterator[Any]:
    """Shows the progress, and prints the number of inputs and of damaged ones at the end."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    count, damaged, begin = 0, 0, time.perf_counter()
    bar = Progress(
        TextColumn("images"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None, rate="")
        for one in predictions:
            yield one
            count += 1
            damaged += bool(one.error)
            if one.error and damaged <= 10:
                console.print(f"warning: {one.name}: {one.error}", markup=False)
            speed = count / (time.perf_counter() - begin)
            bar.update(task, advance=1, rate=f"{speed:,.0f}/s")
    seconds = time.perf_counter() - begin
    print(f"{count:,} inputs in {seconds:.1f} s, {damaged} damaged", file=sys.stderr)


def _explained(network: Any, predictions: Iterable[Any], folder: Path) -> Iterator[Any]:
    """Writes a picture of each undamaged image."""
    import jax
    import numpy as np

    from jaxml.training import explain
    from launch.pictures import attribution_strip

    if folder.exists() and not folder.is_dir():
        raise InputError(f"--explain: {folder}: is not a folder")
    compute = jax.jit(explain)
    for one in predictions:
        if not one.error:
            chosen = np.asarray([one.values.argmax()], np.int32)
            maps = jax.device_get(compute(network, one.example[None], chosen))
            path = folder / f"{one.name}.png"
            if not path.resolve().is_relative_to(folder.resolve()):  # a list may name ../x.png
                path = folder / (one.name.replace("/", "_").lstrip(".") + ".png")
            if path.exists() and not OVERWRITE.value:
                raise InputError(f"--explain: {path}: exists; --overwrite replaces it")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                attribution_strip(one.example, [heat[0] for heat in maps.values()]).save(path)
            except OSError as error:
                raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        yield one


if __name__ == "__main__":
    cli.run(main)
