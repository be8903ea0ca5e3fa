"""Handwritten digits from scikit-learn: 1,797 images of 8x8 pixels in 10 classes.

References:
  Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI, 1998.
"""

from pathlib import Path

import numpy as np

from jaxml.data._dataset import Dataset, Split
from jaxml.data.sources import _embedded

__all__ = ["load"]

_TEST_SIZE = 360  # the last images of the file are by writers that do not occur before


def load(directory: Path) -> Dataset:
    """Loads the digits: 1,437 training and 360 test images, in the order of the file.

    Args:
      directory: ignored, the images are part of scikit-learn.

    Returns:
      Images `[n, 8, 8, 1]`, whose 17 grey levels are scaled to 0 to 255.
    """
    del directory
    rows = np.loadtxt(_embedded.path("digits.csv.gz"), np.int32, delimiter=",")
    pixels, labels = rows[:, :-1], rows[:, -1]
    images = np.rint(pixels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    train = Split(images[:-_TEST_SIZE], labels[:-_TEST_SIZE])
    test = Split(images[-_TEST_SIZE:], labels[-_TEST_SIZE:])
    return Dataset(train, test, num_classes=10)
