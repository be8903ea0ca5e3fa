"""Loss, accuracy, precision and recall of one logit an example."""

from typing import Self

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.metrics import _sums as sums
from jaxml.predictions import binary_predictions
from jaxml.types import Array, Bool, Float, Integer


class BinaryMetrics(sums.Sums):
    """Sums over examples of two classes, of which 1 is the positive one.

    Attributes:
      count: number of examples, int32.
      loss: sum of the per-example losses, float32.
      correct: examples whose logit is above 0 where the label is 1, and not where it is 0, int32.
      positive: examples whose label is 1, int32.
      predicted: examples whose logit is above 0, int32.
      found: examples that are both, int32.

    Example:
      >>> logits, labels = jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 1, 0])
      >>> BinaryMetrics.of(jnp.zeros(3), logits, labels).compute()["recall"]
      0.5
    """

    count: Array
    loss: Array
    correct: Array
    positive: Array
    predicted: Array
    found: Array

    @classmethod
    def zero(cls) -> Self:
        """No examples."""
        counts = [jnp.zeros((), jnp.int32) for _ in range(5)]
        return cls(counts[0], jnp.zeros((), jnp.float32), *counts[1:])

    @classmethod
    def of(
        cls,
        losses: Float[Array, "*batch"],
        logits: Float[Array, "*batch"],
        labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Self:
        """The sums over one batch.

        Args:
          losses: `[...]`.
          logits: `[...]`, the log-odds of class 1.
          labels: `[...]`, integers 0 and 1 or booleans; another integer is an error, or, where
            labels or the mask are traced, counted as neither positive nor correct.
          mask: `[...]` booleans, False for what does not count; None counts all.

        Returns:
          The metrics of the examples under the mask.

        Raises:
          TypeError: labels that are not integers or booleans, a mask that is not boolean.
          ValueError: shapes that are not one, labels out of range.
        """
        inputs.check_same_shape("losses", losses, labels.shape, "labels")
        inputs.check_same_shape("logits", logits, labels.shape, "labels")
        labels, mask = sums.binary(labels, mask)
        predicted = binary_predictions(logits)
        return cls(
            count=sums.count(mask),
            loss=sums.total(losses, mask),
            correct=sums.count(mask & (predicted == labels)),
            positive=sums.count(mask & (labels == 1)),
            predicted=sums.count(mask & (predicted == 1)),
            found=sums.count(mask & (predicted == 1) & (labels == 1)),
        )

    def compute(self) -> dict[str, int | float]:
        """The means: `count`, `loss`, `accuracy`, `precision`, `recall`, `f1`.

        Each is 0 where nothing is there to divide by, as scikit-learn's `zero_division=0`.
        """
        count, found = int(self.count), int(self.found)
        predicted, positive = int(self.predicted), int(self.positive)
        return {
            "count": count,
            "loss": float(self.loss) / max(count, 1),
            "accuracy": int(self.correct) / max(count, 1),
            "precision": found / max(predicted, 1),
            "recall": found / max(positive, 1),
            "f1": 2 * found / max(predicted + positive, 1),
        }
