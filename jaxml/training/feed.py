"""The data of training and evaluation steps: the whole set on the devices, or streamed batches."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxml.data import StreamedSplit, num_workers, stream
from jaxml.data.stream import Draw
from jaxml.training import hosts
from jaxml.training.experiment import Experiment
from jaxml.types import Array, Batch, Key


def abstract_train_data(experiment: Experiment, num_steps: int) -> Batch:
    """Returns the data of a training call, or their shapes `[steps, batch, ...]` if streamed."""
    if experiment.streamed is None:
        return experiment.train_data
    shape = (num_steps, experiment.sizes.batch_size)
    return _abstract(experiment.streamed.train, shape, _stacked(experiment))


def abstract_eval_data(experiment: Experiment) -> Batch:
    """Returns the data of an evaluation step, or the shapes of a batch if they are streamed."""
    if experiment.streamed is None:
        return experiment.eval_data
    shape = (experiment.sizes.eval_batch_size,)
    return _abstract(experiment.streamed.test, shape, experiment.sharded)


@contextlib.contextmanager
def train_feed(
    experiment: Experiment,
    epoch_order: Callable[[Key, Array], Array],
    first_step: int,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Callable[[int], Batch]]:
    """Provides the data of successive training calls; ends the threads that read ahead.

    Args:
      experiment: the experiment.
      epoch_order: see `StepFunctions.epoch_order`.
      first_step: the step of the first call.
      say: receives a line about each damaged image.

    Yields:
      A function from the number of steps of a call to its data.
    """
    if experiment.streamed is None:
        yield lambda _: experiment.train_data
        return
    sizes, damage = experiment.sizes, experiment.damage
    told = 0

    def order(epoch: int) -> np.ndarray:
        return np.asarray(epoch_order(experiment.keys.order, experiment.replicate(epoch)))

    def tell() -> None:
        nonlocal told
        for message in list(damage.values())[told:]:
            say(f"warning: {message}; replaced by the next image")
            told += 1

    draws = stream.draw_steps(
        order,
        range(first_step, sizes.num_steps),
        steps_per_epoch=sizes.steps_per_epoch,
        batch_size=sizes.batch_size,
        part=hosts.local_part(experiment.sharded, sizes.batch_size),
    )
    with contextlib.closing(_batches(experiment, experiment.streamed.train, draws)) as batches:

        def take(num_steps: int) -> Batch:
            steps = [next(batches) for _ in range(num_steps)]
            tell()
            if num_steps == 1:
                stacked = (array[None] for array in steps[0])  # without a copy
            else:
                stacked = (np.stack(arrays) for arrays in zip(*steps, strict=True))
            return _to_devices(stacked, _stacked(experiment), (num_steps, sizes.batch_size))

        yield take
    tell()


def eval_feed(experiment: Experiment) -> Generator[tuple[int, Batch]]:
    """Yields the first example of each evaluation step, and its data."""
    count, size = experiment.sizes.eval_count, experiment.sizes.eval_batch_size
    starts = range(0, count, size)
    if experiment.streamed is None:
        for start in starts:
            yield start, experiment.eval_data
        return
    part = hosts.local_part(experiment.sharded, size)
    draws = (  # evaluation masks the copies of the last example
        [Draw(min(start + int(index), count - 1)) for index in part] for start in starts
    )
    with contextlib.closing(_batches(experiment, experiment.streamed.test, draws)) as batches:
        for start, batch in zip(starts, batches, strict=True):
            yield start, _to_devices(batch, experiment.sharded, (size,))


def _batches(
    experiment: Experiment, split: StreamedSplit, draws: Iterator[Sequence[Draw]]
) -> Generator[tuple[np.ndarray, np.ndarray]]:
    return stream.stream(split, draws, workers=num_workers(experiment.config.data))


def _stacked(experiment: Experiment) -> NamedSharding:
    """Returns the sharding of the batches of several steps."""
    return NamedSharding(experiment.sharded.mesh, PartitionSpec(None, *experiment.sharded.spec))


def _abstract(split: StreamedSplit, leading: tuple[int, ...], sharding: NamedSharding) -> Batch:
    def one(array: Any) -> Any:
        shape = (*leading, *array.shape[1:])
        return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)

    return Batch(*map(one, split))


def _to_devices(arrays: Any, sharding: NamedSharding, leading: tuple[int, ...]) -> Batch:
    """Places the part of this host of a global batch on its devices."""

    def place(array: np.ndarray) -> Array:
        shape = (*leading, *array.shape[len(leading) :])
        return jax.make_array_from_process_local_data(sharding, array, shape)

    return Batch(*map(place, arrays))
