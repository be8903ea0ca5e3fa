"""What every source yields."""

from typing import NamedTuple, Self

import numpy as np

from jaxml.errors import InputError


class Split(NamedTuple):
    """Images `[n, height, width, channels]` uint8 with their labels `[n]` int32."""

    images: np.ndarray
    labels: np.ndarray


class Dataset(NamedTuple):
    """A training and a test split over the same classes.

    Attributes:
      train: what is learned from.
      test: what is only evaluated.
      num_classes: labels are in [0, num_classes).
    """

    train: Split
    test: Split
    num_classes: int

    def hold_out(self, size: int) -> Self:
        """Puts the last `size` training images in the place of the test split.

        Raises:
          InputError: nothing would be left to train on.
        """
        count = len(self.train.labels)
        if not 0 <= size < count:
            raise InputError(
                f"config.data.validation_size: {size} is not allowed, "
                f"the training set has {count} images"
            )
        if not size:
            return self
        train = Split(*(array[:-size] for array in self.train))
        held_out = Split(*(array[-size:] for array in self.train))
        return self._replace(train=train, test=held_out)
