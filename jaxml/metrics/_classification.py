"""Loss and accuracy over several classes."""

from typing import Self

import jax.numpy as jnp
from jax import lax

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer


class ClassificationMetrics(sums.Sums):
    """Sums over examples, mergeable across batches.

    Attributes:
      count: number of examples, int32.
      loss: sum of the per-example losses, float32.
      correct: examples whose highest logit is the label's, int32.
      correct_top5: examples whose label is among the five highest logits, int32.

    Example:
      >>> logits, labels = jnp.array([[2.0, 1.0], [0.0, 3.0]]), jnp.array([0, 0])
      >>> metrics = ClassificationMetrics.of(jnp.zeros(2), logits, labels)
      >>> metrics.compute(num_classes=2)
      {'count': 2, 'loss': 0.0, 'accuracy': 0.5}
    """

    count: Array
    loss: Array
    correct: Array
    correct_top5: Array

    @classmethod
    def zero(cls) -> Self:
        """No examples."""
        counts = [jnp.zeros((), jnp.int32) for _ in range(3)]
        return cls(counts[0], jnp.zeros((), jnp.float32), *counts[1:])

    @classmethod
    def of(
        cls,
        losses: Float[Array, " batch"],
        logits: Float[Array, "batch classes"],
        labels: Integer[Array, " batch"],
        mask: Bool[Array, " batch"] | None = None,
    ) -> Self:
        """The sums over one batch.

        Args:
          losses: `[batch]`.
          logits: `[batch, classes]`; of equal logits the first counts as the higher.
          labels: `[batch]`, integers in [0, classes); one outside is an error, or, where labels or
            the mask are traced, counted as an example that is not correct.
          mask: `[batch]` booleans, False for what does not count; None counts all.

        Returns:
          The metrics of the examples under the mask.

        Raises:
          TypeError: labels that are not integers, losses or logits that are not floating point, a
            mask that is not boolean.
          ValueError: shapes that do not fit, no classes, labels out of range.
        """
        if logits.ndim != 2:
            raise ValueError(f"logits: [batch, classes], not {logits.shape}")
        inputs.check_real("losses", losses)
        inputs.check_same_shape("losses", losses, logits.shape[:1], "logits without classes")
        counts = sums.counted(mask, logits.shape[:1])
        labelling.check_classes(logits, labels, mask, shares=False)
        _, top = lax.top_k(logits, min(5, logits.shape[-1]))
        hits = (top == labels[:, None].astype(top.dtype)) & counts[:, None]
        return cls(
            count=sums.count(counts),
            loss=sums.total(losses, counts),
            correct=sums.count(hits[:, 0]),
            correct_top5=sums.count(hits),
        )

    def compute(self, *, num_classes: int) -> dict[str, int | float]:
        """The means: `count`, `loss`, `accuracy`, and `top5_accuracy` with more than 5 classes."""
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
