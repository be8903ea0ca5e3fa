"""One of several processes of a test: python -m tests.training.hosts_worker TASK JSON.

`train` trains on a streamed set and records the examples that it reads; `save` and `restore` write
and read a checkpoint whose arrays are sharded over the processes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml.config import CheckpointConfig, DataConfig, ModelConfig, OptimConfig
from jaxml.data import stream
from jaxml.training import hosts, loop
from jaxml.training.checkpoint import Checkpoints, CheckpointWriter
from tests import tiny


class State(dict[str, Any]):
    """A dictionary with the attribute of a training state that is saved as its name."""

    step = 3


jax.tree_util.register_pytree_with_keys(
    State,
    lambda state: (
        [(jax.tree_util.DictKey(k), state[k]) for k in sorted(state)],
        tuple(sorted(state)),
    ),
    lambda names, leaves: State(zip(names, leaves, strict=True)),
)
VALUES = {
    "kernel": np.arange(32, dtype=np.float32).reshape(8, 4),
    "columns": np.arange(32, dtype=np.float32).reshape(4, 8),
    "bias": np.arange(4, dtype=np.float32),
}
SPECS = {
    "kernel": PartitionSpec("data"), "columns": PartitionSpec(None, "data"), "bias": PartitionSpec()
}  # fmt: skip


def config(photos: str, num_epochs: int) -> Any:
    return tiny.config(
        batch_size=8,
        eval_batch_size=4,
        num_epochs=num_epochs,
        model=ModelConfig(name="mlp"),
        optim=OptimConfig(learning_rate=0.05, schedule="constant"),  # for any number of epochs
        checkpoint=CheckpointConfig(every_steps=1),
        data=DataConfig(name="folder", dir=photos, image_size=8, smallest_crop=0.3, workers=1),
    )


def train(workdir: str, photos: str, num_epochs: int) -> None:
    """Trains, and writes the examples of each training batch to `read.PROCESSES.PROCESS.json`."""
    read, original = [], stream.draw_steps

    def draw_steps(*arguments: Any, **options: Any) -> Any:
        for draws in original(*arguments, **options):
            read.append([draw.example for draw in draws])
            yield draws

    stream.draw_steps = draw_steps
    loop.train_and_evaluate(config(photos, num_epochs), workdir)
    name = f"read.{jax.process_count()}.{jax.process_index()}.json"
    (Path(workdir) / name).write_text(json.dumps(read))


def _shardings() -> dict[str, NamedSharding]:
    mesh = jax.make_mesh((len(jax.devices()),), ("data",), axis_types=(AxisType.Auto,))
    return {name: NamedSharding(mesh, spec) for name, spec in SPECS.items()}


def save(workdir: str) -> None:
    """Saves a state sharded over the processes."""
    state = State({n: hosts.place(VALUES[n], s) for n, s in _shardings().items()})
    folder = Path(workdir)
    writer = CheckpointWriter(folder, CheckpointConfig(), say=print)
    writer.save(state, {"note": 1}, None)  # type: ignore[arg-type]
    writer.confirm(3)
    writer.close()


def restore(workdir: str) -> None:
    """Restores the state of `save`, and compares the shards on the devices of this process."""
    abstract = State(
        {
            n: jax.ShapeDtypeStruct(VALUES[n].shape, VALUES[n].dtype, sharding=s)
            for n, s in _shardings().items()
        }
    )
    state: Any = Checkpoints(Path(workdir)).restore(3, abstract)  # type: ignore[arg-type]
    for name, array in state.items():
        for shard in array.addressable_shards:
            np.testing.assert_array_equal(np.asarray(shard.data), VALUES[name][shard.index])


if __name__ == "__main__":
    task, options = sys.argv[1], json.loads(sys.argv[2])
    port, count, process = (options.pop(name) for name in ("port", "count", "process"))
    jax.config.update("jax_num_cpu_devices", options.pop("devices"))
    if count > 1:
        jax.config.update("jax_enable_preemption_service", False)
        jax.distributed.initialize(
            f"127.0.0.1:{port}",
            count,
            process,
            initialization_timeout=60,
            shutdown_timeout_seconds=30,
        )
    {"train": train, "save": save, "restore": restore}[task](**options)
