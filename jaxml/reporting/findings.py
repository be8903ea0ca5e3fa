"""Findings about the network of a run for its report: arrays that the training code computes."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Findings:
    """The outputs of a trained network on its evaluation set, and pictures.

    Attributes:
      outputs: `[n, classes]` logits, `[n]` for binary labels and real targets.
      targets: `[n]`, labels or real targets.
      num_classes: number of classes; 0 for real targets.
      probabilistic: whether the outputs are logits of probabilities, not margins of a hinge loss.
      class_names: names of the classes, where they are known.
      layers: paths of the layers with parameters, in the order of their calls.
      multiply_adds: of the network, for one example.
      peak_flops: measured operations per second of a large float32 matrix product.
      kernels: kernels of the first layer as images `[n, height, width, 1 or 3]`, or None.
      samples: images of an augmented training batch, uint8, or None.
      sample_captions: a text for each of the samples.
      images: returns examples of the evaluation set by index as uint8 images; None if they are no
        images.
    """

    outputs: np.ndarray
    targets: np.ndarray
    num_classes: int
    probabilistic: bool = True
    class_names: Sequence[str] = ()
    layers: Sequence[str] = ()
    multiply_adds: int = 0
    peak_flops: float = 0.0
    kernels: np.ndarray | None = None
    samples: np.ndarray | None = None
    sample_captions: Sequence[str] = ()
    images: Callable[[Sequence[int]], np.ndarray] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the classes, or else their numbers."""
        return list(self.class_names) or [str(i) for i in range(self.num_classes)]

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each class `[n, classes]`, float64; scores only, if not probabilistic."""
        logits = self.outputs.astype(np.float64)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)
