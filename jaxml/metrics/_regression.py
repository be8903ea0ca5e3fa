"""Loss, errors and explained variance of real predictions."""

import math
from typing import Self

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxml.losses import _inputs as inputs
from jaxml.losses import absolute_error, squared_error
from jaxml.metrics import _sums as sums
from jaxml.types import Array, Bool, Float


class RegressionMetrics(struct.PyTreeNode):
    """Sums over examples of real targets, and their mean, which merges by itself.

    Attributes:
      count: number of examples, int32.
      loss: sum of the per-example losses, float32.
      squared_error: sum of the squared errors, float32.
      absolute_error: sum of the absolute errors, float32.
      mean: of the targets, float32.
      variation: sum of the squared distances of the targets from their mean, float32.

    Example:
      >>> outputs, targets = jnp.array([1.0, 2.0, 2.5]), jnp.array([1.0, 2.0, 3.0])
      >>> RegressionMetrics.of(jnp.zeros(3), outputs, targets).compute()["r2"]
      0.875
    """

    count: Array
    loss: Array
    squared_error: Array
    absolute_error: Array
    mean: Array
    variation: Array

    @classmethod
    def zero(cls) -> Self:
        """No examples."""
        totals = [jnp.zeros((), jnp.float32) for _ in range(5)]
        return cls(jnp.zeros((), jnp.int32), *totals)

    @classmethod
    def of(
        cls,
        losses: Float[Array, "*batch"],
        outputs: Float[Array, "*batch"],
        targets: Float[Array, "*batch"],
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Self:
        """The sums over one batch.

        Args:
          losses: `[...]`.
          outputs: `[...]`, the predictions.
          targets: `[...]`.
          mask: `[...]` booleans, False for what does not count; None counts all.

        Returns:
          The metrics of the examples under the mask.

        Raises:
          TypeError: outputs or targets that are not floating point, a mask that is not boolean.
          ValueError: shapes that are not one.
        """
        inputs.check_real("outputs", outputs)
        inputs.check_real("targets", targets)
        inputs.check_same_shape("losses", losses, targets.shape, "targets")
        inputs.check_same_shape("outputs", outputs, targets.shape, "targets")
        mask = sums.counted(mask, targets.shape)
        (wide,) = inputs.at_least_float32(targets)
        count, mean = sums.count(mask), _mean(wide, mask)
        # The mean of large targets is rounded; what is left over is taken off again.
        rest = _mean(wide - mean, mask)
        return cls(
            count=count,
            loss=sums.total(losses, mask),
            squared_error=sums.total(squared_error(outputs, targets), mask),
            absolute_error=sums.total(absolute_error(outputs, targets), mask),
            mean=(mean + rest).astype(jnp.float32),
            variation=sums.total(jnp.square(wide - mean - rest), mask),
        )

    def merge(self, other: Self) -> Self:
        """The metrics of both sets of examples, by the formula of Chan et al., 1979."""
        count = self.count + other.count
        divisor = (count + (count == 0).astype(np.int32)).astype(np.float32)
        share = other.count.astype(np.float32) / divisor
        distance = other.mean - self.mean
        between = distance * distance * self.count.astype(np.float32) * share
        return type(self)(
            count=count,
            loss=self.loss + other.loss,
            squared_error=self.squared_error + other.squared_error,
            absolute_error=self.absolute_error + other.absolute_error,
            mean=self.mean + distance * share,
            variation=self.variation + other.variation + between,
        )

    def compute(self) -> dict[str, int | float]:
        r"""The means: `count`, `loss`, `mse`, `rmse`, `mae`, and `r2`.

        .. math:: R^2 = 1 - \frac{\sum (\hat y - y)^2}{\sum (y - \bar y)^2}

        R^2 is NaN where the targets do not vary by more than float32 rounds them: there
        scikit-learn says 0 or 1.
        """
        count, error = int(self.count), float(self.squared_error)
        divisor, variation = max(count, 1), float(self.variation)
        rounding = count * (1e-6 * float(self.mean)) ** 2
        return {
            "count": count,
            "loss": float(self.loss) / divisor,
            "mse": error / divisor,
            "rmse": math.sqrt(error / divisor),
            "mae": float(self.absolute_error) / divisor,
            "r2": 1 - error / variation if variation > rounding else math.nan,
        }


def _mean(values: Array, mask: Array) -> Array:
    total = jnp.sum(jnp.where(mask, values, jnp.zeros_like(values)))
    return total / jnp.maximum(sums.count(mask), 1).astype(values.dtype)
