"""Times the start of a training run, from the command to the first step."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from launch import cache
from launch.benchmark import command
from launch.benchmark.measurements import summarize, table
from launch.benchmark.settings import Settings
from launch.benchmark.worker import WorkerError

COLD, WARM = "jaxml_cold", "jaxml_warm"
COMMAND = (sys.executable, "-m", "launch.train")


def startup(settings: Settings) -> dict[str, Any]:
    """Times starts of `launch.train` with an empty compilation cache and with a filled one.

    Raises:
      WorkerError: the command ended before its first step.
    """
    taken: dict[str, list[float]] = {COLD: [], WARM: []}
    for _ in range(settings.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name in taken:
                taken[name].append(_seconds(Path(folder), name))
    found = summarize(taken, base=COLD, images=0)
    print("python -m launch.train, from the command to the first step")
    print("\n".join(table(found, base=COLD)), flush=True)
    return {
        "device": "",
        "versions": {"jax": jax.__version__},
        "results": [{"operation": "startup", "competitors": found}],
    }


def _seconds(folder: Path, name: str) -> float:
    """Returns the seconds of one start.

    Args:
      folder: folder of the runs and of the compilation cache.
      name: name of the run.
    """
    environment = command.environment()
    environment.pop(cache.FOLDER, None)  # a shared cache would make every start warm
    metrics = folder / name / "metrics.jsonl"
    start = time.time()
    process = subprocess.Popen(  # noqa: S603
        [*COMMAND, f"--workdir={metrics.parent}"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while (lines := _whole_lines(metrics)) == [] and process.poll() is None:
            time.sleep(0.005)
        end = time.time()
    finally:
        process.kill()
        _, errors = process.communicate()
    if not lines:
        reason = errors.strip().splitlines() or ["without a message"]
        raise WorkerError(f"the training command ended: {reason[-1]}")
    return end - start - _seconds_after_first_step(json.loads(lines[0]))


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _seconds_after_first_step(line: dict[str, Any]) -> float:
    """Returns the seconds of all steps of the first epoch except the first step.

    >>> line = {"step": 4, "count": 400, "images_per_second": 100.0}
    >>> _seconds_after_first_step(line)
    3.0
    """
    return line["count"] / line["images_per_second"] * (1 - 1 / line["step"])
