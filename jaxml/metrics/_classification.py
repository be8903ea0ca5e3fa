"""Loss and accuracy of multiclass classifiers."""

from typing import Self

import jax.numpy as jnp
from jax import lax

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer


class ClassificationMetrics(sums.Sums):
    """Loss, accuracy and top-5 accuracy of multiclass logits.

    Attributes:
      count: number of examples, int32.
      loss: sum of the losses, float32.
      correct: number of examples whose label has the largest logit, int32.
      correct_top5: number of examples whose label is among the five largest logits, int32.

    Example:
      >>> logits, labels = jnp.array([[2.0, 1.0], [0.0, 3.0]]), jnp.array([0, 0])
      >>> metrics = ClassificationMetrics.from_batch(jnp.zeros(2), logits, labels)
      >>> metrics.compute(num_classes=2)
      {'count': 2, 'loss': 0.0, 'accuracy': 0.5}
    """

    count: Array
    loss: Array
    correct: Array
    correct_top5: Array

    @classmethod
    def empty(cls) -> Self:
        """Returns the metrics of no examples."""
        count, *counts = (jnp.zeros((), jnp.int32) for _ in range(3))
        return cls(count, jnp.zeros((), jnp.float32), *counts)

    @classmethod
    def from_batch(
        cls,
        losses: Float[Array, " batch"],
        logits: Float[Array, "batch classes"],
        labels: Integer[Array, " batch"],
        where: Bool[Array, " batch"] | None = None,
    ) -> Self:
        """Computes the metrics of one batch.

        Args:
          losses: `[batch]`, any loss of the examples.
          logits: `[batch, classes]`. Of equal logits, the first ranks higher.
          labels: `[batch]`, integers in `[0, classes)`. A traced label out of range counts as an
            incorrect example.
          where: `[batch]`, mask over examples.
        """
        if logits.ndim != 2:
            raise ValueError(f"`logits` must have shape [batch, classes], got {logits.shape}")
        inputs.check_real("losses", losses)
        inputs.check_same_shape("losses", losses, logits.shape[:1], "batch of the logits")
        labelling.check_classes(logits, labels, where, soft=False)
        included = sums.included(where, logits.shape[:1])
        _, top = lax.top_k(logits, min(5, logits.shape[-1]))
        hits = (top == labels[:, None].astype(top.dtype)) & included[:, None]
        return cls(
            count=sums.count(included),
            loss=sums.total(losses, included),
            correct=sums.count(hits[:, 0]),
            correct_top5=sums.count(hits),
        )

    def compute(self, *, num_classes: int) -> dict[str, int | float]:
        """Returns `count`, and the means `loss` and `accuracy`.

        With more than 5 classes, `top5_accuracy` is returned as well.
        """
        count = int(self.count)
        divisor = max(count, 1)
        means = {
            "count": count,
            "loss": float(self.loss) / divisor,
            "accuracy": int(self.correct) / divisor,
        }
        if num_classes > 5:
            means["top5_accuracy"] = int(self.correct_top5) / divisor
        return means
