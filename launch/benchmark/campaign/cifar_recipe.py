"""Trains ResNet-20 v1 on CIFAR-10 by its recipe, for several seeds."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jaxml.data.sources import cifar
from jaxml.errors import InputError
from launch import cli
from launch.benchmark import command
from launch.benchmark.campaign.report import Report

PUBLISHED = 0.9125  # He et al. 2015, table 6
SAVING = 15.0  # seconds before the time limit at which a run is stopped and saves its state
MOST_SEEDS = 8


def run(report: Report) -> None:
    """Trains one seed after another until the time limit.

    Raises:
      InputError: CIFAR-10 is missing.
    """
    if not report.dry and not any(_layouts(report.data_dir)):
        raise InputError(f"--data_dir must have CIFAR-10, got {report.data_dir}")
    took = 0.0
    for seed in range(1 if report.dry else MOST_SEEDS):
        # The first is always started: a later campaign with the same folder can resume it.
        if seed and report.left() < took + SAVING:
            report.say(f"seed {seed}: no time is left")
            break
        begin = time.monotonic()
        _train(report, seed)
        took = time.monotonic() - begin
    accuracies = [
        found["test_accuracy"] for found in report.measurements.values() if found.get("finished")
    ]
    if accuracies:
        mean = sum(accuracies) / len(accuracies)
        report.say(f"mean of {len(accuracies)} seeds {mean:.2%}, published {PUBLISHED:.2%}")


def _layouts(folder: Path) -> list[Path]:
    names = [name for layout in cifar.CIFAR10 for name in (layout.folder, layout.tarball)]
    return [folder / name for name in names if (folder / name).exists()]


def _train(report: Report, seed: int) -> None:
    """Runs `launch.train`; near the time limit, stops it, so that it saves its state."""
    workdir = report.workdir / "cifar10" / f"seed{seed}"
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "launch.train", *_arguments(report, seed), f"--workdir={workdir}"],
        cwd=cli.ROOT,
        env=command.environment(),
    )
    begin = time.monotonic()
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        if _last(workdir):
            report.note(**{f"seed {seed}": _measurements(workdir, time.monotonic() - begin)})
        if report.left() < SAVING and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    found = _measurements(workdir, time.monotonic() - begin)
    report.note(**{f"seed {seed}": found})
    state = "finished" if found["finished"] else f"ended with status {process.returncode}"
    if "test_accuracy" in found:
        report.say(
            f"seed {seed}: {state}, epoch {found['epoch']}, test accuracy "
            f"{found['test_accuracy']:.2%}, {found['wall_seconds']:.1f} s in all, "
            f"{found.get('train_images_per_second', 0):,.0f} images/s in the last epoch"
        )
    else:
        report.say(f"seed {seed}: {state} before its first evaluation")
    if process.returncode not in (0, 128 + signal.SIGTERM):
        report.fail(f"seed {seed}")


def _arguments(report: Report, seed: int) -> list[str]:
    if report.dry:
        overrides = {"num_epochs": "1", "seed": str(seed)}
        config = "configs/digits_pegasos.py"
    else:
        overrides = {"data.dir": str(report.data_dir), "seed": str(seed)}
        config = "configs/cifar10_resnet20v1.py"
    return [
        f"--config={cli.ROOT / config}",
        *(f"--config.{name}={value}" for name, value in overrides.items()),
    ]


def _measurements(workdir: Path, seconds: float) -> dict[str, Any]:
    """Returns the last metrics, and the content of result.json of a finished run."""
    result = workdir / "result.json"
    finished = result.is_file()
    return {
        "finished": finished,
        "wall_seconds": seconds,
        **_last(workdir),
        **(json.loads(result.read_text()) if finished else {}),
    }


def _last(workdir: Path) -> dict[str, Any]:
    """Returns the last epoch, accuracy and throughput in metrics.jsonl."""
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        for text in (workdir / "metrics.jsonl").read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the line is incomplete
                break
            if line.get("split") == "test":
                found |= {"epoch": line["epoch"], "test_accuracy": line["accuracy"]}
            elif line.get("split") == "train":
                found["train_images_per_second"] = line["images_per_second"]
    return found
