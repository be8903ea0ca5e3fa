"""Small images for the tests of augmentation, and comparisons with Pillow."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests import properties


def pictures(
    count: int = 4, *, height: int = 13, width: int = 10, channels: int = 3, seed: int = 0
) -> np.ndarray:
    """Returns uint8 images of waves with a little noise; the last one is constant."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    frequency = generator.uniform(0.1, 0.6, (count, 2, channels))
    phase = generator.uniform(0, 6, (count, 1, 1, channels))
    angle = rows[None, ..., None] * frequency[:, 0, None, None] + phase
    angle = angle + columns[None, ..., None] * frequency[:, 1, None, None]
    noise = generator.normal(0, 10, (count, height, width, channels))
    images = np.clip(128 + 110 * np.sin(angle) + noise, 0, 255).astype(np.uint8)
    images[-1] = images[-1, 0, 0]
    return images


def by_pillow(
    function: Callable[..., Image.Image], images: np.ndarray, *arguments: Sequence[Any]
) -> np.ndarray:
    """Applies a function of a Pillow image, and of one entry of each argument, to each image."""
    results = []
    for image, *entries in zip(images, *arguments, strict=True):
        gray = image.shape[-1] == 1
        result = np.asarray(function(Image.fromarray(image[..., 0] if gray else image), *entries))
        results.append(result[..., None] if gray else result)
    return np.stack(results)


def assert_levels(
    function: Callable[..., Any],
    actual: Any,
    expected: np.ndarray,
    *,
    by: str,
    levels: int = 0,
    differing: float = 1.0,
) -> None:
    """Asserts that uint8 images agree, and records their difference.

    Args:
      function: the public function.
      actual: its result.
      expected: the reference's.
      by: name of the reference.
      levels: largest difference of a value.
      differing: largest fraction of values that differ.
    """
    actual = np.asarray(actual)
    assert actual.dtype == expected.dtype == np.uint8
    assert np.mean(actual != expected) <= differing
    scale = max(int(expected.max(initial=0)), 1)
    properties.agree(function, actual, expected, by=by, rtol=(levels + 0.01) / scale)
