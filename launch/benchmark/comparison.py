"""Compares jaxml with other libraries, one batch size after another."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from jaxml.models import MODELS, network_class
from launch.benchmark import competitors
from launch.benchmark.ceilings import COPY, PRODUCT
from launch.benchmark.competitors import OURS
from launch.benchmark.measurements import (
    Measurements,
    achieved,
    achieved_text,
    ceilings,
    flops_table,
    summarize,
    table,
)
from launch.benchmark.rounds import rounds
from launch.benchmark.settings import Settings
from launch.benchmark.task import CHANNELS, Task, cores
from launch.benchmark.worker import About, Worker, WorkerError

# Warm-up calls, which are not timed. Operations with long calls warm up while they are prepared.
WARM_UP = {"train_step": 3, "inference": 3, "conv": 3}


def compare(settings: Settings) -> dict[str, Any]:
    """Prints a table for each batch size; returns all measurements.

    Raises:
      WorkerError: jaxml cannot be timed.
    """
    results, about = [], {}
    for name, reason in _left_out(settings, settings.task(settings.batch_sizes[0])).items():
        print(f"{name}: omitted, {reason}", flush=True)
    for batch_size in settings.batch_sizes:
        task = settings.task(batch_size)
        found, about = (_compile if task.what == "compile" else _in_turns)(settings, task)
        results += [{"batch_size": batch_size, **result} for result in found]
    versions = {key: value for each in about.values() for key, value in each.versions.items()}
    return {"device": about[OURS].device, "versions": versions, "results": results}


def names(settings: Settings, task: Task) -> list[str]:
    """Returns the names of jaxml and of the other libraries that can perform the task."""
    ours = [OURS]
    fields = dataclasses.fields(network_class(MODELS[task.model]))
    if task.what == "compile" and "scan" in {field.name for field in fields}:
        ours.append("jaxml_scan")
    left_out = _left_out(settings, task)
    return ours + [peer for peer in dict.fromkeys(settings.peers) if peer not in left_out]


def _entries(settings: Settings, task: Task) -> dict[str, tuple[str, Task]]:
    """Returns the competitor and the task of each line of a table."""
    entries = {name: (name, task) for name in names(settings, task)}
    for devices in settings.devices[1:]:
        label = f"{devices} device{'s' * (devices > 1)}"
        entries[label] = (OURS, dataclasses.replace(task, devices=devices))
    return entries


def _left_out(settings: Settings, task: Task) -> dict[str, str]:
    reasons = {peer: competitors.unsupported_reason(peer, task) for peer in settings.peers}
    return {peer: reason for peer, reason in reasons.items() if reason}


def _in_turns(settings: Settings, task: Task) -> tuple[list[Measurements], dict[str, About]]:
    """Times each operation of a task, with one process for each competitor."""
    with contextlib.ExitStack() as stack:
        workers = _start(_entries(settings, task), stack)
        about = {name: worker.about for name, worker in workers.items()}
        print(_title(task, about[OURS].device), flush=True)
        ours, work = workers[OURS], about[OURS].operations
        found: dict[str, dict[str, Measurements]] = {}
        for operation in work:
            if operation not in (PRODUCT, COPY):
                found[operation] = _time(settings, task, workers, operation)
        limits = ceilings(
            {name: [ours.seconds(name) for _ in range(5)] for name in (PRODUCT, COPY)}, work
        )
    results = []
    for operation, line in found.items():
        reached = achieved(work[operation], line[OURS]["median_seconds"], limits)
        results.append(
            {"operation": operation, "competitors": line, "ceilings": limits, "achieved": reached}
        )
    if task.what == "conv":
        print("\n".join(flops_table(found, work, limits)), flush=True)
    else:
        print("\n".join(table(found[task.what], base=OURS)))
        print(achieved_text(results[0]["achieved"], limits, base=OURS), flush=True)
    return results, about


def _start(
    entries: Mapping[str, tuple[str, Task]], stack: contextlib.ExitStack
) -> dict[str, Worker]:
    workers = {}
    for name, (competitor, task) in entries.items():
        try:
            workers[name] = stack.enter_context(_worker(competitor, task))
        except WorkerError as error:
            if name == OURS:
                raise WorkerError(f"{name}: {error}") from None
            print(f"{name}: omitted, {error}", flush=True)
    return workers


def _time(
    settings: Settings, task: Task, workers: dict[str, Worker], operation: str
) -> dict[str, Measurements]:
    def seconds_of(name: str) -> float:
        return workers[name].seconds(operation)

    well = rounds(workers, seconds_of, WARM_UP.get(task.what, 0))
    taken = rounds(well, seconds_of, settings.rounds)
    for name in workers.keys() - taken.keys():  # their processes have ended
        del workers[name]
    return summarize(taken, base=OURS, images=task.counted)


def _compile(settings: Settings, task: Task) -> tuple[list[Measurements], dict[str, About]]:
    """Times compilation, in a new process each time, because later ones are faster."""
    about: dict[str, About] = {}

    def seconds_of(name: str) -> float:
        with _worker(name, task) as worker:
            about[name] = worker.about
            return worker.seconds("compile")

    taken = rounds(names(settings, task), seconds_of, settings.rounds)
    found = summarize(taken, base=OURS, images=0)
    print(_title(task, about[OURS].device))
    print("\n".join(table(found, base=OURS)), flush=True)
    return [{"operation": "compile", "competitors": found}], about


def _worker(name: str, task: Task) -> Worker:
    return Worker(functools.partial(competitors.prepare, name, task))


def _title(task: Task, device: str) -> str:
    where = f"{device}, {cores()} cores"
    what = "a training step compiled" if task.what == "compile" else task.what
    shape = "x".join(map(str, (task.batch_size, task.image_size, task.image_size, CHANNELS)))
    if task.what == "conv":
        return f"3x3 convolutions, batch {task.batch_size}, {task.precision}, {where}"
    return f"{task.model}, {what}, {shape}, {task.precision}, {where}"
