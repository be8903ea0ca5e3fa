"""Checkpoints: the whole state of a run, each in one safetensors file.

A file becomes visible under its name once it is whole, so that a run that is killed at any moment
leaves only whole checkpoints. Its header holds notes, metrics and a digest of the contents, which
reveals later damage.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from jaxml.config import CheckpointConfig
from jaxml.errors import DivergedError, InputError, SaveError
from jaxml.io import atomic
from jaxml.training.steps import TrainState
from jaxml.types import PyTree

SUFFIX = ".safetensors"


class Header(NamedTuple):
    """The description stored with a state.

    Attributes:
      notes: JSON values that belong to the state.
      metrics: of the evaluation at this step, if there was one.
    """

    notes: dict[str, Any]
    metrics: dict[str, Any] | None


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
        """Reads the description of a checkpoint without its arrays.

        Raises:
          InputError: the file is corrupt.
          FileNotFoundError: the checkpoint does not exist.
        """
        return read_header(self.path(step))

    def restore(self, step: int, abstract_state: TrainState) -> TrainState:
        """Reads a state and places it on the devices.

        Args:
          step: of the checkpoint.
          abstract_state: the expected shapes, dtypes and shardings.

        Raises:
          InputError: the file is corrupt or holds the state of another network.
          FileNotFoundError: the checkpoint does not exist.
        """
        path = self.path(step)
        arrays = read(path)
        leaves, structure = jax.tree_util.tree_flatten_with_path(abstract_state)
        expected = {jax.tree_util.keystr(name): leaf for name, leaf in leaves}
        for name in expected.keys() | arrays.keys():
            here, there = (_describe(tree.get(name)) for tree in (expected, arrays))
            if here != there:
                raise InputError(f"{path}: state{name} is {there} there, {here} here")
        placed = [
            jax.device_put(arrays[name], leaf.sharding, may_alias=False)
            for name, leaf in expected.items()
        ]
        return jax.tree.unflatten(structure, placed)

    def _score(self, step: int) -> float:
        try:
            return _score(self.header(step).metrics)
        except (InputError, OSError):
            return -math.inf


class CheckpointWriter(Checkpoints):
    """Writes the checkpoints of one run in the background; keeps the newest few and the best."""

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
          directory: the folder.
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
        try:
            directory.mkdir(exist_ok=True)
            for partial in directory.glob(f"*{SUFFIX}{atomic.PARTIAL}"):
                partial.unlink()
            self._set_damaged_aside(say)
        except OSError as error:
            raise InputError(f"{directory}: {error.strerror}") from None
        self._writer = ThreadPoolExecutor(1, "checkpoint")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits until all is written."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def save(
        self, state: TrainState, notes: Mapping[str, Any], metrics: Mapping[str, Any] | None
    ) -> None:
        """Saves a state in the background.

        Args:
          state: copied before this returns, so it may be donated.
          notes: JSON values stored with the state.
          metrics: of its evaluation, or None; the highest `accuracy` is the best, or without
            accuracy the lowest `loss`.

        Raises:
          DivergedError: a value of the state is not finite; nothing is written.
          SaveError: the previous checkpoint could not be written; this one is attempted.
        """
        step = int(state.step)
        if self.path(step).exists():
            return
        arrays = {
            jax.tree_util.keystr(name): np.array(leaf, order="C")
            for name, leaf in jax.tree_util.tree_leaves_with_path(state)
        }
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise DivergedError(f"step {step}: a parameter is not finite; it is not saved")
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
          SaveError: there is no whole checkpoint of this step.
        """
        self.wait()
        try:
            read(self.path(step))
        except (InputError, OSError):
            raise SaveError(f"step {step} is not saved; {self._kept()}") from None

    def _write(self, path: Path, arrays: dict[str, np.ndarray], header: Header) -> None:
        try:
            self._guard()
            atomic.write(path, encode(arrays, header))
            self._remove_old()
        except OSError as error:
            raise SaveError(f"{path}: {error.strerror}; {self._kept()}") from None

    def _remove_old(self) -> None:
        steps, best = self.steps(), self.best()
        kept = {*steps[-self._config.keep :]}
        if self._score(best) > -math.inf:
            kept.add(best)
        for step in set(steps) - kept:
            self.path(step).unlink(missing_ok=True)

    def _kept(self) -> str:
        steps = self.steps()
        return (
            f"the newest whole checkpoint is of step {steps[-1]}"
            if steps
            else "no checkpoint is there"
        )

    def _set_damaged_aside(self, say: Callable[[str], None]) -> None:
        if any((folder / "state").is_dir() for folder in self._directory.iterdir()):
            raise InputError(f"{self._directory}: holds checkpoints of an older version of jaxml")
        steps = self.steps()
        harms = {step: harm for step in steps if (harm := damage(self.path(step)))}
        for step, harm in harms.items():
            message = f"the checkpoint of step {step} {harm}"
            if len(harms) == len(steps):
                raise InputError(f"{self.path(step)}: {message}")
            aside = f"corrupt_checkpoint_{step}_{time.time_ns()}{SUFFIX}"
            self.path(step).rename(self._directory.with_name(aside))
            say(f"{message}; it is moved to {aside}, the newest of the others is used")


def encode(arrays: Mapping[str, np.ndarray], header: Header) -> bytes:
    """Returns the content of a checkpoint file."""
    text = json.dumps(header._asdict())
    metadata = {"header": text, "sha256": _digest(text, arrays)}
    return safetensors.save(dict(arrays), metadata)


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint file and verifies its digest.

    Raises:
      InputError: the file is corrupt.
      FileNotFoundError: the file does not exist.
    """
    try:
        content = path.read_bytes()  # at once, for a run may remove the file meanwhile
        arrays = safetensors.load(content)
        metadata = _metadata(content)
        if metadata["sha256"] != _digest(metadata["header"], arrays):
            raise ValueError("its digest does not match")
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _corrupt(path, error) from None
    return arrays


def read_header(path: Path) -> Header:
    """Reads the description in a checkpoint file.

    Raises:
      InputError: the file is corrupt.
      FileNotFoundError: the file does not exist.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            start += file.read(min(_length(start), path.stat().st_size))
        metadata = _metadata(start)
        return Header(**json.loads(metadata["header"]))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _corrupt(path, error) from None


def damage(path: Path) -> str:
    """Returns a description of the damage to a checkpoint file; empty if it is whole."""
    try:
        read(path)
        read_header(path)
    except (InputError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def _corrupt(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"{path}: is corrupt ({reason})")


def _length(content: bytes) -> int:
    """Returns the length of the JSON that follows the first 8 bytes of a safetensors file."""
    return int.from_bytes(content[:8], "little")


def _metadata(content: bytes) -> dict[str, str]:
    return json.loads(content[8 : 8 + _length(content)])["__metadata__"]


def _digest(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    return hashlib.sha256(f"{header}\n{sha256(dict(arrays))}".encode()).hexdigest()


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def _describe(leaf: Any) -> str:
    if leaf is None:
        return "missing"
    return f"{np.dtype(leaf.dtype)}[{','.join(map(str, leaf.shape))}]"


def _score(metrics: Mapping[str, Any] | None) -> float:
    if not metrics:
        return -math.inf
    return metrics["accuracy"] if "accuracy" in metrics else -metrics["loss"]


def sha256(tree: PyTree) -> str:
    """Returns a digest of every name, shape, dtype and bit of a tree of arrays.

    >>> sha256({"a": np.zeros(2)}) == sha256({"a": np.zeros(2)})
    True
    >>> sha256({"a": np.zeros(2)}) == sha256({"a": np.zeros(2, np.float32)})
    False
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
