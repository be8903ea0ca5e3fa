"""Times SVM fits of jaxml and scikit-learn on the digits data set."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from jaxml.svm import files
from launch.benchmark import command
from launch.benchmark.settings import Settings
from launch.benchmark.worker import WorkerError

KERNELS = ("linear", "rbf")


def svm(settings: Settings) -> dict[str, Any]:
    """Runs `launch.bench_svm` for each kernel; returns the measurements of the fits.

    Raises:
      WorkerError: the command failed.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        train, result = Path(folder) / "train", Path(folder) / "result.json"
        x, y = load_digits(return_X_y=True)
        files.write_examples(train, np.float64(x), np.float64(y))
        for kernel in KERNELS:
            flags = (f"--kernel={kernel}", f"--repeats={settings.rounds}", f"--result={result}")
            _run(f"--train={train}", *flags)
            models = json.loads(result.read_text())
            results.append(
                {
                    "operation": f"{kernel} fit",
                    "competitors": {model["model"]: _measurements(model) for model in models},
                }
            )
    return {"device": "cpu", "versions": {}, "results": results}


def _run(*arguments: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "launch.bench_svm", *arguments],
        env=command.environment(),
        check=False,
    )
    if done.returncode:
        raise WorkerError(f"launch.bench_svm ended with status {done.returncode}")


def _measurements(model: dict[str, Any]) -> dict[str, Any]:
    """Converts the result of a fit to the names of the other benchmarks."""
    return {
        "median_seconds": model["fit_seconds"],
        "min_seconds": model["fit_min_seconds"],
        "max_seconds": model["fit_max_seconds"],
        "images_per_second": model["samples"] / model["fit_seconds"],
        "ratio": model["fit_ratio"],
    }
