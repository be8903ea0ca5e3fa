"""Data sets with a training and a test split, in memory or streamed."""

from typing import NamedTuple, Self

import numpy as np

from jaxml.data._images import Damage, Images
from jaxml.errors import InputError


class Split(NamedTuple):
    """Examples with their targets.

    Attributes:
      inputs: uint8 images `[n, height, width, channels]`, or float32 features `[n, features]`.
      targets: int32 labels `[n]`, or float32 values `[n]`.
    """

    inputs: np.ndarray
    targets: np.ndarray


class StreamedSplit(NamedTuple):
    """Images that are decoded when they are read, with their labels, int32 `[n]`."""

    inputs: Images
    targets: np.ndarray


class Dataset(NamedTuple):
    """A training and a test split.

    Attributes:
      train: the training split.
      test: the test split, used for evaluation only.
      num_classes: number of classes; 0 for real-valued targets.
      test_name: name of the test split in reports, "test" or "validation".
      class_names: names of the classes, where they are known.
    """

    train: Split
    test: Split
    num_classes: int
    test_name: str = "test"
    class_names: tuple[str, ...] = ()

    def hold_out(self, size: int) -> Self:
        """Replaces the test split by the last `size` training examples, unless `size` is 0.

        Raises:
          InputError: no training examples would be left.
        """
        count = len(self.train.targets)
        if not 0 <= size < count:
            raise InputError(
                f"config.data.validation_size must be in [0, {count}), the number of training "
                f"examples, got {size}"
            )
        if not size:
            return self
        train = Split(*(array[:-size] for array in self.train))
        held_out = Split(*(array[-size:] for array in self.train))
        return self._replace(train=train, test=held_out, test_name="validation")


class StreamedDataset(NamedTuple):
    """A `Dataset` whose images are decoded when they are read.

    Attributes:
      train: the training split.
      test: the test split, used for evaluation only.
      num_classes: number of classes.
      test_name: name of the test split in reports, "test" or "validation".
      class_names: names of the classes.
      damage: the damaged images that were replaced so far.
    """

    train: StreamedSplit
    test: StreamedSplit
    num_classes: int
    test_name: str
    class_names: tuple[str, ...]
    damage: Damage
