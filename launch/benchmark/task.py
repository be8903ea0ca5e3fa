"""The task of a competitor in a benchmark, and what it prepares for it."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class Task:
    """An operation to time, of one size.

    Attributes:
      what: "train_step", "inference", "epoch", "compile" or "conv".
      model: name of the network in `jaxml.models.MODELS`.
      batch_size: images in a batch.
      image_size: height and width of the images.
      num_classes: outputs of the network.
      precision: dtype of the computation, "float32" or "bfloat16".
      images: number of images in the training set of an epoch.
      devices: number of devices over which jaxml shards a batch.
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
        """Shape of the images of a batch."""
        return (self.batch_size, self.image_size, self.image_size, CHANNELS)

    @property
    def counted(self) -> int:
        """Number of images that one call processes; 0 if it processes none."""
        if self.what == "compile":
            return 0
        return self.steps * self.batch_size if self.what == "epoch" else self.batch_size

    @property
    def steps(self) -> int:
        """Number of batches in an epoch; the remainder is dropped."""
        return self.images // self.batch_size


class Operation(NamedTuple):
    """An operation that is ready to be timed.

    Attributes:
      call: executes the operation and returns when it is complete.
      flops: floating-point operations of a call; 0 if unknown.
      bytes_moved: bytes that a call reads and writes; 0 if unknown.
    """

    call: Callable[[], object]
    flops: float = 0.0
    bytes_moved: float = 0.0


class Prepared(NamedTuple):
    """A competitor that is ready to be timed.

    Attributes:
      operations: operations, by name.
      device: description of the device.
      versions: versions of the libraries.
      parameters: number of trainable parameters; 0 without a network.
    """

    operations: Mapping[str, Operation]
    device: str
    versions: Mapping[str, str]
    parameters: int = 0


def cores() -> int:
    """Returns the number of cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # on Linux
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def random_images(task: Task, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws uint8 images `[count, size, size, 3]` and int32 labels `[count]`."""
    generator = np.random.default_rng(0)
    shape = (count, *task.batch_shape[1:])
    images = generator.integers(0, 256, shape, dtype=np.uint8)
    return images, generator.integers(0, task.num_classes, count, dtype=np.int32)
