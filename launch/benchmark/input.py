"""Compares the input pipeline of jaxml with torch's DataLoader, with the same number of workers."""

import contextlib
import functools
import importlib.util
from pathlib import Path
from typing import Any

from jaxml.errors import InputError
from launch.benchmark import loaders
from launch.benchmark.measurements import Measurements, summarize, table
from launch.benchmark.rounds import rounds
from launch.benchmark.settings import Settings
from launch.benchmark.task import cores
from launch.benchmark.worker import Worker

SIZE = 224  # by default


def input_speed(settings: Settings) -> dict[str, Any]:
    """Times passes over the images of a folder, repeated; returns all measurements.

    Raises:
      InputError: the folder has no images.
      WorkerError: jaxml cannot be timed.
    """
    files = _find(settings.data_dir)
    results: list[Measurements] = []
    versions: dict[str, str] = {}
    for batch_size in settings.batch_sizes:
        task = loaders.Input(
            files,
            settings.images // batch_size * batch_size,
            batch_size,
            settings.image_size or SIZE,
            settings.workers or cores(),
            settings.max_side,
        )
        found, about = _compare(settings, task)
        versions |= about
        result = {"batch_size": batch_size, "workers": task.workers, "files": len(files)}
        results.append({**result, "operation": "input", "competitors": found})
        print(
            f"{task.images} images of {len(files)} files, cropped to {task.size}, batch "
            f"{batch_size}, {task.workers} workers; jaxml_converted is reduced to "
            f"{task.max_side}, torch is normalized float32, the others are uint8"
        )
        print("\n".join(table(found, base=loaders.OURS)), flush=True)
    return {"device": f"{cores()} cores", "versions": versions, "results": results}


def _compare(
    settings: Settings, task: loaders.Input
) -> tuple[dict[str, Measurements], dict[str, str]]:
    names = [name for name in loaders.NAMES if "torch" not in name or _has_torch()]
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(functools.partial(loaders.prepare, name, task), daemon=False)
            )
            for name in names
        }

        def seconds_of(name: str) -> float:
            return workers[name].seconds("input")

        rounds(names, seconds_of, 1)  # starts processes and fills the cache of files
        taken = rounds(names, seconds_of, settings.rounds)
        about = [dict(worker.about.versions) for worker in workers.values()]
    versions = {name: version for each in about for name, version in each.items()}
    return summarize(taken, base=loaders.OURS, images=task.images), versions


def _find(folder: Path) -> tuple[str, ...]:
    """Returns the paths of the images in a folder and in the folders below it."""
    paths = sorted(folder.rglob("*"))
    found = tuple(str(path) for path in paths if path.suffix.lower() in loaders.SUFFIXES)
    if not found:
        raise InputError(
            f"--data_dir must contain images ({', '.join(loaders.SUFFIXES)}), got {str(folder)!r}"
        )
    return found


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
