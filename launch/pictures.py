"""Pictures that launchers write."""

from collections.abc import Sequence
from typing import Any

import numpy as np

SIDE = 224  # least height and width of a panel


def attribution_strip(image: np.ndarray, maps: Sequence[np.ndarray]) -> Any:
    """Returns a picture of an image, and of the image dimmed except where each map is large.

    Args:
      image: uint8 `[height, width, channels]`.
      maps: non-negative `[height, width]`, scaled by their 99th percentile.

    Returns:
      A `PIL.Image.Image` with the panels side by side.
    """
    from jaxml.data._optional import require

    pillow = require("PIL.Image", "pillow")
    pixels = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]
    panels = [pixels, *(_overlay(pixels, heat) for heat in maps)]
    scale = max(1, -(-SIDE // max(image.shape[:2])))
    strip = np.concatenate([np.pad(p, [(0, 0), (0, 1), (0, 0)]) for p in panels], axis=1)
    picture = pillow.fromarray(strip)
    return picture.resize(
        (picture.width * scale, picture.height * scale), pillow.Resampling.NEAREST
    )


def _overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blends a dimmed grey image with yellow, by the values of a map."""
    largest = np.percentile(heat, 99) or heat.max() or 1.0
    weight = np.clip(heat / largest, 0, 1)[..., None]
    grey = pixels.mean(axis=2, keepdims=True) * 0.5
    return np.rint(grey * (1 - weight) + np.asarray([255, 210, 0]) * weight).astype(np.uint8)
