"""Accuracy for examples with several valid labels."""

from typing import Self

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float


class ValidLabelMetrics(sums.Sums):
    """Accuracy of multiclass logits if an example may have several valid labels, or none.

    A prediction is correct if it is one of the valid labels. Examples without any are ignored.

    Attributes:
      count: number of examples with a valid label, int32.
      correct: number of them whose largest logit is that of a valid label, int32.

    Example:
      >>> logits = jnp.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.0]])
      >>> valid = jnp.array([[True, True, False], [True, False, False], [False, False, False]])
      >>> ValidLabelMetrics.from_batch(logits, valid).compute()
      {'count': 2, 'accuracy': 0.5}

    References:
      Beyer et al., "Are we done with ImageNet?", 2020.
    """

    count: Array
    correct: Array

    @classmethod
    def empty(cls) -> Self:
        """Returns the metrics of no examples."""
        return cls(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    @classmethod
    def from_batch(
        cls,
        logits: Float[Array, "batch classes"],
        valid: Bool[Array, "batch classes"],
        where: Bool[Array, " batch"] | None = None,
    ) -> Self:
        """Computes the metrics of one batch.

        Args:
          logits: `[batch, classes]`. Of equal logits, the first is the prediction.
          valid: `[batch, classes]` booleans, True for the valid labels of an example.
          where: `[batch]`, mask over examples.
        """
        if logits.ndim != 2:
            raise ValueError(f"`logits` must have shape [batch, classes], got {logits.shape}")
        inputs.check_real("logits", logits)
        inputs.check_same_shape("valid", valid, logits.shape, "logits")
        if valid.dtype != jnp.bool_:
            raise TypeError(f"`valid` must be boolean, got {valid.dtype}")
        counted = sums.included(where, logits.shape[:1]) & jnp.any(valid, axis=-1)
        predicted = jnp.argmax(logits, axis=-1)[:, None]
        hits = jnp.take_along_axis(valid, predicted, axis=-1)[:, 0]
        return cls(count=sums.count(counted), correct=sums.count(counted & hits))

    def compute(self) -> dict[str, int | float]:
        """Returns `count` and `accuracy`."""
        count = int(self.count)
        return {"count": count, "accuracy": int(self.correct) / max(count, 1)}
