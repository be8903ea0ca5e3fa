"""Area under the receiver operating characteristic curve."""

from typing import Self

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.metrics import _histogram as histogram
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float, Integer


class RocAuc(sums.Sums):
    """Computes the area under the ROC curve from histograms of the probabilities of each class.

    A positive and a negative example in the same bin count as a tie, so the area is exact for
    probabilities rounded to bins, and otherwise off by at most half the fraction of such pairs.
    `roc_auc` is exact if one call gets all scores.

    Attributes:
      positives: `[bins]`, number of examples of class 1, int32.
      negatives: `[bins]`, number of examples of class 0, int32.

    Example:
      >>> probabilities, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> float(RocAuc.from_batch(probabilities, labels).area())
      0.75
    """

    positives: Array
    negatives: Array

    @classmethod
    def empty(cls, *, bins: int = 1000) -> Self:
        """Returns the histograms of no examples."""
        histogram.check_bins(bins)
        return cls(jnp.zeros(bins, jnp.int32), jnp.zeros(bins, jnp.int32))

    @classmethod
    def from_batch(
        cls,
        probabilities: Float[Array, "*batch"],
        labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
        where: Bool[Array, "*batch"] | None = None,
        *,
        bins: int = 1000,
    ) -> Self:
        """Computes the histograms of one batch.

        Args:
          probabilities: `[...]`, of class 1, in [0, 1]. NaN is excluded.
          labels: `[...]`, integers 0 and 1 or booleans. A traced integer out of range is excluded.
          where: `[...]`, mask over examples.
          bins: number of bins, the same for all metrics that are merged.
        """
        labels, where = sums.scored(probabilities, labels, where, names=("probabilities", "labels"))
        where = where & ~jnp.isnan(probabilities)
        histogram.check_bins(bins)
        numbers = histogram.bin_of(jnp.where(where, probabilities, 0.0), bins)
        return cls(
            histogram.sum_by_bin(where & (labels == 1), numbers, bins),
            histogram.sum_by_bin(where & (labels == 0), numbers, bins),
        )

    def area(self) -> Float[Array, ""]:
        """Returns the area in [0, 1]; NaN if one of the classes has no examples."""
        below = jnp.cumsum(self.negatives) - self.negatives
        wins = below.astype(jnp.float32) + self.negatives.astype(jnp.float32) / 2
        positives = self.positives.astype(jnp.float32)
        return jnp.sum(_normalized(positives) * (wins / self.negatives.sum().astype(jnp.float32)))

    def compute(self) -> dict[str, int | float]:
        """Returns `count` and `roc_auc`."""
        count = int(self.positives.sum() + self.negatives.sum())
        return {"count": count, "roc_auc": float(self.area())}


def roc_auc(
    scores: Float[Array, "*batch"],
    labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, ""]:
    r"""Computes the exact area under the ROC curve, as `sklearn.metrics.roc_auc_score`.

    .. math::
      \text{AUC} = \frac{1}{P N} \sum_{i: y_i = 1} \sum_{j: y_j = 0}
      \left([s_i > s_j] + \tfrac12 [s_i = s_j]\right)

    Args:
      scores: `[...]`, logits, probabilities or other scores that grow with the confidence in
        class 1.
      labels: `[...]`, integers 0 and 1 or booleans. A traced integer out of range makes the area
        NaN.
      where: `[...]`, mask over examples.

    Returns:
      The area in [0, 1], at least float32; NaN if one of the classes has no examples or a score
      is NaN.

    Example:
      >>> float(roc_auc(jnp.array([-2.0, 0.4, 0.3, 5.0]), jnp.array([0, 0, 1, 1])))
      0.75

    Reference: Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", 1982.
    """
    labels, where = sums.scored(scores, labels, where, names=("scores", "labels"))
    scores, labels, where = scores.ravel(), labels.ravel(), where.ravel()
    (scores,) = inputs.at_least_float32(jnp.where(where, scores, 0.0))
    positive, negative = where & (labels == 1), where & (labels == 0)
    num_negative = sums.count(negative)
    # Scores that are not negative examples are sorted to the end, where the ranks exclude them.
    ordered = jnp.sort(jnp.where(negative, scores, jnp.inf))
    lower = jnp.searchsorted(ordered, scores, side="left")
    upper = jnp.searchsorted(ordered, scores, side="right")
    wins = jnp.minimum(lower, num_negative) + jnp.minimum(upper, num_negative)
    wins = wins.astype(scores.dtype) / (2 * num_negative).astype(scores.dtype)
    area = jnp.sum(_normalized(positive.astype(scores.dtype)) * jnp.where(positive, wins, 0.0))
    sound = ~jnp.any(jnp.isnan(scores) | (where & ~positive & ~negative))
    # Without positives, the product of NaN and 0 above may be compiled to 0: return NaN explicitly.
    return jnp.where(sound & jnp.any(positive) & (num_negative > 0), area, jnp.nan)


def _normalized(counts: Array) -> Array:
    return counts / jnp.sum(counts)
