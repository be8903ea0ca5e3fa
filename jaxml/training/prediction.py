"""Predictions for inputs without labels, in constant memory."""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml.config import DataConfig
from jaxml.data import inputs as data_inputs
from jaxml.data import num_workers
from jaxml.data._optional import MissingPackageError
from jaxml.data.decode import DamagedError
from jaxml.data.inputs import Input
from jaxml.errors import InputError
from jaxml.training.trained import TrainedNetwork, check_tap
from jaxml.types import Array

Inputs = str | Path | np.ndarray | Iterable[Input]


class Prediction(NamedTuple):
    """The result for one input.

    Attributes:
      name: name of the input.
      values: probability of each class `[classes]`, the value `[1]` of a regression, or features;
        empty if the input is damaged.
      error: description of the damage, or "".
      example: the input as the network takes it; empty if it is damaged.
    """

    name: str
    values: np.ndarray
    error: str
    example: np.ndarray


def predict(
    network: TrainedNetwork,
    inputs: Inputs,
    *,
    tap: str | None = None,
    batch_size: int = 64,
    workers: int | None = None,
) -> Iterator[Prediction]:
    """Yields the predictions for inputs in their order, while threads read the next ones.

    Images are decoded, resized and cropped as in the evaluation of the run. An input that cannot be
    read is a `Prediction` with an error.

    Args:
      network: result of `load_network`.
      inputs: a path or array, see `jaxml.data.inputs`, or its inputs.
      tap: name of an intermediate result that is returned as features; None predicts.
      batch_size: number of examples in a batch, over all devices.
      workers: number of threads that read; None takes one a CPU core.

    Raises:
      InputError: there are no inputs, or the network has no such tap.
    """
    if tap is not None:
        check_tap(network, tap)
    if isinstance(inputs, str | Path):
        inputs = data_inputs.list_inputs(inputs)
    elif isinstance(inputs, np.ndarray):
        inputs = data_inputs.of_array(inputs)
    threads = num_workers(DataConfig()) if workers is None else workers
    return _predict(network, inputs, tap, batch_size, max(threads, 1))


def _predict(
    network: TrainedNetwork, inputs: Iterable[Input], tap: str | None, batch_size: int, workers: int
) -> Iterator[Prediction]:
    method = partial(TrainedNetwork.features, tap=tap) if tap else TrainedNetwork.probabilities
    compute = on_devices(network, method)
    examples = _read_ahead(network, inputs, workers, ahead=2 * batch_size)
    waiting: deque[tuple[Sequence[Prediction], Array | None]] = deque()
    try:
        while batch := list(itertools.islice(examples, batch_size)):
            whole = [one.example for one in batch if not one.error]
            waiting.append((batch, compute(np.stack(whole)) if whole else None))
            if len(waiting) > 1:  # the devices compute while the next batch is read
                yield from _filled(*waiting.popleft())
        while waiting:
            yield from _filled(*waiting.popleft())
    finally:
        examples.close()


def on_devices(
    network: TrainedNetwork, method: Callable[[TrainedNetwork, Array], Array]
) -> Callable[[np.ndarray], Array]:
    """Compiles a function of a network for batches of any size, sharded over the devices.

    Args:
      network: its parameters are replicated over the devices.
      method: function of the network and a batch of raw inputs.

    Returns:
      A function of a batch. Its result may have more rows than the batch, at the end, because
      batches are padded to few sizes, each of which is compiled.
    """
    devices = jax.local_devices()
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    sharded, replicated = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["data"], []))
    run = partial(jax.jit(method), jax.device_put(network, replicated))
    largest = 0

    def compute(batch: np.ndarray) -> Array:
        nonlocal largest
        largest = max(largest, len(batch))
        size = min(1 << (len(batch) - 1).bit_length(), largest)
        padding = size + -size % len(devices) - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[-1:], padding, axis=0)])
        return run(jax.device_put(padded, sharded))

    return compute


def _filled(batch: Sequence[Prediction], values: Array | None) -> Iterator[Prediction]:
    """Adds the values of a batch to the undamaged ones of its predictions."""
    rows = iter(() if values is None else np.asarray(values))
    for one in batch:
        yield one if one.error else one._replace(values=next(rows))


def _read_ahead(
    network: TrainedNetwork, inputs: Iterable[Input], workers: int, *, ahead: int
) -> Generator[Prediction]:
    """Yields the examples without their values, read by threads."""
    pool = ThreadPoolExecutor(workers, "jaxml-inputs")
    pending: deque[Future[Prediction]] = deque()
    try:
        for one in inputs:
            pending.append(pool.submit(_read, network, one))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(network: TrainedNetwork, one: Input) -> Prediction:
    empty = np.empty(0)
    try:
        example = data_inputs.prepare(
            one.read(), network.example_shape, center_fraction=network.center_fraction
        )
    except MissingPackageError:
        raise
    except (DamagedError, InputError, OSError) as error:
        return Prediction(one.name, empty, getattr(error, "strerror", None) or str(error), empty)
    return Prediction(one.name, empty, "", example)
