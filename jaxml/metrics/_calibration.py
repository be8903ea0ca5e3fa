"""Whether what is given a probability happens that often."""

from typing import Self

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.metrics import _histogram as histogram
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer


class CalibrationError(sums.Sums):
    """Probabilities and outcomes by bins of equal width, mergeable across batches.

    Attributes:
      counts: `[bins]`, examples in each bin, int32.
      outcomes: `[bins]`, how many of them happened, int32.
      probabilities: `[bins]`, sum of their probabilities, float32.

    Example:
      >>> from jaxml.predictions import class_predictions, class_probabilities
      >>> logits, labels = jnp.array([[0.0, 0.0], [9.0, 0.0]]), jnp.array([1, 0])
      >>> confidences = class_probabilities(logits).max(axis=-1)
      >>> hits = class_predictions(logits) == labels
      >>> round(float(CalibrationError.of(confidences, hits).expected()), 4)
      0.2501
    """

    counts: Array
    outcomes: Array
    probabilities: Array

    @classmethod
    def zero(cls, *, bins: int = 15) -> Self:
        """No examples."""
        histogram.check_bins(bins)
        counts, outcomes = jnp.zeros(bins, jnp.int32), jnp.zeros(bins, jnp.int32)
        return cls(counts, outcomes, jnp.zeros(bins, jnp.float32))

    @classmethod
    def of(
        cls,
        probabilities: Float[Array, "*batch"],
        outcomes: Integer[Array, "*batch"] | Bool[Array, "*batch"],
        mask: Bool[Array, "*batch"] | None = None,
        *,
        bins: int = 15,
    ) -> Self:
        """The sums of one batch.

        Args:
          probabilities: `[...]` in [0, 1]: of class 1, or of the class that was predicted; NaN
            is not counted.
          outcomes: `[...]`, what happened: the label, 0 or 1, or whether the prediction is right;
            another integer is an error, or, where outcomes or the mask are traced, counted as 0.
          mask: `[...]` booleans, False for what does not count; None counts all.
          bins: how many; bin b is (b / bins, (b + 1) / bins]; the same for all that are merged.

        Returns:
          The sums of the examples under the mask.

        Raises:
          TypeError: probabilities that are not floating point, outcomes that are not integers or
            booleans, a mask that is not boolean.
          ValueError: shapes that are not one, outcomes out of range, no bins.
        """
        inputs.check_real("probabilities", probabilities)
        inputs.check_same_shape("probabilities", probabilities, outcomes.shape, "outcomes")
        outcomes, mask = sums.binary(outcomes, mask, "outcomes")
        histogram.check_bins(bins)
        mask = mask & ~jnp.isnan(probabilities)
        values = jnp.where(mask, probabilities, 0.0).astype(jnp.float32)
        numbers = histogram.bin_of(values, bins)
        return cls(
            histogram.sum_by_bin(mask, numbers, bins),
            histogram.sum_by_bin(mask & (outcomes == 1), numbers, bins),
            histogram.sum_by_bin(values, numbers, bins),
        )

    def expected(self) -> Float[Array, ""]:
        r"""The mean distance of probability and frequency, bins weighted by their examples.

        .. math:: \text{ECE} = \sum_b \frac{n_b}{n} |\bar p_b - \bar y_b|

        Returns:
          `[]` in [0, 1], float32; 0 without examples.

        Source: Guo et al., "On calibration of modern neural networks", 2017.
        """
        return jnp.sum(self._gaps()) / jnp.maximum(self.counts.sum(), 1).astype(jnp.float32)

    def maximum(self) -> Float[Array, ""]:
        r"""The largest distance of probability and frequency of any bin.

        .. math:: \text{MCE} = \max_b |\bar p_b - \bar y_b|

        Returns:
          `[]` in [0, 1], float32; 0 without examples.

        Source: Guo et al., "On calibration of modern neural networks", 2017.
        """
        return jnp.max(self._gaps() / jnp.maximum(self.counts, 1).astype(jnp.float32))

    def compute(self) -> dict[str, int | float]:
        """`count`, `expected_calibration_error`, `maximum_calibration_error`."""
        return {
            "count": int(self.counts.sum()),
            "expected_calibration_error": float(self.expected()),
            "maximum_calibration_error": float(self.maximum()),
        }

    def _gaps(self) -> Array:
        return jnp.abs(self.probabilities - self.outcomes.astype(jnp.float32))
