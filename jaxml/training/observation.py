"""Lines at the start of a run, its observers, and the values that they receive."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxml.config import to_json
from jaxml.optim import scale_learning_rate
from jaxml.reporting.events import EventFile
from jaxml.reporting.observers import Observer, Observers
from jaxml.reporting.tracker import Tracker
from jaxml.training import hosts
from jaxml.training.compilation import StepFunctions
from jaxml.training.experiment import Experiment
from jaxml.training.findings import to_uint8
from jaxml.training.inspect import augmented_batch
from jaxml.training.norms import NORMS
from jaxml.types import PyTree

EVENTS = "events"


def announce(
    experiment: Experiment,
    compile_seconds: float,
    messages: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Prints a description of the run, its compile time, warnings and messages."""
    say(f"{experiment}, compiled in {compile_seconds:.1f} s")
    optim, num_epochs = experiment.config.optim, experiment.config.num_epochs
    if optim.warmup_epochs >= num_epochs:
        peak = scale_learning_rate(optim, experiment.sizes.batch_size).learning_rate
        say(
            f"warning: the learning rate never reaches {peak:g}: the warm-up takes "
            f"{optim.warmup_epochs:g} epochs, the run has {num_epochs}"
        )
    for message in messages:
        say(message)


def open_observers(
    experiment: Experiment, workdir: Path, step: int, say: Callable[[str], None]
) -> Observers:
    """Creates the observers that the config names, in process 0 alone.

    Args:
      experiment: the experiment.
      workdir: folder of the run.
      step: number of steps taken so far.
      say: receives a line about each failure.
    """
    log, create = experiment.config.log, dict[str, Callable[[], Observer]]()
    if log.tensorboard:
        create["TensorBoard"] = lambda: EventFile(workdir / EVENTS, first_step=step)
    if package := log.tracker:
        config = dataclasses.asdict(experiment.config)
        name = workdir.resolve().name
        create[package] = lambda: Tracker(package, project=log.project, name=name, config=config)
    return Observers(create if hosts.is_first() else {}, say=say)


def show_start(observers: Observers, experiment: Experiment, steps: StepFunctions) -> None:
    """Shows the config, and images of the first augmented batch, before the first step of a run."""
    log = experiment.config.log  # process 0 alone has observers, but all processes compute
    if not (observers or (jax.process_count() > 1 and (log.tensorboard or log.tracker))):
        return
    observers.text(0, "config", f"```json\n{to_json(experiment.config)}```")
    count = log.images
    shape = experiment.input_shape
    if count and len(shape) == 3 and shape[-1] in (1, 3):
        batch = augmented_batch(experiment, steps, 0)
        observers.images(0, "augmented_batch", to_uint8(batch.inputs[:count]))


def show_batch(observers: Observers, experiment: Experiment, step: int, metrics: Any) -> None:
    """Shows the metrics of one training batch, if they are due."""
    if step % experiment.config.log.every_steps == 0:
        means = experiment.learner.objective.compute(metrics)
        rate = float(experiment.schedule(step - 1))
        values = {f"batch/{name}": value for name, value in means.items() if name != "count"}
        observers.scalars(step, {**values, "batch/learning_rate": rate})


def show_line(observers: Observers, line: Mapping[str, Any]) -> None:
    """Shows a line of `metrics.jsonl`: its numbers, and the norms of the layers by kind."""
    split = line["split"]
    names = [name for name in line if name not in ("step", "epoch", "split", "layers", "count")]
    values = {f"{split}/{name}": line[name] for name in names}
    for layer, norms in line.get("layers", {}).items():
        named = dict(zip(NORMS, norms, strict=True))
        values |= {f"{kind}_norm/{layer}": value for kind, value in named.items()}
        if named["weight"]:
            values[f"update_to_weight/{layer}"] = named["update"] / named["weight"]
    observers.scalars(line["step"], values)


def show_parameters(
    observers: Observers, experiment: Experiment, epoch: int, step: int, params: PyTree
) -> None:
    """Shows the distribution of the parameters after an epoch, if it is due."""
    every = experiment.config.log.histograms_every_epochs
    shown = observers or jax.process_count() > 1  # all processes gather the parameters
    if shown and experiment.config.log.tensorboard and every and epoch % every == 0:
        arrays = {
            "/".join(str(key.key) for key in path): np.asarray(leaf)
            for path, leaf in jax.tree.leaves_with_path(hosts.gather(params))
        }
        observers.histograms(step, arrays)
