"""Batches of a set that does not fit into memory, decoded by threads while the device computes.

A batch is a function of the examples that are asked for, whatever the number of threads. The
decoders release the interpreter lock, so threads decode in parallel, and nothing is copied between
processes.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from jaxml.data._dataset import Split, StreamedSplit

__all__ = ["Draw", "draw_steps", "in_order", "load", "stream"]

_CHUNK = 16  # examples that a thread decodes at a time, at most
_BATCHES_AHEAD = 2  # at least


class Draw(NamedTuple):
    """An example to read.

    Attributes:
      example: index in the split.
      epoch: epoch of its random crop; None is the center.
    """

    example: int
    epoch: int | None = None


def draw_steps(
    order: Callable[[int], np.ndarray],
    steps: range,
    *,
    steps_per_epoch: int,
    batch_size: int,
    part: slice | np.ndarray,
) -> Iterator[list[Draw]]:
    """Yields the examples of training steps.

    Args:
      order: returns the permutation of an epoch, such as `pipeline.epoch_order`.
      steps: the steps of the run.
      steps_per_epoch: number of steps of an epoch.
      batch_size: number of examples of a step, over all hosts.
      part: the part of each batch to read, a slice or indices.
    """
    current, permutation = -1, np.empty(0, np.int32)
    for step in steps:
        epoch, index = divmod(step, steps_per_epoch)
        if epoch != current:
            current, permutation = epoch, np.asarray(order(epoch))
        chosen = permutation[index * batch_size :][:batch_size][part]
        yield [Draw(int(example), epoch) for example in chosen]


def stream(
    split: StreamedSplit, batches: Iterable[Sequence[Draw]], *, workers: int
) -> Generator[tuple[np.ndarray, np.ndarray]]:
    """Yields the inputs and targets of batches, read ahead by threads.

    Closing the iterator ends the threads; each finishes the few examples that it has begun.

    Args:
      split: the examples.
      batches: the examples of each batch.
      workers: number of threads; 0 reads in the calling thread.
    """
    if workers == 0:
        for draws in batches:
            batch = _allocate(split, draws)
            _fill(split, draws, batch, slice(0, len(draws)))
            yield batch
        return
    pool = ThreadPoolExecutor(workers, "jaxml-data")
    pending: deque[tuple[tuple[np.ndarray, np.ndarray], list[Future[None]]]] = deque()
    try:
        for draws in batches:
            chunk = min(_CHUNK, math.ceil(len(draws) / workers))
            batch = _allocate(split, draws)
            parts = [slice(start, start + chunk) for start in range(0, len(draws), chunk)]
            pending.append(
                (batch, [pool.submit(_fill, split, draws, batch, part) for part in parts])
            )
            if len(pending) > max(_BATCHES_AHEAD, 2 * workers * chunk // len(draws)):
                yield _wait(*pending.popleft())
        while pending:
            yield _wait(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(
    split: Split | StreamedSplit, size: int, *, workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields a split in its own order, without randomness; the last batch may be smaller.

    Args:
      split: the examples.
      size: number of examples of a batch.
      workers: see `stream`.
    """
    count = len(split.targets)
    parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
    if isinstance(split, Split):
        for part in parts:
            yield split.inputs[part.start : part.stop], split.targets[part.start : part.stop]
    else:
        yield from stream(
            split, ([Draw(example) for example in part] for part in parts), workers=workers
        )


def load(split: StreamedSplit, *, workers: int) -> Split:
    """Reads a whole split into memory, without randomness."""
    batches = in_order(split, _CHUNK, workers=workers)
    return Split(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def _allocate(split: StreamedSplit, draws: Sequence[Draw]) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(draws), *split.inputs.shape[1:])
    return np.empty(shape, split.inputs.dtype), np.empty(len(draws), split.targets.dtype)


def _fill(
    split: StreamedSplit, draws: Sequence[Draw], batch: tuple[np.ndarray, np.ndarray], part: slice
) -> None:
    """Reads a part of a batch into its place."""
    inputs, targets = batch
    for place in range(*part.indices(len(draws))):
        inputs[place], found = split.inputs.read(*draws[place])
        targets[place] = split.targets[found]


def _wait(
    batch: tuple[np.ndarray, np.ndarray], parts: Sequence[Future[None]]
) -> tuple[np.ndarray, np.ndarray]:
    for part in parts:
        part.result()
    return batch
