"""The handwritten digits that are embedded in scikit-learn: 1,797 images of 8x8 pixels.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
"""

from pathlib import Path

import numpy as np

from jaxml.data._dataset import Dataset, Split
from jaxml.data.sources import _embedded

TEST_SIZE = 360  # the last images in the order of the file are by writers who are not in the rest


def load(directory: Path) -> Dataset:
    """Loads the digits: 1,437 training and 360 test images, unshuffled.

    Args:
      directory: not read, the images are part of scikit-learn.

    Returns:
      Images `[n, 8, 8, 1]`; the 17 grey levels are spread over 0 to 255.
    """
    del directory
    rows = np.loadtxt(_embedded.path("digits.csv.gz"), np.int32, delimiter=",")
    pixels, labels = rows[:, :-1], rows[:, -1]
    images = np.rint(pixels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    train = Split(images[:-TEST_SIZE], labels[:-TEST_SIZE])
    test = Split(images[-TEST_SIZE:], labels[-TEST_SIZE:])
    return Dataset(train, test, num_classes=10)
