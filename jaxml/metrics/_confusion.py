"""Which class was taken for which, and what follows from it."""

from typing import Literal, Self

import jax
import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses._labels import check_inside
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer, Num

Average = Literal["macro", "micro", "weighted"]


class ConfusionMatrix(sums.Sums):
    """Counts of examples by label and prediction.

    Attributes:
      counts: `[classes, classes]`, int32: rows are labels, columns predictions, as in
        scikit-learn.

    Example:
      >>> predictions, labels = jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1])
      >>> matrix = ConfusionMatrix.of(predictions, labels, num_classes=2)
      >>> matrix.counts.tolist()
      [[1, 1], [0, 2]]
      >>> matrix.recall().tolist()
      [0.5, 1.0]
    """

    counts: Array

    @classmethod
    def zero(cls, *, num_classes: int) -> Self:
        """No examples."""
        return cls(jnp.zeros((num_classes, num_classes), jnp.int32))

    @classmethod
    def of(
        cls,
        predictions: Integer[Array, "*batch"],
        labels: Integer[Array, "*batch"],
        mask: Bool[Array, "*batch"] | None = None,
        *,
        num_classes: int,
    ) -> Self:
        """The counts of one batch.

        Args:
          predictions: `[...]`, integers in [0, num_classes).
          labels: `[...]`, integers in [0, num_classes). A label or prediction outside is an error,
            or, where it or the mask is traced, its example is not counted.
          mask: `[...]` booleans, False for what does not count; None counts all.
          num_classes: at least 1.

        Returns:
          The counts of the examples under the mask.

        Raises:
          TypeError: labels or predictions that are not integers, a mask that is not boolean.
          ValueError: shapes that are not one, labels or predictions out of range, no classes.

        Source: `sklearn.metrics.confusion_matrix` with `labels=range(num_classes)`.
        """
        for name, classes in (("predictions", predictions), ("labels", labels)):
            if not jnp.issubdtype(classes.dtype, jnp.integer):
                raise TypeError(f"{name}: integers in [0, {num_classes}), not {classes.dtype}")
        if num_classes < 1:
            raise ValueError(f"num_classes: at least 1, not {num_classes}")
        inputs.check_same_shape("predictions", predictions, labels.shape, "labels")
        counts = sums.counted(mask, labels.shape)
        check_inside("predictions", predictions, mask, num_classes)
        check_inside("labels", labels, mask, num_classes)
        rows, columns = labels.astype(jnp.int32), predictions.astype(jnp.int32)
        inside = (rows >= 0) & (rows < num_classes) & (columns >= 0) & (columns < num_classes)
        cells = jnp.where(inside, rows * num_classes + columns, 0)
        table = jax.ops.segment_sum(
            (counts & inside).astype(jnp.int32).ravel(), cells.ravel(), num_classes**2
        )
        return cls(table.reshape(num_classes, num_classes))

    def accuracy(self) -> Float[Array, ""]:
        """The share of examples whose prediction is the label; 0 without examples."""
        return _ratio(jnp.trace(self.counts), self.counts.sum(), 0.0)

    def precision(
        self, *, average: Average | None = None, zero_division: float = 0.0
    ) -> Float[Array, "..."]:
        r"""The share of the predictions of a class that are right.

        .. math:: \text{precision}_c = \frac{n_{cc}}{\sum_k n_{kc}}

        Args:
          average: None for each class; "macro" for the mean over the classes; "weighted" for
            the mean weighted by how often each class is the label; "micro" for the ratio of the
            sums over the classes, which here is accuracy.
          zero_division: 0 or 1, the value of a ratio that divides by nothing.

        Returns:
          `[classes]` or, of an average, `[]`; float32.

        Raises:
          ValueError: an average of another name, another zero_division.

        Source: `sklearn.metrics.precision_score` with `labels=range(num_classes)`: a class that
        never occurs has its part in the macro average.
        """
        return self._average(self._hits, self._predicted, average, zero_division)

    def recall(
        self, *, average: Average | None = None, zero_division: float = 0.0
    ) -> Float[Array, "..."]:
        r"""The share of the examples of a class that are found.

        .. math:: \text{recall}_c = \frac{n_{cc}}{\sum_k n_{ck}}

        Args:
          average: as in `precision`.
          zero_division: as in `precision`.

        Returns:
          `[classes]` or, of an average, `[]`; float32.

        Raises:
          ValueError: an average of another name, another zero_division.

        Source: `sklearn.metrics.recall_score` with `labels=range(num_classes)`.
        """
        return self._average(self._hits, self._support, average, zero_division)

    def f1(
        self, *, average: Average | None = None, zero_division: float = 0.0
    ) -> Float[Array, "..."]:
        r"""The harmonic mean of precision and recall.

        .. math:: F_c = \frac{2 n_{cc}}{\sum_k n_{kc} + \sum_k n_{ck}}

        Args:
          average: as in `precision`; the mean of the classes' F, not the F of the means.
          zero_division: as in `precision`: where a class is neither a label nor predicted.

        Returns:
          `[classes]` or, of an average, `[]`; float32.

        Raises:
          ValueError: an average of another name, another zero_division.

        Source: `sklearn.metrics.f1_score` with `labels=range(num_classes)`.
        """
        both = self._predicted + self._support
        return self._average(2 * self._hits, both, average, zero_division)

    def compute(self) -> dict[str, int | float]:
        """`count`, `accuracy`, and the macro averages `precision`, `recall`, `f1`."""
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
            raise ValueError(f"zero_division: 0 or 1, not {zero_division}")
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
        raise ValueError(f"average: None, 'macro', 'micro' or 'weighted', not {average!r}")


def _ratio(above: Num[Array, "..."], below: Num[Array, "..."], otherwise: float) -> Array:
    above, below = above.astype(jnp.float32), below.astype(jnp.float32)
    return jnp.where(below > 0, above / jnp.maximum(below, 1.0), otherwise)
