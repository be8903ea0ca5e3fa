"""Evaluates what a run has saved."""

from pathlib import Path
from typing import NamedTuple

from jaxml.errors import InputError
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.origin import Origin
from jaxml.training.program import Program
from jaxml.training.steps import TrainState
from jaxml.training.workdir import CHECKPOINTS, Workdir


class Saved(NamedTuple):
    """A checkpoint of a run, with what computes with it."""

    program: Program
    step: int
    state: TrainState


def restore(workdir: Path, checkpoint: str) -> Saved:
    """Restores a checkpoint of a run, which may be training meanwhile.

    Args:
      workdir: folder of a run; nothing in it is changed.
      checkpoint: "newest", "best", or the number of a step.

    Raises:
      InputError: there is no such run or checkpoint, it is corrupt, or it belongs to another run.
    """
    config = Workdir.read_config(workdir)
    checkpoints = Checkpoints(workdir / CHECKPOINTS)
    choose(checkpoints, checkpoint, workdir)  # reports a mistake before the data are read
    program = Program(config)
    abstract_state = program.abstract_state()
    while True:
        step = choose(checkpoints, checkpoint, workdir)
        try:
            origin = Origin(**checkpoints.header(step).notes["origin"])
            state = checkpoints.restore(step, abstract_state)
        except FileNotFoundError:  # the run has removed it since, so there is a newer one
            continue
        origin.check_config(config, f"{checkpoints.path(step)}")
        return Saved(program, step, state)


def choose(checkpoints: Checkpoints, name: str, workdir: Path) -> int:
    """Returns the step of the checkpoint of a name.

    Raises:
      InputError: there is no such checkpoint.
    """
    steps = checkpoints.steps()
    named = {str(step): step for step in steps}
    if steps:
        named |= {"newest": steps[-1], "best": checkpoints.best()}
    if name not in named:
        known = ", ".join(named) or "no checkpoint yet"
        raise InputError(f"--checkpoint={name}: {workdir} has {known}")
    return named[name]


def evaluate(workdir: Path, checkpoint: str = "newest") -> dict[str, int | float]:
    """The metrics of one checkpoint of a run on the split that the run evaluates.

    Args:
      workdir: as of `restore`.
      checkpoint: as of `restore`.

    Returns:
      The step and its metrics.

    Raises:
      InputError: as of `restore`.
    """
    program, step, state = restore(workdir, checkpoint)
    return {"step": step, **program.evaluate(state)}
