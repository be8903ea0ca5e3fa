"""What every source yields."""

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
    """A training and a test split of the same kind.

    Attributes:
      train: what is learned from.
      test: what is only evaluated.
      num_classes: labels are in [0, num_classes); 0 where the targets are real values.
    """

    train: Split
    test: Split
    num_classes: int

    def hold_out(self, size: int) -> Self:
        """Puts the last `size` training examples in the place of the test split.

        Raises:
          InputError: nothing would be left to train on.
        """
        count = len(self.train.targets)
        if not 0 <= size < count:
            raise InputError(
                f"config.data.validation_size: {size} is not allowed, "
                f"the training set has {count} examples"
            )
        if not size:
            return self
        train = Split(*(array[:-size] for array in self.train))
        held_out = Split(*(array[-size:] for array in self.train))
        return self._replace(train=train, test=held_out)
