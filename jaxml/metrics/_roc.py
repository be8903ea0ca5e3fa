"""The area under the receiver operating characteristic."""

from typing import Self

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.metrics import _histogram as histogram
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer


class RocAuc(sums.Sums):
    """Counts of positive and negative examples by probability, mergeable across batches.

    The area is exact for probabilities rounded to bins: a positive and a negative in one bin
    count as a tie, so it is off by at most half of the share of such pairs. `roc_auc` is exact
    where all scores are at hand.

    Attributes:
      positives: `[bins]`, int32.
      negatives: `[bins]`, int32.

    Example:
      >>> probabilities, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> float(RocAuc.of(probabilities, labels).area())
      0.75
    """

    positives: Array
    negatives: Array

    @classmethod
    def zero(cls, *, bins: int = 1000) -> Self:
        """No examples."""
        histogram.check_bins(bins)
        return cls(jnp.zeros(bins, jnp.int32), jnp.zeros(bins, jnp.int32))

    @classmethod
    def of(
        cls,
        probabilities: Float[Array, "*batch"],
        labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
        mask: Bool[Array, "*batch"] | None = None,
        *,
        bins: int = 1000,
    ) -> Self:
        """The counts of one batch.

        Args:
          probabilities: `[...]` of class 1, in [0, 1]; NaN is not counted.
          labels: `[...]`, integers 0 and 1 or booleans; another integer is an error, or, where
            labels or the mask are traced, not counted.
          mask: `[...]` booleans, False for what does not count; None counts all.
          bins: how many, of equal width; the same for all batches that are merged.

        Returns:
          The counts of the examples under the mask.

        Raises:
          TypeError: probabilities that are not floating point, labels that are not integers or
            booleans, a mask that is not boolean.
          ValueError: shapes that are not one, labels out of range, no bins.
        """
        labels, mask = _prepare("probabilities", probabilities, labels, mask)
        mask = mask & ~jnp.isnan(probabilities)
        histogram.check_bins(bins)
        numbers = histogram.bin_of(jnp.where(mask, probabilities, 0.0), bins)
        return cls(
            histogram.sum_by_bin(mask & (labels == 1), numbers, bins),
            histogram.sum_by_bin(mask & (labels == 0), numbers, bins),
        )

    def area(self) -> Float[Array, ""]:
        """In [0, 1], float32; NaN where one of the classes has no examples."""
        below = jnp.cumsum(self.negatives) - self.negatives
        wins = below.astype(jnp.float32) + self.negatives.astype(jnp.float32) / 2
        positives = self.positives.astype(jnp.float32)
        return jnp.sum(_share(positives) * (wins / self.negatives.sum().astype(jnp.float32)))

    def compute(self) -> dict[str, int | float]:
        """`count` and `roc_auc`."""
        count = int(self.positives.sum() + self.negatives.sum())
        return {"count": count, "roc_auc": float(self.area())}


def roc_auc(
    scores: Float[Array, "*batch"],
    labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, ""]:
    r"""How often a positive example has a higher score than a negative one.

    .. math::
      \text{AUC} = \frac{1}{P N} \sum_{i: y_i = 1} \sum_{j: y_j = 0}
      \left([s_i > s_j] + \tfrac12 [s_i = s_j]\right)

    Args:
      scores: `[...]`, logits, probabilities or any others.
      labels: `[...]`, integers 0 and 1 or booleans; another integer is an error, or, where
        labels or the mask are traced, gives NaN.
      mask: `[...]` booleans, False for what does not count; None counts all.

    Returns:
      `[]` in [0, 1], in float32 at least; NaN where one of the classes has no examples or a score
      is NaN.

    Raises:
      TypeError: scores that are not floating point, labels that are not integers or booleans, a
        mask that is not boolean.
      ValueError: shapes that are not one, labels out of range.

    Example:
      >>> float(roc_auc(jnp.array([-2.0, 0.4, 0.3, 5.0]), jnp.array([0, 0, 1, 1])))
      0.75

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", 1982; `sklearn.metrics.roc_auc_score`.
    """
    labels, mask = _prepare("scores", scores, labels, mask)
    scores, labels, mask = scores.ravel(), labels.ravel(), mask.ravel()
    (scores,) = inputs.at_least_float32(jnp.where(mask, scores, 0.0))
    positive, negative = mask & (labels == 1), mask & (labels == 0)
    num_negative = sums.count(negative)
    # What is no negative stands at the end, and counts for no score.
    ordered = jnp.sort(jnp.where(negative, scores, jnp.inf))
    lower = jnp.searchsorted(ordered, scores, side="left")
    upper = jnp.searchsorted(ordered, scores, side="right")
    wins = jnp.minimum(lower, num_negative) + jnp.minimum(upper, num_negative)
    wins = wins.astype(scores.dtype) / (2 * num_negative).astype(scores.dtype)
    area = jnp.sum(_share(positive.astype(scores.dtype)) * jnp.where(positive, wins, 0.0))
    sound = ~jnp.any(jnp.isnan(scores) | (mask & ~positive & ~negative))
    # Of no positives the share is NaN, but a compiler may take its product with 0 for 0.
    return jnp.where(sound & jnp.any(positive) & (num_negative > 0), area, jnp.nan)


def _share(counts: Array) -> Array:
    return counts / jnp.sum(counts)


def _prepare(name: str, scores: Array, labels: Array, mask: Array | None) -> tuple[Array, Array]:
    inputs.check_real(name, scores)
    inputs.check_same_shape(name, scores, labels.shape, "labels")
    return sums.binary(labels, mask)
