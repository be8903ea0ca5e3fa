"""Loss, accuracy, precision and recall of binary classifiers."""

from typing import Self

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.metrics import _sums as sums
from jaxml.predictions import binary_predictions
from jaxml.types import Array, Bool, Float, Integer


class BinaryMetrics(sums.Sums):
    """Loss, accuracy, precision, recall and F1 score of one logit per example.

    Class 1 is the positive class; a logit above 0 predicts it.

    Attributes:
      count: number of examples, int32.
      loss: sum of the losses, float32.
      correct: number of correct predictions, int32.
      positives: number of examples of class 1, int32.
      predicted_positives: number of predictions of class 1, int32.
      true_positives: number of correct predictions of class 1, int32.

    Example:
      >>> logits, labels = jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 1, 0])
      >>> BinaryMetrics.from_batch(jnp.zeros(3), logits, labels).compute()["recall"]
      0.5
    """

    count: Array
    loss: Array
    correct: Array
    positives: Array
    predicted_positives: Array
    true_positives: Array

    @classmethod
    def empty(cls) -> Self:
        """Returns the metrics of no examples."""
        count, *counts = (jnp.zeros((), jnp.int32) for _ in range(5))
        return cls(count, jnp.zeros((), jnp.float32), *counts)

    @classmethod
    def from_batch(
        cls,
        losses: Float[Array, "*batch"],
        logits: Float[Array, "*batch"],
        labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
        where: Bool[Array, "*batch"] | None = None,
    ) -> Self:
        """Computes the metrics of one batch.

        Args:
          losses: `[...]`, any loss of the examples.
          logits: `[...]`, the log-odds of class 1.
          labels: `[...]`, integers 0 and 1 or booleans. A traced integer out of range counts as
            an incorrect example of class 0.
          where: `[...]`, mask over examples.
        """
        inputs.check_same_shape("losses", losses, labels.shape, "labels")
        inputs.check_same_shape("logits", logits, labels.shape, "labels")
        labels, where = sums.binary(labels, where)
        predicted = binary_predictions(logits)
        return cls(
            count=sums.count(where),
            loss=sums.total(losses, where),
            correct=sums.count(where & (predicted == labels)),
            positives=sums.count(where & (labels == 1)),
            predicted_positives=sums.count(where & (predicted == 1)),
            true_positives=sums.count(where & (predicted == 1) & (labels == 1)),
        )

    def compute(self) -> dict[str, int | float]:
        """Returns `count` and the means `loss`, `accuracy`, `precision`, `recall` and `f1`.

        A ratio with a zero denominator is 0, as with `zero_division=0` in scikit-learn.
        """
        count, found = int(self.count), int(self.true_positives)
        predicted, positives = int(self.predicted_positives), int(self.positives)
        return {
            "count": count,
            "loss": float(self.loss) / max(count, 1),
            "accuracy": int(self.correct) / max(count, 1),
            "precision": found / max(predicted, 1),
            "recall": found / max(positives, 1),
            "f1": 2 * found / max(predicted + positives, 1),
        }
