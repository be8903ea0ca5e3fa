"""Restores and evaluates the checkpoints of a run, which may still be training."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from jaxml.config import Config
from jaxml.errors import InputError
from jaxml.optim import Average, swa_averaging
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.compilation import jit_steps
from jaxml.training.evaluation import evaluate
from jaxml.training.experiment import Experiment, create_experiment
from jaxml.training.origin import Origin
from jaxml.training.steps import TrainState, eval_variables
from jaxml.training.workdir import CHECKPOINTS, SEED, read_config


class Restored(NamedTuple):
    """A checkpoint of a run, with the experiment that it belongs to."""

    experiment: Experiment
    step: int
    state: TrainState


def restore_checkpoint(workdir: Path | str, checkpoint: str) -> Restored:
    """Restores a checkpoint of a run.

    Args:
      workdir: folder of the run; nothing in it is changed.
      checkpoint: "newest", "best", or the number of a step. Several, separated by commas, give a
        state that evaluates the mean of their parameters, with recomputed batch norm statistics.

    Raises:
      InputError: there is no such run or checkpoint, it is corrupt, or it belongs to another run.
    """
    workdir = Path(workdir)
    checkpoints = Checkpoints(workdir / CHECKPOINTS)
    config, names = read_config(workdir), checkpoint.split(",")
    for name in names:
        find_step(checkpoints, name, workdir)  # reports errors before the data are read
    experiment = create_here(config)
    found = [_restore(experiment, checkpoints, name, workdir) for name in names]
    return found[0] if len(found) == 1 else _mean(found)


def read_experiment(workdir: Path) -> Experiment:
    """Builds the experiment of the run in a folder on the devices at hand.

    Raises:
      InputError: the folder holds no run, or its data cannot be read.
    """
    return create_here(read_config(workdir))


def create_here(config: Config) -> Experiment:
    """Builds the experiment of a run whose `fsdp` need not divide the number of devices."""
    config.mesh.fsdp = math.gcd(config.mesh.fsdp, len(jax.devices()))
    return create_experiment(config)


def _restore(
    experiment: Experiment, checkpoints: Checkpoints, name: str, workdir: Path
) -> Restored:
    while True:
        step = find_step(checkpoints, name, workdir)
        try:
            origin = Origin(**checkpoints.header(step).notes["origin"])
            state = checkpoints.restore(step, experiment.abstract_state)
        except FileNotFoundError:  # the run removed it in the meantime, after a newer one
            continue
        origin.check_config(experiment.config, f"{checkpoints.path(step)}")
        return Restored(experiment, step, state)


def _mean(restored: Sequence[Restored]) -> Restored:
    """Returns the last of several checkpoints, with the mean of their variables as its average."""
    experiment, step, state = max(restored, key=lambda one: one.step)
    learner = experiment.learner
    variables = [eval_variables(learner, one.state) for one in restored]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *variables)
    average = Average(experiment.replicate(len(restored)), mean)
    learner = learner._replace(averaging=swa_averaging(start=0, period=1))
    experiment = dataclasses.replace(experiment, learner=learner)
    return Restored(experiment, step, state.replace(average=average))


def find_step(checkpoints: Checkpoints, name: str, workdir: Path) -> int:
    """Returns the step of the checkpoint with a name ("newest", "best" or a number).

    Raises:
      InputError: there is no such checkpoint.
    """
    steps = checkpoints.steps()
    named = {str(step): step for step in steps}
    if steps:
        named |= {"newest": steps[-1], "best": checkpoints.best()}
    if not named:
        runs = sorted(path.name for path in workdir.glob(f"{SEED}*"))
        hint = f"; it holds the runs {', '.join(runs)}" if runs else ""
        raise InputError(f"--workdir={workdir}: has no checkpoint yet{hint}")
    if name not in named:
        raise InputError(
            f"--checkpoint must be one of {', '.join(named)} in {workdir}, got {name!r}"
        )
    return named[name]


def evaluate_checkpoint(workdir: Path | str, checkpoint: str = "newest") -> dict[str, int | float]:
    """Evaluates a checkpoint of a run on the split that the run evaluates.

    Args:
      workdir: see `restore_checkpoint`.
      checkpoint: see `restore_checkpoint`.

    Returns:
      The step, the last one of several, and the metrics.
    """
    experiment, step, state = restore_checkpoint(workdir, checkpoint)
    metrics = evaluate(experiment, jit_steps(experiment), state)
    damaged = {"damaged_images": len(experiment.damage)} if experiment.damage else {}
    return {"step": step, **metrics, **damaged}
