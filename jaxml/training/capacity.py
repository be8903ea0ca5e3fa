"""The largest batch of a run that fits in memory, from compiled programs: no step is taken."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxml.io import memory
from jaxml.training.compilation import TrainCall, compile_program, jit_steps, train_arguments
from jaxml.training.experiment import Experiment

FRACTION = 0.9  # of the available memory; compiling takes some, and allocation leaves gaps
TRIES = 3  # programs after the first two; one is enough where memory is affine in the batch


class Fit(NamedTuple):
    """A batch that fits in memory.

    Attributes:
      batch_size: number of examples over all devices; 0 if not even the smallest batch fits.
      needed_bytes: memory of a step on each device, see `step_bytes`.
      available_bytes: memory that is available on each device.
      is_limited: whether memory is the limit, and not the size of the training set.
    """

    batch_size: int
    needed_bytes: int
    available_bytes: int
    is_limited: bool


def step_bytes(experiment: Experiment, batch_size: int) -> int:
    """Returns the memory of a training step on each device, with the state and a streamed batch.

    It compiles the step for the largest images of the run. Data sets that are on the devices
    already are not counted.
    """
    sizes = experiment.sizes._replace(batch_size=batch_size)
    resized = dataclasses.replace(experiment, sizes=sizes)
    image_sizes = [size for size in experiment.image_sizes.values() if size]
    whole = len(image_sizes) < len(experiment.image_sizes)
    call = TrainCall(1, None if whole else max(image_sizes))
    arguments = train_arguments(resized, 1)
    step: Any = jit_steps(resized, [call]).train[call]
    placed = memory.of_arrays(experiment.train_data)
    program = compile_program(step.lower(*arguments))
    return memory.of_program(program) + memory.of_arrays(arguments) - placed


def largest_batch(experiment: Experiment) -> Fit | None:
    """Returns the largest batch of a run that fits in the available memory, None if it is unknown.

    Its step was compiled, so that its memory is not extrapolated.
    """
    available = memory.available_on(jax.local_devices())
    if available is None:
        return None
    groups = experiment.config.model.batch_norm_groups or 1
    multiple = math.lcm(experiment.replicated.mesh.size, groups)
    return search(
        lambda size: step_bytes(experiment, size),
        available,
        first=experiment.sizes.batch_size,
        multiple=multiple,
        most=experiment.sizes.train_count,
    )


def search(
    needed: Callable[[int], int], available: int, *, first: int, multiple: int, most: int
) -> Fit:
    """Searches the largest batch by secants of a function that is nearly affine.

    Args:
      needed: bytes for a batch size.
      available: available bytes, of which a fraction of `FRACTION` is used.
      first: a batch size near which to begin.
      multiple: batch sizes are multiples of it.
      most: upper bound of batch sizes.

    >>> search(lambda size: 100 + 10 * size, 1000, first=20, multiple=4, most=500).batch_size
    80
    """
    first, most = max(first - first % multiple, multiple), most - most % multiple
    sizes = [max(first // 2 - first // 2 % multiple, multiple), first]
    if sizes[0] == first:
        sizes[1] = min(2 * multiple, most)
    limit, found = int(FRACTION * available), {size: needed(size) for size in sizes}
    for _ in range(TRIES):
        (small, least), (large, more) = sorted((size, found[size]) for size in sizes[-2:])
        slope = (more - least) / max(large - small, 1)
        size = int(small + (limit - least) / slope) if slope > 0 else most
        size = min(max(size - size % multiple, multiple), most)
        if size in found:
            break
        found[size] = needed(size)
        sizes.append(size)
    best = max((size for size, bytes_ in found.items() if bytes_ <= limit), default=0)
    return Fit(best, found.get(best, min(found.values())), available, best < most)
