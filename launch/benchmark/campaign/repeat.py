"""Checks whether two equal runs end in equal parameters, and finds where they diverge."""

import hashlib
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

from launch import cache
from launch.benchmark.campaign.report import Report
from launch.benchmark.campaign.timing import environment

# The same algorithms and the same order of summation in every run.
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
NAMES = {
    "digits": ("compiled by each",),
    "resnet20v1": ("compiled by each", "compiled once", "deterministic"),
}
DRY = {"resnet20v1": ("deterministic",)}


def run(report: Report) -> None:
    """Compares pairs of processes: compiled separately, compiled once, and deterministic."""
    for what, ways in DRY.items() if report.dry else NAMES.items():
        for way in ways:
            report.attempt(f"{what}, {way}", lambda what=what, way=way: _compare(report, what, way))


def _compare(report: Report, what: str, way: str) -> None:
    label = f"{what}, {way}"
    folder = report.workdir / "repeat" / label.replace(", ", "-").replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.json" for number in range(2)]
    flags = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    variables = [
        {cache.FOLDER: str(folder / ("compiled" if way == "compiled once" else f"compiled{i}"))}
        | ({"XLA_FLAGS": flags} if way == "deterministic" else {})
        for i in range(2)
    ]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_write, args=(file, what, report.dry), daemon=True) for file in files
    ]
    for process, added in zip(processes, variables, strict=True):
        with environment(added):
            process.start()
        if way == "compiled once":
            process.join()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    if any(codes):
        raise RuntimeError(f"the processes ended with status {codes}")
    first, second = (json.loads(file.read_text()) for file in files)
    found = first_difference(first, second)
    report.note(**{label: {"steps": len(first), "difference": found}})
    report.say(f"{label}: {len(first)} steps: {found or 'equal, bit for bit'}")


def first_difference(first: list[dict[str, str]], second: list[dict[str, str]]) -> str:
    """Describes the first step after which digests differ, and the differing leaves.

    >>> first_difference([{"a": "0"}, {"a": "1", "b": "2"}], [{"a": "0"}, {"a": "3", "b": "2"}])
    'differ first after step 2, in 1 of 2 leaves: a'
    """
    for step, (one, other) in enumerate(zip(first, second, strict=True), start=1):
        leaves = [name for name in one if one[name] != other[name]]
        if leaves:
            listed = ", ".join(leaves[:4])
            return (
                f"differ first after step {step}, in {len(leaves)} of {len(one)} leaves: {listed}"
            )
    return ""


def _write(file: Path, what: str, dry: bool) -> None:
    """Trains and writes a digest of each parameter after each step."""
    import jax
    import numpy as np

    from jaxml.training import TrainCall, create_experiment, initial_state, jit_steps, read_weights

    experiment = create_experiment(_config(what, dry))
    steps_per_epoch, keys = experiment.sizes.steps_per_epoch, experiment.keys
    functions = jit_steps(experiment, [TrainCall(1)])
    state = initial_state(experiment, functions, read_weights(experiment))
    digests: list[dict[str, str]] = []
    steps = 2 if dry else 50
    order: Any = None
    for step in range(steps):
        if step % steps_per_epoch == 0:
            epoch = experiment.replicate(step // steps_per_epoch)
            order = functions.epoch_order(keys.order, epoch)
        state, *_ = functions.train[TrainCall(1)](state, experiment.train_data, order, keys.step)
        leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(state.params))
        digests.append(
            {
                jax.tree_util.keystr(path): hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()
                for path, leaf in leaves
            }
        )
    file.write_text(json.dumps(digests))


def _config(what: str, dry: bool) -> Any:
    """Returns the default config, or that of CIFAR-10 with random images."""
    from configs import cifar10_resnet20v1, digits_resnet20v1
    from launch.benchmark.competitors.ours import random_set
    from launch.benchmark.settings import Settings

    if what == "digits":
        config = digits_resnet20v1.get_config()
    else:
        config = cifar10_resnet20v1.get_config()
        config.batch_size = 8 if dry else 128
        size = 8 if dry else 32
        task = Settings(image_size=size).task(config.batch_size)
        config.data.name = random_set(task, train=50 * task.batch_size, test=256)
    if dry:
        config.model.name = "linear"
    return config
