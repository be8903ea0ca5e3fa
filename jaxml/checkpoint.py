"""Saving and restoring the whole state of a run."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from jaxml.config import CheckpointConfig
from jaxml.errors import DivergedError, InputError
from jaxml.seal import damage, seal
from jaxml.step import TrainState
from jaxml.types import PyTree

# What orbax and tensorstore were seen to raise for files that are missing, cut short or altered.
UNREADABLE = (ValueError, OSError, KeyError, TypeError, jax.errors.JaxRuntimeError)


class Restored(NamedTuple):
    """A state with what was noted beside it."""

    state: TrainState
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: written in the background, the newest few and the best kept.

    A checkpoint becomes visible all at once, when it is whole, so that a run that is killed at any
    moment leaves only whole ones. It is sealed with digests of its files, by which later damage is
    noticed.
    """

    def __init__(
        self, directory: Path, config: CheckpointConfig, *, say: Callable[[str], None] | None
    ) -> None:
        """Opens the folder.

        Args:
          directory: created, and rid of what a killed run left half-written.
          config: how many are kept.
          say: told of damaged checkpoints, which are moved aside; None opens the folder to be read
            only.

        Raises:
          InputError: all checkpoints are damaged, or one is and the folder is only read.
        """
        read_only = say is None
        self._directory = directory.absolute()
        self._set_damaged_aside(say)
        keep = [
            checkpoint_managers.LatestN(config.keep),
            checkpoint_managers.BestN(
                get_metric_fn=_score,
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                best_fn=_score,  # without it the metrics are not stored
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(keep),
                cleanup_tmp_directories=not read_only,
                create=not read_only,
                read_only=read_only,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal_all),
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits until all is written."""
        self._manager.close()

    def save(
        self, state: TrainState, notes: Mapping[str, Any], metrics: Mapping[str, Any] | None
    ) -> None:
        """Saves a state in the background.

        Args:
          state: all of it is copied before this returns, so that it may be donated.
          notes: kept beside it as JSON.
          metrics: of its evaluation, or None; the highest `accuracy` is the best, or where there is
            none the lowest `loss`.

        Raises:
          DivergedError: a value of the state is not finite; nothing is written.
        """
        step = int(state.step)
        if step in self.steps():
            return
        copy = jax.tree.map(lambda leaf: np.array(leaf), state)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(copy)):
            raise DivergedError(
                f"step {step}: a parameter is not finite; no checkpoint of it is written"
            )
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(copy),  # pyright: ignore[reportCallIssue]
            notes=ocp.args.JsonSave(dict(notes)),  # pyright: ignore[reportCallIssue]
        )
        self._manager.save(step, args=items, metrics=dict(metrics) if metrics else None)

    def restore(self, step: int, abstract_state: TrainState) -> Restored:
        """One checkpoint.

        Raises:
          InputError: it does not fit the state, or cannot be read.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract_state),  # pyright: ignore[reportCallIssue]
            notes=ocp.args.JsonRestore(),
        )
        try:
            restored = self._manager.restore(step, args=items)
        except UNREADABLE as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise InputError(f"{self._directory / str(step)}: cannot be read ({reason})") from None
        return Restored(restored["state"], restored["notes"])

    def steps(self) -> list[int]:
        """The steps of the checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def best(self) -> int:
        """The step of the checkpoint with the best metrics; the newest where none has any."""
        metrics = {step: self._manager.metrics(step) for step in self.steps()}
        return max(metrics, key=lambda step: (_score(metrics[step]), step))

    def _seal_all(self) -> None:
        """Called when all is written, just before orbax renames the folder into its place."""
        for folder in self._directory.iterdir():
            if folder.is_dir():
                seal(folder)

    def _set_damaged_aside(self, say: Callable[[str], None] | None) -> None:
        folders = [p for p in self._directory.glob("*") if p.name.isdecimal()]
        harms = {p: harm for p in folders if (harm := damage(p))}
        for folder, harm in harms.items():
            message = f"the checkpoint of step {folder.name} is corrupt ({harm})"
            if say is None or len(harms) == len(folders):
                raise InputError(f"{folder}: {message}")
            aside = f"corrupt_checkpoint_{folder.name}_{time.time_ns()}"
            folder.rename(self._directory.with_name(aside))
            say(f"{message}; it is moved to {aside}, the newest of the others is used")


def _score(metrics: Mapping[str, Any] | None) -> float:
    if not metrics:
        return -math.inf
    return metrics["accuracy"] if "accuracy" in metrics else -metrics["loss"]


def sha256(tree: PyTree) -> str:
    """A digest of every name, shape, dtype and bit of a tree of arrays.

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
