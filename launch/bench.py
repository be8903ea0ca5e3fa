"""Times a training step beside plain Flax: python -m launch.bench --batch_size=128.

Both take the same network, batch and optimiser, in turns; the first call of each is not counted.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jaxml import optim
from jaxml.config import OptimConfig
from jaxml.models import MODELS
from jaxml.normalize import UnitInterval
from jaxml.step import TrainState, train_step
from jaxml.types import Batch, PyTree
from launch import cli, plain_flax

MODEL = flags.DEFINE_enum("model", "resnet20v1", list(MODELS), "network")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "images a step", lower_bound=1)
IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "height and width", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 15, "steps of each that are timed", lower_bound=1)


def main() -> None:
    """Prints median and range of both, and the ratio pair by pair."""
    batch = _batch(BATCH_SIZE.value, IMAGE_SIZE.value)
    optimizer = optim.create_optimizer(OptimConfig(), lambda _: 0.1)
    ours = MODELS[MODEL.value](num_classes=10, shortcut="projection")
    peer = plain_flax.ResNet(ours.blocks_per_stage, ours.stage_features)
    steps = {
        "jaxml": _compile(functools.partial(train_step, ours, optimizer), ours, optimizer, batch),
        "plain Flax": _compile(
            functools.partial(plain_flax.step, peer, optimizer), peer, optimizer, batch
        ),
    }
    seconds = {name: [] for name in steps}
    for _ in range(REPEATS.value):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    print(f"{MODEL.value}, train step, {batch.images.shape}, {jax.devices()[0].device_kind}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"  {name:10}  {batch.images.shape[0] / median:9,.1f} images/s  median {median:.4f} s "
            f"({min(times):.4f} to {max(times):.4f})"
        )
    ratios = [b / a for a, b in zip(seconds["jaxml"], seconds["plain Flax"], strict=True)]
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(f"  jaxml is {median:.2f} times as fast (quartiles {low:.2f} to {high:.2f})")


def _batch(size: int, side: int) -> Batch:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (size, side, side, 3), dtype=np.uint8)
    return Batch(jnp.asarray(images), jnp.asarray(generator.integers(0, 10, size), jnp.int32))


def _compile(step: Any, model: Any, optimizer: Any, batch: Batch) -> Callable[[], PyTree]:
    """A function that takes one step and waits for it; the state is donated from step to step."""
    create = jax.jit(
        lambda key: TrainState.create(key, model, optimizer, UnitInterval(), batch.images.shape[1:])
    )
    state = create(jax.random.key(0))
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()

    def take() -> None:
        nonlocal state
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))

    take()
    return take


if __name__ == "__main__":
    cli.run(main)
