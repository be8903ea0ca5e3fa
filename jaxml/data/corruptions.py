"""Common corruptions of images at five severities, to measure robustness.

The functions take and return one uint8 image `[height, width, channels]`. Noise, contrast and JPEG
have the strengths of ImageNet-C. Brightness shifts all channels rather than the value in HSV, and
the deviation of the blur is that of CIFAR-10-C, as a fraction of the height of larger images.

Reference: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions
and perturbations", 2019.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np

from jaxml.data._optional import require
from jaxml.errors import choose

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt"]

SEVERITIES = (1, 2, 3, 4, 5)


def _noise(image: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return _to_uint8(image / 255 + deviation * generator.standard_normal(image.shape))


def _blur(image: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    from scipy import ndimage  # slow to import, and used here alone

    del generator
    sigma = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1] * max(len(image) / 32, 1)
    return _to_uint8(ndimage.gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest"))


def _brightness(image: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    del generator
    return _to_uint8(image / 255 + (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1])


def _contrast(image: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    del generator
    pixels = image / 255
    mean = pixels.mean(axis=(0, 1))
    return _to_uint8((pixels - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + mean)


def _jpeg(image: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    del generator
    pillow, stream = require("PIL.Image", "pillow"), io.BytesIO()
    single = image.shape[2] == 1
    quality = (25, 18, 15, 10, 7)[severity - 1]
    pillow.fromarray(image[..., 0] if single else image).save(stream, "JPEG", quality=quality)
    decoded = np.asarray(pillow.open(stream))
    return decoded[..., None] if single else decoded


CORRUPTIONS: Mapping[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "noise": _noise,
    "blur": _blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "jpeg": _jpeg,
}


def corrupt(image: np.ndarray, name: str, *, severity: int, seed: int = 0) -> np.ndarray:
    """Corrupts an image.

    Args:
      image: uint8 `[height, width, channels]` with 1 or 3 channels.
      name: a name in `CORRUPTIONS`.
      severity: 1 to 5.
      seed: seed of the noise, such as the index of the image.

    Example:
      >>> corrupt(np.full((2, 2, 1), 100, np.uint8), "brightness", severity=5)[0, 0].tolist()
      [227]
    """
    if severity not in SEVERITIES:
        raise ValueError(f"`severity` must be in [1, 5], got {severity}")
    function = choose(CORRUPTIONS, name, "--corruptions")
    return function(image, severity, np.random.default_rng(seed))


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
