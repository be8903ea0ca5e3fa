"""Data sets with a training and a test split."""

from typing import NamedTuple, Self

import numpy as np

from jaxml.errors import InputError


class Split(NamedTuple):
    """Examples with their targets.

    Attributes:
      inputs: uint8 images `[n, height, width, channels]`, or float32 features `[n, features]`.
      targets: int32 labels `[n]`, or float32 values `[n]`.
    """

    inputs: np.ndarray
    targets: np.ndarray


class Dataset(NamedTuple):
    """A training and a test split.

    Attributes:
      train: the training split.
      test: the test split, used for evaluation only.
      num_classes: number of classes; 0 for real-valued targets.
    """

    train: Split
    test: Split
    num_classes: int

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
        return self._replace(train=train, test=held_out)
