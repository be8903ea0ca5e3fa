"""Calibration error: the difference of predicted probabilities from observed frequencies."""

from typing import Self

import jax.numpy as jnp

from jaxml.metrics import _histogram as histogram
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer


class CalibrationError(sums.Sums):
    """Expected and maximum calibration error from a histogram of probabilities.

    Attributes:
      counts: `[bins]`, number of examples, int32.
      outcomes: `[bins]`, number of positive outcomes, int32.
      probabilities: `[bins]`, sum of the probabilities, float32.

    Example:
      >>> from jaxml.predictions import class_predictions, class_probabilities
      >>> logits, labels = jnp.array([[0.0, 0.0], [9.0, 0.0]]), jnp.array([1, 0])
      >>> confidences = class_probabilities(logits).max(axis=-1)
      >>> correct = class_predictions(logits) == labels
      >>> round(float(CalibrationError.from_batch(confidences, correct).expected()), 4)
      0.2501

    Reference: Guo et al., "On calibration of modern neural networks", 2017.
    """

    counts: Array
    outcomes: Array
    probabilities: Array

    @classmethod
    def empty(cls, *, bins: int = 15) -> Self:
        """Returns the metrics of no examples."""
        histogram.check_bins(bins)
        counts, outcomes = jnp.zeros(bins, jnp.int32), jnp.zeros(bins, jnp.int32)
        return cls(counts, outcomes, jnp.zeros(bins, jnp.float32))

    @classmethod
    def from_batch(
        cls,
        probabilities: Float[Array, "*batch"],
        outcomes: Integer[Array, "*batch"] | Bool[Array, "*batch"],
        where: Bool[Array, "*batch"] | None = None,
        *,
        bins: int = 15,
    ) -> Self:
        """Computes the histogram of one batch.

        Args:
          probabilities: `[...]` in [0, 1], of class 1 or of the predicted class. NaN is excluded.
          outcomes: `[...]`, integers 0 and 1 or booleans: the label, or whether the prediction is
            correct. A traced integer out of range counts as 0.
          where: `[...]`, mask over examples.
          bins: number of bins, the same for all metrics that are merged.
        """
        outcomes, where = sums.scored(
            probabilities, outcomes, where, names=("probabilities", "outcomes")
        )
        histogram.check_bins(bins)
        where = where & ~jnp.isnan(probabilities)
        values = jnp.where(where, probabilities, 0.0).astype(jnp.float32)
        numbers = histogram.bin_of(values, bins)
        return cls(
            histogram.sum_by_bin(where, numbers, bins),
            histogram.sum_by_bin(where & (outcomes == 1), numbers, bins),
            histogram.sum_by_bin(values, numbers, bins),
        )

    def expected(self) -> Float[Array, ""]:
        r"""Returns the expected calibration error, 0 without examples.

        .. math:: \text{ECE} = \sum_b \frac{n_b}{n} |\bar p_b - \bar y_b|
        """
        return jnp.sum(self._gaps()) / jnp.maximum(self.counts.sum(), 1).astype(jnp.float32)

    def maximum(self) -> Float[Array, ""]:
        r"""Returns the maximum calibration error over the bins, 0 without examples.

        .. math:: \text{MCE} = \max_b |\bar p_b - \bar y_b|
        """
        return jnp.max(self._gaps() / jnp.maximum(self.counts, 1).astype(jnp.float32))

    def compute(self) -> dict[str, int | float]:
        """Returns `count`, `expected_calibration_error` and `maximum_calibration_error`."""
        return {
            "count": int(self.counts.sum()),
            "expected_calibration_error": float(self.expected()),
            "maximum_calibration_error": float(self.maximum()),
        }

    def _gaps(self) -> Array:
        return jnp.abs(self.probabilities - self.outcomes.astype(jnp.float32))
