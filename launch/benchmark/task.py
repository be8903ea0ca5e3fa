"""What one competitor is asked to do, and what it has to say of itself."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing that is timed, of one size.

    Attributes:
      what: "train_step", "inference", "epoch", "compile" or "conv".
      model: a name in `jaxml.models.MODELS`.
      batch_size: images in a batch.
      image_size: their height and width.
      num_classes: outputs of the network.
      precision: "float32" or "bfloat16", of the computation.
      images: of the set that an epoch passes over.
      devices: over which a batch of ours is sharded.
    """

    what: str
    model: str
    batch_size: int
    image_size: int
    num_classes: int
    precision: str = "float32"
    images: int = 50_000
    devices: int = 1

    @property
    def batch_shape(self) -> tuple[int, int, int, int]:
        """Of the images of a batch."""
        return (self.batch_size, self.image_size, self.image_size, CHANNELS)

    @property
    def counted(self) -> int:
        """Images that pass in one call; 0 where it is not about images."""
        if self.what == "compile":
            return 0
        return self.steps * self.batch_size if self.what == "epoch" else self.batch_size

    @property
    def steps(self) -> int:
        """Batches of an epoch; what is left over of the set is not used."""
        return self.images // self.batch_size


class Operation(NamedTuple):
    """Something that can be timed.

    Attributes:
      call: does it, and returns when it is done.
      flops: floating-point operations of a call; 0 where they are not known.
      bytes_moved: read and written by a call; 0 where they are not known.
    """

    call: Callable[[], object]
    flops: float = 0.0
    bytes_moved: float = 0.0


class Prepared(NamedTuple):
    """A competitor that is ready.

    Attributes:
      operations: what can be timed, by name.
      device: what it computes on.
      versions: of the libraries that it is made with.
      parameters: how many numbers its network learns; 0 without a network.
    """

    operations: Mapping[str, Operation]
    device: str
    versions: Mapping[str, str]
    parameters: int = 0


def cores() -> int:
    """How many this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # on Linux
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def random_images(task: Task, count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images `[count, size, size, 3]` and int32 labels `[count]`."""
    generator = np.random.default_rng(0)
    shape = (count, *task.batch_shape[1:])
    images = generator.integers(0, 256, shape, dtype=np.uint8)
    return images, generator.integers(0, task.num_classes, count, dtype=np.int32)
