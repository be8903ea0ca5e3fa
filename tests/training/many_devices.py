"""Runs on eight simulated CPU devices, in a process of their own.

    python -m tests.training.many_devices FOLDER

trains the same steps on several meshes and writes the state and the metrics of each. With `fsdp=8`,
they are a whole run with its checkpoints.
"""

import json
import os
import sys
from pathlib import Path

import jax
import numpy as np

from jaxml.config import AverageConfig, CheckpointConfig, Config, MeshConfig, OptimConfig
from jaxml.training import sharding
from jaxml.training.compilation import TrainCall, jit_steps
from jaxml.training.evaluation import evaluate
from jaxml.training.experiment import create_experiment
from jaxml.training.initialize import initial_state
from jaxml.training.loop import train_and_evaluate
from tests import tiny

COUNT = 8
STEPS = 6  # three epochs
MESHES = [(1, 1), (2, 1), (8, 1), (8, 2)]  # devices and fsdp
LEAST_SIZE = 64  # shards the kernels of a tiny network


def config(fsdp: int, num_epochs: int = 3) -> Config:
    """Two steps an epoch, with clipping by the global norm and an average of the parameters."""
    return tiny.config(
        batch_size=480,
        num_epochs=num_epochs,
        mesh=MeshConfig(fsdp=fsdp),
        optim=OptimConfig(learning_rate=0.05, schedule="constant", clip_norm=1.0),
        average=AverageConfig(name="ema", decay=0.5),
        checkpoint=CheckpointConfig(every_steps=1, keep=100),
    )


def take_steps(fsdp: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Returns the state after some steps, by name, and its evaluation."""
    experiment = create_experiment(config(fsdp))
    steps, keys = jit_steps(experiment, [TrainCall(1)]), experiment.keys
    state, orders = initial_state(experiment, steps), []
    for step in range(STEPS):
        if step % experiment.sizes.steps_per_epoch == 0:
            epoch = experiment.replicate(step // experiment.sizes.steps_per_epoch)
            orders.append(steps.epoch_order(keys.order, epoch))
        arguments = state, experiment.train_data, orders[-1], keys.step
        state, *_ = steps.train[TrainCall(1)](*arguments)
    where = {leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.params)}
    assert where == ({True, False} if fsdp > 1 else {True})
    arrays = {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    return {**arrays, "order": np.stack(orders)}, evaluate(experiment, steps, state)


def main(folder: Path) -> None:
    """Writes the results to a folder."""
    sharding.LEAST_SIZE = LEAST_SIZE
    devices = jax.devices()
    metrics = {}
    for count, fsdp in MESHES:
        jax.devices = lambda count=count: devices[:count]
        arrays, metrics[f"{count} {fsdp}"] = take_steps(fsdp)
        np.savez(folder / f"{count} {fsdp}.npz", allow_pickle=False, **arrays)
    jax.devices = lambda: devices
    (folder / "metrics.json").write_text(json.dumps(metrics))
    train_and_evaluate(config(fsdp=COUNT), folder / "run")


if __name__ == "__main__":
    assert f"device_count={COUNT}" in os.environ["XLA_FLAGS"]
    main(Path(sys.argv[1]))
