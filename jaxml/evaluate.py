"""Evaluates what a run has saved."""

from pathlib import Path
from typing import NamedTuple

from jaxml.checkpoint import Checkpoints
from jaxml.errors import InputError
from jaxml.program import Program
from jaxml.step import TrainState
from jaxml.workdir import CHECKPOINTS, Workdir


class Saved(NamedTuple):
    """A checkpoint of a run, with what computes with it."""

    program: Program
    step: int
    state: TrainState


def restore(workdir: Path, checkpoint: str) -> Saved:
    """One checkpoint of a run.

    Args:
      workdir: folder of a run; nothing in it is changed.
      checkpoint: "newest", "best", or the number of a step.

    Raises:
      InputError: there is no such run or checkpoint, or it is corrupt.
    """
    config = Workdir.read_config(workdir)
    with Checkpoints(workdir / CHECKPOINTS, config.checkpoint, say=None) as checkpoints:
        steps = checkpoints.steps()
        named = {str(step): step for step in steps}
        if steps:
            named |= {"newest": steps[-1], "best": checkpoints.best()}
        if checkpoint not in named:
            known = ", ".join(named) or "no checkpoint yet"
            raise InputError(f"--checkpoint={checkpoint}: {workdir} has {known}")
        program = Program(config)
        step = named[checkpoint]
        state = checkpoints.restore(step, program.abstract_state()).state
    return Saved(program, step, state)


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
