"""Checkpoints: each is the complete state of a run in one safetensors file.

A file is renamed to its final name only when it is complete, so a run that is killed at any moment
leaves only whole checkpoints. The header holds notes, metrics and a digest of the content, which
detects later damage.
"""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxml.config import CheckpointConfig
from jaxml.errors import DivergedError, InputError, SaveError
from jaxml.io import atomic
from jaxml.training._checkpoint_file import Header, damage, encode, read, read_header
from jaxml.training.steps import TrainState
from jaxml.types import PyTree

SUFFIX = ".safetensors"


class Checkpoints:
    """Reads the checkpoints in a folder, which another process may be writing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, step: int) -> Path:
        """Returns the file of a step."""
        return self._directory / f"{step}{SUFFIX}"

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints in ascending order."""
        paths = self._directory.glob(f"*{SUFFIX}")
        return sorted(int(path.stem) for path in paths if _is_step(path.stem))

    def best(self) -> int:
        """Returns the step with the best metrics, or the newest step if none has metrics."""
        return max(self.steps(), key=lambda step: (self._score(step), step))

    def header(self, step: int) -> Header:
        """Reads the notes and metrics of a checkpoint, without its arrays.

        Raises:
          InputError: the file is corrupt.
          FileNotFoundError: the checkpoint does not exist.
        """
        return read_header(self.path(step))

    def restore(self, step: int, abstract_state: TrainState) -> TrainState:
        """Reads a state and places it on the devices.

        Args:
          step: step of the checkpoint.
          abstract_state: expected shapes, dtypes and shardings.

        Raises:
          InputError: the file is corrupt or holds the state of another model.
          FileNotFoundError: the checkpoint does not exist.
        """
        arrays = read(self.path(step))
        state = arrange(arrays, abstract_state, self.path(step))
        leaves = jax.tree_util.tree_leaves_with_path(state)
        if unknown := arrays.keys() - {jax.tree_util.keystr(key) for key, _ in leaves}:
            name = min(unknown)
            raise InputError(
                f"{self.path(step)}: state{name} must be missing, got {_describe(arrays[name])}"
            )
        return state

    def _score(self, step: int) -> float:
        try:
            return score(self.header(step).metrics)
        except (InputError, OSError):
            return -math.inf


def arrange(arrays: Mapping[str, np.ndarray], abstract: PyTree, path: Path) -> Any:
    """Places the arrays of a checkpoint on the devices, as a tree.

    Args:
      arrays: the arrays by their path in the state; those that the tree lacks are ignored.
      abstract: the state or a part of it, with shapes, dtypes and shardings.
      path: the file, for messages.

    Raises:
      InputError: an array is missing, or has another shape or dtype.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(abstract)
    placed = []
    for key, leaf in leaves:
        name = jax.tree_util.keystr(key)
        here, there = _describe(leaf), _describe(arrays.get(name))
        if here != there:
            raise InputError(f"{path}: state{name} must be {here}, got {there}")
        placed.append(jax.device_put(arrays[name], leaf.sharding, may_alias=False))
    return jax.tree.unflatten(structure, placed)


class CheckpointWriter(Checkpoints):
    """Writes the checkpoints of a run in the background; keeps the newest few and the best."""

    def __init__(
        self,
        directory: Path,
        config: CheckpointConfig,
        *,
        say: Callable[[str], None],
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        """Creates the folder, removes partial files and moves damaged checkpoints aside.

        Args:
          directory: folder of the checkpoints.
          config: number of checkpoints to keep.
          say: receives a line for each damaged checkpoint.
          guard: called before each write; raises if the folder no longer belongs to the run.

        Raises:
          InputError: every checkpoint is damaged, or the folder cannot be used.
        """
        super().__init__(directory)
        self._config = config
        self._guard = guard
        self._pending: Future[None] | None = None
        self._last_save = time.monotonic()
        try:
            directory.mkdir(exist_ok=True)
            for partial in directory.glob(f"*{SUFFIX}{atomic.PARTIAL}"):
                partial.unlink()
            self._set_damaged_aside(say)
        except OSError as error:
            raise InputError(f"{directory}: {error.strerror}") from None
        self._writer = ThreadPoolExecutor(1, "checkpoint")

    def close(self) -> None:
        """Waits until the last checkpoint is written, and ends the background thread.

        Raises:
          SaveError: it could not be written.
        """
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def is_due(self, step: int, num_steps: int) -> bool:
        """Returns whether a checkpoint is due after `num_steps` steps that end at `step`."""
        every, minutes = self._config.every_steps, self._config.every_minutes
        if every and step // every > (step - num_steps) // every:
            return True
        return minutes is not None and time.monotonic() - self._last_save >= 60 * minutes

    def save(
        self, state: TrainState, notes: Mapping[str, Any], metrics: Mapping[str, Any] | None
    ) -> None:
        """Saves a state in the background.

        Args:
          state: copied before this returns, so it may be donated afterwards.
          notes: JSON values stored with the state.
          metrics: metrics of its evaluation, or None. The best checkpoint has the highest
            `accuracy`, or without an accuracy the lowest `loss`.

        Raises:
          DivergedError: the state has a value that is not finite; nothing is written.
          SaveError: the previous checkpoint could not be written; this one is attempted.
        """
        step, self._last_save = int(state.step), time.monotonic()
        if self.path(step).exists():
            return
        arrays = {
            jax.tree_util.keystr(name): np.array(leaf, order="C")
            for name, leaf in jax.tree_util.tree_leaves_with_path(state)
        }
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise DivergedError(
                f"step {step}: a value of the state is not finite; the state is not saved"
            )
        try:
            self.wait()
        finally:
            header = Header(dict(notes), dict(metrics) if metrics else None)
            self._pending = self._writer.submit(self._write, self.path(step), arrays, header)

    def wait(self) -> None:
        """Waits until the last checkpoint is written.

        Raises:
          SaveError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def confirm(self, step: int) -> None:
        """Waits until the checkpoint of a step is written, and reads it back.

        Raises:
          SaveError: the checkpoint is missing or damaged.
        """
        self.wait()
        try:
            read(self.path(step))
        except (InputError, OSError):
            raise SaveError(f"step {step} is not saved; {self._describe_newest()}") from None

    def _write(self, path: Path, arrays: dict[str, np.ndarray], header: Header) -> None:
        try:
            self._guard()
            atomic.write(path, encode(arrays, header))
            self._remove_old()
        except OSError as error:
            raise SaveError(f"{path}: {error.strerror}; {self._describe_newest()}") from None

    def _remove_old(self) -> None:
        steps, best = self.steps(), self.best()
        kept = {*steps[-self._config.keep :]}
        if self._score(best) > -math.inf:
            kept.add(best)
        for step in set(steps) - kept:
            self.path(step).unlink(missing_ok=True)

    def _describe_newest(self) -> str:
        steps = self.steps()
        if not steps:
            return "there is no checkpoint"
        return f"the newest whole checkpoint is step {steps[-1]}"

    def _set_damaged_aside(self, say: Callable[[str], None]) -> None:
        steps = self.steps()
        damages = {step: found for step in steps if (found := damage(self.path(step)))}
        for step, description in damages.items():
            message = f"the checkpoint of step {step} {description}"
            if len(damages) == len(steps):
                raise InputError(f"{self.path(step)}: {message}")
            aside = f"corrupt_checkpoint_{step}_{time.time_ns()}{SUFFIX}"
            self.path(step).rename(self._directory.with_name(aside))
            say(f"{message}; moved it to {aside} and using the newest of the others")


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def _describe(leaf: Any) -> str:
    if leaf is None:
        return "missing"
    return f"{np.dtype(leaf.dtype)}[{','.join(map(str, leaf.shape))}]"


def score(metrics: Mapping[str, Any] | None) -> float:
    """Returns the number by which checkpoints are compared; higher is better."""
    if not metrics:
        return -math.inf
    return metrics["accuracy"] if "accuracy" in metrics else -metrics["loss"]
