"""Times a training step beside plain Flax: python -m launch.bench --batch_size=128.

Both take the same network, batch and optimiser, in turns; the first call of each is not counted.
Each has a process of its own, started as its users start theirs: ours as a launcher does.
"""

import functools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jaxml import optim
from jaxml.config import LossConfig, OptimConfig
from jaxml.models import MODELS
from jaxml.normalize import UnitInterval
from jaxml.objective import create_objective
from jaxml.step import Method, TrainState, train_step
from jaxml.types import Batch
from launch import cli, plain_flax, xla

MODEL = flags.DEFINE_enum("model", "resnet20v1", list(MODELS), "network")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "images a step", lower_bound=1)
IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "height and width", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 15, "steps of each that are timed", lower_bound=1)

CONTENDERS = ("jaxml", "plain Flax")


def main() -> None:
    """Prints median and range of both, and the ratio pair by pair."""
    workers = {name: _Worker(name) for name in CONTENDERS}
    for worker in workers.values():
        worker.step()
    seconds = {name: [] for name in CONTENDERS}
    for repeat in range(REPEATS.value):
        for name in CONTENDERS[:: -1 if repeat % 2 else 1]:
            seconds[name].append(workers[name].step())
    for worker in workers.values():
        worker.stop()
    side = IMAGE_SIZE.value
    shape = (BATCH_SIZE.value, side, side, 3)
    print(f"{MODEL.value}, train step, {shape}, {workers['jaxml'].device}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"  {name:10}  {BATCH_SIZE.value / median:9,.1f} images/s  median {median:.4f} s "
            f"({min(times):.4f} to {max(times):.4f})"
        )
    _print_ratio(seconds["jaxml"], seconds["plain Flax"])


def _print_ratio(ours: Sequence[float], theirs: Sequence[float]) -> None:
    low, median, high = np.quantile(np.divide(theirs, ours), [0.25, 0.5, 0.75])
    print(f"  jaxml is {median:.2f} times as fast (quartiles {low:.2f} to {high:.2f})")


class _Worker:
    """A process that holds one contender and takes a step when asked."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        arguments = (there, name, MODEL.value, BATCH_SIZE.value, IMAGE_SIZE.value)
        context.Process(target=_work, args=arguments, daemon=True).start()
        self.device = self._connection.recv()

    def step(self) -> float:
        """The seconds of one step."""
        self._connection.send("step")
        return self._connection.recv()

    def stop(self) -> None:
        """Ends the process."""
        self._connection.send("stop")


def _work(connection: Connection, name: str, model: str, batch_size: int, side: int) -> None:
    if name == "jaxml":
        xla.tune_cpu(os.environ)
    step = _build(name, MODELS[model](num_classes=10, shortcut="projection"), batch_size, side)
    connection.send(jax.devices()[0].device_kind)
    while connection.recv() == "step":
        start = time.perf_counter()
        step()
        connection.send(time.perf_counter() - start)


def _build(name: str, ours: Any, batch_size: int, side: int) -> Callable[[], None]:
    """A function that takes one step and waits for it; the state is donated from step to step."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch_size, side, side, 3), dtype=np.uint8)
    batch = Batch(
        jnp.asarray(images), jnp.asarray(generator.integers(0, 10, batch_size), jnp.int32)
    )
    optimizer = optim.create_optimizer(OptimConfig(), lambda _: 0.1)
    objective = create_objective(LossConfig(), num_classes=10)
    model, step = ours, functools.partial(train_step, jax.random.key(0))
    if name != "jaxml":
        model = plain_flax.ResNet(ours.blocks_per_stage, ours.stage_features)
        step = plain_flax.step
    method = Method(model, objective, optimizer)
    create = functools.partial(
        TrainState.create,
        method=method,
        normalizer=UnitInterval(),
        input_shape=images.shape[1:],
    )
    state = jax.jit(create)(jax.random.key(0))
    step = functools.partial(step, method)
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()

    def take() -> None:
        nonlocal state
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))

    return take


if __name__ == "__main__":
    cli.run(main, tune=False)
