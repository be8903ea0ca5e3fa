"""Checkpoints: each is the complete state of a run in one safetensors file.

If a state is sharded over several processes, each of them writes a file with its shards next to it.

A file is renamed to its final name only when it is complete, so a run that is killed at any moment
leaves only whole checkpoints. The header holds notes, metrics and a digest of the content, which
detects later damage.
"""

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxml.config import CheckpointConfig
from jaxml.errors import DivergedError, InputError, SaveError
from jaxml.io import atomic
from jaxml.training import hosts
from jaxml.training._checkpoint_file import (
    Header,
    damage,
    encode,
    part_digest,
    read,
    read_header,
)
from jaxml.training._checkpoint_parts import Parts, local_arrays, shards_only, split_shapes
from jaxml.training.steps import TrainState
from jaxml.types import PyTree

SUFFIX = ".safetensors"
PART_SECONDS = 600.0  # process 0 waits that long for the parts of the other processes


class Checkpoints:
    """Reads the checkpoints in a folder, which another process may be writing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, step: int) -> Path:
        """Returns the file of a step."""
        return self._directory / f"{step}{SUFFIX}"

    def parts(self, step: int) -> list[Path]:
        """Returns the files of the other processes for a step, if its state is sharded."""
        return sorted(self._directory.glob(f"{step}.part*{SUFFIX}"))

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
        placed.append(hosts.place(arrays[name], leaf.sharding, may_alias=False))
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

        Process 0 alone does so, and the others wait for it.

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
        if hosts.is_first():
            try:
                directory.mkdir(exist_ok=True)
                self._remove_partial()
                self._set_damaged_aside(say)
            except OSError as error:
                raise InputError(f"{directory}: {error.strerror}") from None
        self._attempt = hosts.share(secrets.token_hex(8))
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
        """Returns whether `every_steps` asks for a checkpoint in `num_steps` steps up to `step`."""
        every = self._config.every_steps
        return bool(every) and step // every > (step - num_steps) // every

    def is_overdue(self) -> bool:
        """Returns whether the last checkpoint is older than `every_minutes`."""
        minutes = self._config.every_minutes
        return minutes is not None and time.monotonic() - self._last_save >= 60 * minutes

    def save(
        self, state: TrainState, notes: Mapping[str, Any], metrics: Mapping[str, Any] | None
    ) -> None:
        """Saves a state in the background; every process must call it.

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
        arrays, shapes = local_arrays(state), split_shapes(state)
        if hosts.is_any(not all(np.isfinite(array).all() for array in arrays.values())):
            raise DivergedError(
                f"step {step}: a value of the state is not finite; the state is not saved"
            )
        try:
            self.wait()
        finally:
            header = Header(dict(notes), dict(metrics) if metrics else None)
            if hosts.is_first():
                self._pending = self._writer.submit(self._write, step, arrays, header, shapes)
            elif shapes:
                self._pending = self._writer.submit(self._write_part, step, shards_only(arrays))

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

        Process 0 reads it; every process must call it.

        Raises:
          SaveError: the checkpoint is missing or damaged.
        """
        self.wait()
        problem = ""
        if hosts.is_first():
            try:
                read(self.path(step))
            except (InputError, OSError):
                problem = f"step {step} is not saved; {self._describe_newest()}"
        if problem := hosts.share(problem):
            raise SaveError(problem)

    def _write(
        self,
        step: int,
        arrays: dict[str, np.ndarray],
        header: Header,
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        path = self.path(step)
        try:
            self._guard()
            parts = Parts(self._await_parts(step), dict(shapes)) if shapes else None
            atomic.write(path, encode(arrays, header, parts))
            self._remove_old()
        except OSError as error:
            raise SaveError(f"{path}: {error.strerror}; {self._describe_newest()}") from None

    def _part(self, step: int, process: int) -> Path:
        return self._directory / f"{step}.part{process}of{jax.process_count()}{SUFFIX}"

    def _write_part(self, step: int, shards: dict[str, np.ndarray]) -> None:
        path = self._part(step, jax.process_index())
        try:
            atomic.write(path, encode(shards, Header({"attempt": self._attempt}, None)))
        except OSError as error:
            raise SaveError(f"{path}: {error.strerror}; {self._describe_newest()}") from None

    def _await_parts(self, step: int) -> dict[str, str]:
        """Returns the digests of the parts of the other processes, once all of them are whole."""
        digests, deadline = {}, time.monotonic() + PART_SECONDS
        for process in range(1, jax.process_count()):
            path = self._part(step, process)
            while not (digest := part_digest(path, self._attempt)):
                self._guard()
                if time.monotonic() > deadline:
                    raise SaveError(
                        f"{path}: process {process} has not written it in {PART_SECONDS:.0f} s; "
                        f"{self._describe_newest()}"
                    )
                time.sleep(0.05)
            digests[path.name] = digest
        return digests

    def _remove(self, step: int) -> None:
        for path in (self.path(step), *self.parts(step)):
            path.unlink(missing_ok=True)

    def _remove_partial(self) -> None:
        """Removes the files of checkpoints that were not completed."""
        for partial in self._directory.glob(f"*{SUFFIX}{atomic.PARTIAL}"):
            partial.unlink()
        for part in self._directory.glob(f"*.part*{SUFFIX}"):
            if not (self._directory / f"{part.name.partition('.')[0]}{SUFFIX}").exists():
                part.unlink()

    def _remove_old(self) -> None:
        steps, best = self.steps(), self.best()
        kept = {*steps[-self._config.keep :]}
        if self._score(best) > -math.inf:
            kept.add(best)
        for step in set(steps) - kept:
            self._remove(step)

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
            name = f"corrupt_checkpoint_{step}_{time.time_ns()}"
            for path in (self.path(step), *self.parts(step)):
                path.rename(self._directory.with_name(path.name.replace(f"{step}", name, 1)))
            aside = f"{name}{SUFFIX}"
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
