"""Replays steps of a run and compares the states bit for bit, without writing anything."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxml.config import Config, differences
from jaxml.errors import InputError
from jaxml.training._checkpoint_file import Header, read
from jaxml.training._checkpoint_parts import local_arrays
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.compilation import TrainCall, compile_steps, train_call
from jaxml.training.digest import sha256
from jaxml.training.experiment import Experiment
from jaxml.training.feed import train_feed
from jaxml.training.origin import Origin
from jaxml.training.restore import create_here
from jaxml.training.steps import TrainState
from jaxml.training.workdir import CHECKPOINTS, read_config

Arrays = Mapping[str, np.ndarray]


class Difference(NamedTuple):
    """The first array in which two states differ.

    Attributes:
      name: path of the array in the state.
      num_unequal: number of its entries that differ.
      size: number of its entries.
      largest: largest absolute difference of an entry; NaN if one of them is NaN.
      num_arrays: number of arrays of the state that differ.
    """

    name: str
    num_unequal: int
    size: int
    largest: float
    num_arrays: int

    def __str__(self) -> str:
        return (
            f"state{self.name} differs in {self.num_unequal} of {self.size} entries, by at most "
            f"{self.largest:.3g}; number of arrays that differ: {self.num_arrays}"
        )


class Verification(NamedTuple):
    """The result of a comparison.

    Attributes:
      lines: a line for each comparison, in the order of the steps.
      is_equal: whether all states are equal.
    """

    lines: list[str]
    is_equal: bool


def compare_states(found: Arrays, expected: Arrays) -> Difference | None:
    """Compares two states bit for bit.

    Args:
      found: arrays of a state by name, in the order in which to report them.
      expected: the arrays to compare them with; those of the same model.

    Returns:
      The first difference, or None for equal states.

    Example:
      >>> state = {".step": np.int32(3), ".bias": np.zeros(4)}
      >>> difference = compare_states({**state, ".bias": np.array([0, 0, 0.5, 0])}, state)
      >>> difference.name, difference.num_unequal, difference.size, difference.largest
      ('.bias', 1, 4, 0.5)
    """
    unequal = [name for name in found if sha256(found[name]) != sha256(expected[name])]
    if not unequal:
        return None
    name = unequal[0]
    one, other = (np.atleast_1d(arrays[name]) for arrays in (found, expected))
    bits = [np.ascontiguousarray(a).view(np.uint8).reshape(a.size, -1) for a in (one, other)]
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(one.astype(np.float64) - other.astype(np.float64)).max()
    num_unequal = int((bits[0] != bits[1]).any(axis=1).sum())
    return Difference(name, num_unequal, one.size, float(largest), len(unequal))


def verify_run(workdir: Path | str, num_steps: int | None = None) -> Verification:
    """Replays the last steps of a run from a checkpoint, and compares the state with the newest.

    Args:
      workdir: folder of the run; nothing in it is changed.
      num_steps: the least number of steps to replay; None replays from the last but one checkpoint.

    Raises:
      InputError: there are not two checkpoints as far apart, they belong to a run with another
        config or other data, or one of them is corrupt.
    """
    workdir = Path(workdir)
    checkpoints, config = Checkpoints(workdir / CHECKPOINTS), read_config(workdir)
    first, last = _choose(checkpoints.steps(), num_steps, workdir)
    arrays, header = _read(checkpoints, last)
    experiment, messages = _open(config, checkpoints, last, header)
    state = checkpoints.restore(first, experiment.abstract_state)
    (replayed,) = _replay(experiment, state, [last])
    difference = compare_states(replayed, arrays)
    text = f"replayed from step {first}, {difference or _equal(arrays)}"
    return Verification([*messages, f"{workdir}, step {last}: {text}"], difference is None)


def compare_runs(workdir: Path | str, other: Path | str) -> Verification:
    """Finds the first checkpoint in which two runs of the same config differ.

    If an earlier checkpoint is equal, replays the steps from it, and compares every checkpoint of
    both runs up to the different one with the replay.

    Args:
      workdir: folder of a run; nothing in it is changed.
      other: folder of the other run; nothing in it is changed.

    Raises:
      InputError: the runs have different configs or no checkpoint of the same step, or one of
        their checkpoints is corrupt or belongs to other data.
    """
    folders = [Path(workdir), Path(other)]
    runs = [Checkpoints(folder / CHECKPOINTS) for folder in folders]
    config = read_config(folders[0])
    if different := differences(read_config(folders[1]), dataclasses.asdict(config)):
        raise InputError(
            f"--other={other}: must be a run with the config of {workdir}: {', '.join(different)}"
        )
    common = sorted(set(runs[0].steps()) & set(runs[1].steps()))
    if not common:
        saved = " and ".join(f"{folder} has {run.steps()}" for folder, run in
                             zip(folders, runs, strict=True))  # fmt: skip
        raise InputError(f"--other={other}: must have a checkpoint of the same step, {saved}")
    lines: list[str] = []
    for i, step in enumerate(common):
        (one, header), (two, _) = (_read(run, step) for run in runs)
        difference = compare_states(one, two)
        lines.append(f"step {step}: {difference or _equal(one)}")
        if difference:
            if i:
                experiment, messages = _open(config, runs[0], step, header)
                replayed = _compare_with_replay(experiment, runs, folders, common[i - 1], step)
                lines += [*messages, *replayed]
            return Verification(lines, is_equal=False)
    return Verification(lines, is_equal=True)


def _compare_with_replay(
    experiment: Experiment,
    runs: Sequence[Checkpoints],
    folders: Sequence[Path],
    first: int,
    last: int,
) -> list[str]:
    """Compares the checkpoints of runs after an equal one with a replay."""
    saved = [[step for step in run.steps() if first < step <= last] for run in runs]
    stops = sorted({*saved[0], *saved[1]})
    state = runs[0].restore(first, experiment.abstract_state)
    lines = []
    for step, replayed in zip(stops, _replay(experiment, state, stops), strict=True):
        for run, folder, steps in zip(runs, folders, saved, strict=True):
            if step in steps:
                arrays, _ = _read(run, step)
                text = compare_states(replayed, arrays) or _equal(arrays)
                lines.append(f"{folder}, step {step}: replayed from step {first}, {text}")
    return lines


def _choose(steps: Sequence[int], num_steps: int | None, workdir: Path) -> tuple[int, int]:
    """Returns the steps of the checkpoints between which to replay."""
    if not steps:
        raise InputError(f"--workdir={workdir}: has no checkpoint yet")
    if len(steps) == 1:
        raise InputError(
            f"--workdir={workdir}: must have two checkpoints, has only that of step {steps[0]}; "
            "config.checkpoint.keep and config.checkpoint.every_steps keep more"
        )
    early = [step for step in steps[:-1] if step <= steps[-1] - (num_steps or 1)]
    if not early:
        raise InputError(
            f"--steps must be <= {steps[-1] - steps[0]}, the steps between the first and the last "
            f"checkpoint of {workdir}, got {num_steps}"
        )
    return early[-1], steps[-1]


def _read(checkpoints: Checkpoints, step: int) -> tuple[dict[str, np.ndarray], Header]:
    try:
        return read(checkpoints.path(step)), checkpoints.header(step)
    except FileNotFoundError:
        raise InputError(f"{checkpoints.path(step)}: was removed meanwhile; try again") from None


def _open(
    config: Config, checkpoints: Checkpoints, step: int, header: Header
) -> tuple[Experiment, list[str]]:
    """Builds the experiment that took the step of a checkpoint; describes another environment."""
    saved, where = Origin(**header.notes["origin"]), f"{checkpoints.path(step)}"
    saved.check_config(config, where)  # reports errors before the data are read
    config = dataclasses.replace(config, num_epochs=saved.segments[-1]["num_epochs"])
    experiment = create_here(config)
    origin = Origin.create(config, experiment.data_digests, experiment.device)
    origin.check(saved, where)
    return experiment, origin.resume(saved, step)[1]


def _replay(
    experiment: Experiment, state: TrainState, stops: Sequence[int]
) -> Iterator[dict[str, np.ndarray]]:
    """Takes the steps up to the last stop; yields the arrays of the state at each of them."""
    first = step = int(state.step)
    calls: dict[int, TrainCall] = {}
    while step < stops[-1]:
        call, stop = train_call(experiment, step), min(stop for stop in stops if stop > step)
        calls[step] = call._replace(num_steps=min(call.num_steps, stop - step))
        step += calls[step].num_steps
    steps = compile_steps(experiment, set(calls.values()), init=False)
    keys, order = experiment.keys, None
    with train_feed(experiment, steps.epoch_order, first) as data:
        for begin, call in calls.items():
            epoch, index = divmod(begin, experiment.sizes.steps_per_epoch)
            if order is None or index == 0:
                order = steps.epoch_order(keys.order, experiment.replicate(epoch))
            arguments: Any = (state, data(call.num_steps), order, keys.step)
            state, *_ = steps.train[call](*arguments)
            if begin + call.num_steps in stops:
                yield local_arrays(state)


def _equal(arrays: Arrays) -> str:
    return f"the states are equal (sha256 {sha256(dict(arrays))[:16]})"
