"""The confusion matrix, and the precision, recall and F1 score of each class."""

from typing import Literal, Self

import jax
import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses._labels import check_inside
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer, Num

Average = Literal["macro", "micro", "weighted"]


class ConfusionMatrix(sums.Sums):
    """Number of examples by label and prediction.

    The scores follow scikit-learn, called with `labels=range(num_classes)`: a class that never
    occurs counts in the macro average. Their arguments are

    - `average`: None returns one score per class, "macro" their mean, "weighted" their mean
      weighted by the number of examples of each class, and "micro" the score of the sums over all
      classes, which equals the accuracy;
    - `zero_division`: 0 or 1, the value of a ratio with a zero denominator.

    Attributes:
      counts: `[classes, classes]`, int32, with labels as rows and predictions as columns.

    Example:
      >>> predictions, labels = jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1])
      >>> matrix = ConfusionMatrix.from_batch(predictions, labels, num_classes=2)
      >>> matrix.counts.tolist()
      [[1, 1], [0, 2]]
      >>> matrix.recall().tolist()
      [0.5, 1.0]
    """

    counts: Array

    @classmethod
    def empty(cls, *, num_classes: int) -> Self:
        """Returns the matrix of no examples."""
        return cls(jnp.zeros((num_classes, num_classes), jnp.int32))

    @classmethod
    def from_batch(
        cls,
        predictions: Integer[Array, "*batch"],
        labels: Integer[Array, "*batch"],
        where: Bool[Array, "*batch"] | None = None,
        *,
        num_classes: int,
    ) -> Self:
        """Computes the matrix of one batch.

        Args:
          predictions: `[...]`, integers in `[0, num_classes)`.
          labels: `[...]`, integers in `[0, num_classes)`. An example whose traced label or
            prediction is out of range is excluded.
          where: `[...]`, mask over examples.
          num_classes: number of classes, at least 1.
        """
        for name, classes in (("predictions", predictions), ("labels", labels)):
            if not jnp.issubdtype(classes.dtype, jnp.integer):
                raise TypeError(
                    f"`{name}` must be integers in [0, {num_classes}), got {classes.dtype}"
                )
        if num_classes < 1:
            raise ValueError(f"`num_classes` must be at least 1, got {num_classes}")
        inputs.check_same_shape("predictions", predictions, labels.shape, "labels")
        included = sums.included(where, labels.shape)
        check_inside("predictions", predictions, where, num_classes)
        check_inside("labels", labels, where, num_classes)
        rows, columns = labels.astype(jnp.int32), predictions.astype(jnp.int32)
        inside = (rows >= 0) & (rows < num_classes) & (columns >= 0) & (columns < num_classes)
        cells = jnp.where(inside, rows * num_classes + columns, 0)
        table = jax.ops.segment_sum(
            (included & inside).astype(jnp.int32).ravel(), cells.ravel(), num_classes**2
        )
        return cls(table.reshape(num_classes, num_classes))

    def accuracy(self) -> Float[Array, ""]:
        """Returns the fraction of correct predictions, 0 without examples."""
        return _ratio(jnp.trace(self.counts), self.counts.sum(), 0.0)

    def precision(
        self, *, average: Average | None = None, zero_division: float = 0.0
    ) -> Float[Array, "..."]:
        r"""Returns the fraction of the predictions of a class that are correct.

        .. math:: \text{precision}_c = \frac{n_{cc}}{\sum_k n_{kc}}
        """
        return self._average(self._hits, self._predicted, average, zero_division)

    def recall(
        self, *, average: Average | None = None, zero_division: float = 0.0
    ) -> Float[Array, "..."]:
        r"""Returns the fraction of the examples of a class that are predicted correctly.

        .. math:: \text{recall}_c = \frac{n_{cc}}{\sum_k n_{ck}}
        """
        return self._average(self._hits, self._support, average, zero_division)

    def f1(
        self, *, average: Average | None = None, zero_division: float = 0.0
    ) -> Float[Array, "..."]:
        r"""Returns the harmonic mean of precision and recall.

        .. math:: F_c = \frac{2 n_{cc}}{\sum_k n_{kc} + \sum_k n_{ck}}

        Averages are means of the F1 scores, not the F1 score of mean precision and recall.
        """
        both = self._predicted + self._support
        return self._average(2 * self._hits, both, average, zero_division)

    def compute(self) -> dict[str, int | float]:
        """Returns `count`, `accuracy`, and the macro averages `precision`, `recall` and `f1`."""
        return {
            "count": int(self.counts.sum()),
            "accuracy": float(self.accuracy()),
            "precision": float(self.precision(average="macro")),
            "recall": float(self.recall(average="macro")),
            "f1": float(self.f1(average="macro")),
        }

    @property
    def _hits(self) -> Array:
        return jnp.diagonal(self.counts)

    @property
    def _predicted(self) -> Array:
        return self.counts.sum(axis=0)

    @property
    def _support(self) -> Array:
        return self.counts.sum(axis=1)

    def _average(
        self, above: Array, below: Array, average: Average | None, zero_division: float
    ) -> Array:
        if zero_division not in (0, 1):
            raise ValueError(f"`zero_division` must be 0 or 1, got {zero_division}")
        each = _ratio(above, below, zero_division)
        if average is None:
            return each
        if average == "macro":
            return each.mean()
        if average == "micro":
            return _ratio(above.sum(), below.sum(), zero_division)
        if average == "weighted":
            support = self._support.astype(jnp.float32)
            return _ratio(jnp.sum(each * support), support.sum(), zero_division)
        raise ValueError(f"`average` must be None, 'macro', 'micro' or 'weighted', got {average!r}")


def _ratio(above: Num[Array, "..."], below: Num[Array, "..."], otherwise: float) -> Array:
    above, below = above.astype(jnp.float32), below.astype(jnp.float32)
    return jnp.where(below > 0, above / jnp.maximum(below, 1.0), otherwise)
