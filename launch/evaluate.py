"""Evaluates a checkpoint of a run: python -m launch.evaluate --workdir=DIR --checkpoint=best.

Prints the metrics, with bootstrap intervals and calibration, and a table of the classes.
--config.data.FIELD=VALUE evaluates other data than those of the run. Several runs, separated by
commas, make a table, which --output=FILE.csv stores.
"""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from jaxml import _cpu
from jaxml import config as settings
from jaxml.config import Config, user_path
from jaxml.errors import InputError
from launch import cache, cli
from launch.outputs import check_new, write_text

WORKDIR = flags.DEFINE_list("workdir", [], "folder of the run, or of several, with commas between")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "newest",
    cli.CHECKPOINT_HELP,
)
DATA_DIR = flags.DEFINE_string("data_dir", "", "same as --config.data.dir")
OUTPUT = flags.DEFINE_string("output", "", "file to write: .json, or .csv with a row for each run")
OVERWRITE = flags.DEFINE_boolean("overwrite", False, "replace a file that exists")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    0,
    "examples in a batch, halved while memory does not suffice; 0 is that of the run",
    0,
)
TTA = flags.DEFINE_boolean("tta", False, "average the outputs of each image and its mirror image")
CORRUPTIONS = flags.DEFINE_list(
    "corruptions",
    [],
    "noise, blur, brightness, contrast, jpeg, or all: accuracy at five severities",
)
PROBE = flags.DEFINE_list(
    "probe",
    [],
    "intermediate results, such as features or stage2, to which a linear SVM is fitted, to compare "
    "its accuracy with that of the head",
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
MOST_CLASSES = 50  # that are printed


def main() -> None:
    """Prints and stores the metrics on the evaluation set."""
    if not WORKDIR.value:
        raise InputError("--workdir must be given")
    output = user_path(OUTPUT.value) if OUTPUT.value else None
    if output is not None:
        if output.suffix not in (".json", ".csv"):
            raise InputError(f"--output must end in .json or .csv, got {OUTPUT.value!r}")
        check_new("--output", output, overwrite=OVERWRITE.value)
    if cli.names_config():
        raise InputError("--config must not be given: the config is that of the run")
    if wrong := [name for name in cli.overrides() if not _is_data(name)]:
        raise InputError(f"--config.{wrong[0]} must not be given: only the data may change")
    cache.keep_compiled(None, os.environ)  # heeds the folder that a variable names
    _cpu.tune(os.environ)
    results = {}
    for name in WORKDIR.value:
        results[name] = _assess(user_path(name))
        _print(name, results[name], headed=len(WORKDIR.value) > 1)
    if output is not None:
        rows = [{"workdir": name, **result} for name, result in results.items()]
        if output.suffix == ".csv":
            write_text(output, _csv(rows))
        else:
            write_text(output, json.dumps(rows if len(rows) > 1 else rows[0], indent=1) + "\n")


def _is_data(name: str) -> bool:
    return name.startswith("data.")


def _assess(workdir: Path) -> dict[str, Any]:
    from jaxml.data.corruptions import CORRUPTIONS as KNOWN
    from jaxml.errors import choose
    from jaxml.training import assess, load_subject, probe  # imports JAX, so after the flags
    from jaxml.training.trained import check_tap

    names = list(KNOWN) if CORRUPTIONS.value == ["all"] else CORRUPTIONS.value
    for name in names:
        choose(KNOWN, name, "--corruptions")
    subject = load_subject(workdir, CHECKPOINT.value, change=_change, flip=TTA.value)
    for tap in PROBE.value:
        check_tap(subject.network, tap, "--probe")
    size = BATCH_SIZE.value or None
    result = assess(
        subject,
        corruptions=names,
        real_labels=user_path(REAL_LABELS.value) if REAL_LABELS.value else None,
        classes=user_path(CLASSES.value) if CLASSES.value else None,
        batch_size=size,
        say=lambda text: print(text, flush=True),
    )
    if PROBE.value:
        result["probes"] = [probe(subject, tap, batch_size=size) for tap in PROBE.value]
    return result


def _change(config: Config) -> None:
    """Sets the data that the command line names."""
    _, given = cli.config()
    for name in cli.overrides():
        settings.assign(config, name, settings.value(given, name))
    if DATA_DIR.value:
        config.data.dir = DATA_DIR.value


def _print(name: str, result: Mapping[str, Any], *, headed: bool) -> None:
    if headed:
        print(f"\n{name}")
    for key, value in result.items():
        if isinstance(value, str | int | float):
            print(f"{key}: {value}")
    for key, (low, high) in result["intervals"].items():
        print(f"{key}, 95% interval: {low:.4f} to {high:.4f}")
    classes = result.get("classes", [])
    if classes and len(classes) <= MOST_CLASSES:
        width = max(5, *(len(row["class"]) for row in classes))
        print(f"\n{'class':{width}}  precision  recall      f1  support")
        for row in classes:
            print(
                f"{row['class']:{width}}  {row['precision']:9.4f}  {row['recall']:6.4f}  "
                f"{row['f1']:6.4f}  {row['support']:7}"
            )
    for key, accuracies in result.get("corruptions", {}).items():
        print(f"{key}: accuracy " + ", ".join(f"{value:.4f}" for value in accuracies))
    for found in result.get("probes", []):
        print(
            f"probe at {found['tap']}: accuracy {found['probe_accuracy']:.4f}, head "
            f"{found['head_accuracy']:.4f}; on the training set "
            f"{found['probe_train_accuracy']:.4f} and {found['head_train_accuracy']:.4f}; "
            f"certified relative gap {found['relative_gap']:.1e}"
        )


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of the single numbers of all runs."""
    from jaxml.training.assessment import scalars

    table = [scalars(row) for row in rows]
    names = list(dict.fromkeys(name for row in table for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return stream.getvalue()


if __name__ == "__main__":
    cli.run(main, config="configs/digits_resnet20v1.py")
