"""Loss, errors and coefficient of determination of regression models."""

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
    """Loss, mean squared and absolute error, and R^2 of real-valued predictions.

    Attributes:
      count: number of examples, int32.
      loss: sum of the losses, float32.
      squared_error: sum of the squared errors, float32.
      absolute_error: sum of the absolute errors, float32.
      mean: mean of the targets, float32.
      variation: sum of the squared deviations of the targets from their mean, float32.

    Example:
      >>> predictions, targets = jnp.array([1.0, 2.0, 2.5]), jnp.array([1.0, 2.0, 3.0])
      >>> RegressionMetrics.from_batch(jnp.zeros(3), predictions, targets).compute()["r2"]
      0.875
    """

    count: Array
    loss: Array
    squared_error: Array
    absolute_error: Array
    mean: Array
    variation: Array

    @classmethod
    def empty(cls) -> Self:
        """Returns the metrics of no examples."""
        totals = [jnp.zeros((), jnp.float32) for _ in range(5)]
        return cls(jnp.zeros((), jnp.int32), *totals)

    @classmethod
    def from_batch(
        cls,
        losses: Float[Array, "*batch"],
        predictions: Float[Array, "*batch"],
        targets: Float[Array, "*batch"],
        where: Bool[Array, "*batch"] | None = None,
    ) -> Self:
        """Computes the metrics of one batch.

        Args:
          losses: `[...]`, any loss of the examples.
          predictions: `[...]`, floating-point.
          targets: `[...]`, floating-point.
          where: `[...]`, mask over examples.
        """
        inputs.check_real("predictions", predictions)
        inputs.check_real("targets", targets)
        inputs.check_same_shape("losses", losses, targets.shape, "targets")
        inputs.check_same_shape("predictions", predictions, targets.shape, "targets")
        where = sums.included(where, targets.shape)
        (wide,) = inputs.at_least_float32(targets)
        count, mean = sums.count(where), _mean(wide, where)
        # The mean of large targets is rounded; the mean of the residuals corrects it.
        rest = _mean(wide - mean, where)
        return cls(
            count=count,
            loss=sums.total(losses, where),
            squared_error=sums.total(squared_error(predictions, targets), where),
            absolute_error=sums.total(absolute_error(predictions, targets), where),
            mean=(mean + rest).astype(jnp.float32),
            variation=sums.total(jnp.square(wide - mean - rest), where),
        )

    def merge(self, other: Self) -> Self:
        """Returns the metrics of the examples of both, by the formula of Chan et al., 1979."""
        count = self.count + other.count
        divisor = (count + (count == 0).astype(np.int32)).astype(np.float32)
        fraction = other.count.astype(np.float32) / divisor
        distance = other.mean - self.mean
        between = distance * distance * self.count.astype(np.float32) * fraction
        return type(self)(
            count=count,
            loss=self.loss + other.loss,
            squared_error=self.squared_error + other.squared_error,
            absolute_error=self.absolute_error + other.absolute_error,
            mean=self.mean + distance * fraction,
            variation=self.variation + other.variation + between,
        )

    def compute(self) -> dict[str, int | float]:
        r"""Returns `count`, and the means `loss`, `mse`, `rmse`, `mae` and `r2`.

        .. math:: R^2 = 1 - \frac{\sum (\hat y - y)^2}{\sum (y - \bar y)^2}

        R^2 is NaN if the targets are constant up to rounding, where scikit-learn returns 0 or 1.
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


def _mean(values: Array, where: Array) -> Array:
    total = jnp.sum(jnp.where(where, values, jnp.zeros_like(values)))
    return total / jnp.maximum(sums.count(where), 1).astype(values.dtype)
