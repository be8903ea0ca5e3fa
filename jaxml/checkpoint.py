"""Saving and restoring the whole state of a run."""

import hashlib
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
    moment leaves only whole ones. Its digest is stored beside it and compared when it is read.
    """

    def __init__(self, directory: Path, config: CheckpointConfig) -> None:
        """Opens or creates the folder, and removes what a killed run left half-written."""
        keep = [
            checkpoint_managers.LatestN(config.keep),
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics["accuracy"],
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
        self._directory = directory.absolute()
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(keep),
                cleanup_tmp_directories=True,
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
          metrics: of its evaluation, or None; the highest `accuracy` is the best.

        Raises:
          DivergedError: a value of the state is not finite; nothing is written.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        copy = jax.tree.map(lambda leaf: np.array(leaf), state)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(copy)):
            raise DivergedError(
                f"step {step}: a parameter is not finite; no checkpoint of it is written, "
                "a lower config.optim.learning_rate may help"
            )
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(copy),  # pyright: ignore[reportCallIssue]
            notes=ocp.args.JsonSave({**notes, "sha256": sha256(copy)}),  # pyright: ignore[reportCallIssue]
        )
        self._manager.save(step, args=items, metrics=dict(metrics) if metrics else None)

    def restore_newest(
        self, abstract_state: TrainState, say: Callable[[str], None]
    ) -> Restored | None:
        """The newest whole checkpoint, or None where there is none at all.

        A corrupt one that is newer is moved aside, and `say` is told so.

        Raises:
          InputError: there are checkpoints, but none can be read.
        """
        corrupt: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = self.restore(step, abstract_state)
            except InputError as error:
                corrupt[step] = str(error)
                continue
            for bad, reason in corrupt.items():
                self._move_aside(bad)
                say(f"{reason}; going on from the checkpoint of step {step}")
            return restored
        if corrupt:
            raise InputError(
                f"{self._directory}: none of its checkpoints can be read; "
                f"{next(iter(corrupt.values()))}"
            )
        return None

    def restore(self, step: int, abstract_state: TrainState) -> Restored:
        """One checkpoint.

        Raises:
          InputError: it cannot be read, or its digest is not the one that was stored.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract_state),  # pyright: ignore[reportCallIssue]
            notes=ocp.args.JsonRestore(),
        )
        try:
            restored = self._manager.restore(step, args=items)
            state, notes = restored["state"], restored["notes"]
            whole = sha256(state) == notes["sha256"]
        except UNREADABLE as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise InputError(f"the checkpoint of step {step} is corrupt ({reason})") from None
        if not whole:
            raise InputError(f"the checkpoint of step {step} is corrupt (its digest differs)")
        return Restored(state, notes)

    def newest(self) -> int | None:
        """The step of the newest checkpoint."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step of the checkpoint with the highest accuracy."""
        return self._manager.best_step()

    def _move_aside(self, step: int) -> None:
        target = self._directory.with_name(f"corrupt_checkpoint_{step}")
        count = 1
        while target.exists():
            count += 1
            target = self._directory.with_name(f"corrupt_checkpoint_{step}_{count}")
        (self._directory / str(step)).rename(target)
        self._manager.reload()


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
