"""What a run minimises and what it reports: the loss, its penalties, the metrics that suit it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxml.config import LossConfig
from jaxml.errors import InputError, choose
from jaxml.losses import LOSSES
from jaxml.metrics import BinaryMetrics, ClassificationMetrics, RegressionMetrics
from jaxml.regularizers import elastic_net
from jaxml.types import Array, PyTree

Metrics = Any  # one of the classes of `jaxml.metrics`, which share their methods
Loss = Callable[[Array, Array], Array]

ONE_LOGIT = ("sigmoid_cross_entropy", "sigmoid_focal", "hinge", "squared_hinge")
SMOOTHED = ("softmax_cross_entropy", "softmax_focal", "sigmoid_cross_entropy")
SQUARED = ("one_vs_rest_hinge", "crammer_singer_hinge", "weston_watkins_hinge")
ONE_VALUE = ("squared_error", "absolute_error", "huber")


class Objective(NamedTuple):
    """A loss and what belongs to it.

    Attributes:
      loss: `(outputs, targets) -> [batch]`.
      metrics: the class that sums up what is reported.
      num_outputs: of the network; a single one is squeezed to `[batch]` for the loss.
      num_classes: 0 for real targets.
      l1: strength of the penalty over the kernels.
      l2: strength of the squared penalty over the kernels.
      auxiliary_weight: of the mean loss of each auxiliary head.
    """

    loss: Loss
    metrics: type[Metrics]
    num_outputs: int
    num_classes: int
    l1: float = 0.0
    l2: float = 0.0
    auxiliary_weight: float = 0.0

    def outputs(self, raw: Array) -> Array:
        """What the loss takes, of what the network gives: `[batch, num_outputs]`."""
        one = self.metrics is not ClassificationMetrics
        return jnp.squeeze(raw, -1) if one else raw

    def penalty(self, params: PyTree) -> Array:
        """What is added to the mean loss."""
        if not self.l1 and not self.l2:
            return jnp.zeros(())
        return elastic_net(params, l1_strength=self.l1, l2_strength=self.l2)

    def auxiliary(self, raw: PyTree, targets: Array) -> Array:
        """What the outputs of auxiliary heads add to the mean loss."""
        losses = [self.loss(self.outputs(head), targets).mean() for head in jax.tree.leaves(raw)]
        return self.auxiliary_weight * sum(losses, start=jnp.zeros(()))

    def figures(self, metrics: Metrics) -> dict[str, int | float]:
        """The means that are reported, on the host."""
        if isinstance(metrics, ClassificationMetrics):
            return metrics.compute(num_classes=self.num_classes)
        return metrics.compute()


def create_objective(config: LossConfig, num_classes: int) -> Objective:
    """The objective of that name, for a data set.

    Args:
      config: the loss and its settings.
      num_classes: of the data set; 0 where its targets are real values.

    Raises:
      InputError: there is no such loss, or it does not suit the data or the settings.

    Example:
      >>> create_objective(LossConfig(name="hinge"), num_classes=2).num_outputs
      1
    """
    loss = choose(LOSSES, config.name, "config.loss.name")
    if not _suits(config.name, num_classes):
        kind = f"{num_classes} classes" if num_classes else "real targets"
        names = ", ".join(name for name in LOSSES if _suits(name, num_classes))
        raise InputError(f"config.loss.name: {config.name!r} is not for {kind}; what is: {names}")
    if config.label_smoothing:
        if config.name not in SMOOTHED:
            raise InputError(
                f"config.loss.label_smoothing: {config.label_smoothing} is not allowed with "
                f"{config.name}, only with {', '.join(SMOOTHED)}"
            )
        loss = functools.partial(loss, label_smoothing=config.label_smoothing)
    if config.squared:
        if config.name not in SQUARED:
            raise InputError(
                f"config.loss.squared: true is not allowed with {config.name}, "
                f"only with {', '.join(SQUARED)}"
            )
        loss = functools.partial(loss, squared=True)
    metrics, outputs = ClassificationMetrics, num_classes
    if config.name in ONE_LOGIT:
        metrics, outputs = BinaryMetrics, 1
    elif config.name in ONE_VALUE:
        metrics, outputs = RegressionMetrics, 1
    return Objective(
        loss, metrics, outputs, num_classes, config.l1, config.l2, config.auxiliary_weight
    )


def _suits(name: str, num_classes: int) -> bool:
    if name in ONE_VALUE:
        return num_classes == 0
    if name in ONE_LOGIT:
        return num_classes == 2
    return num_classes > 0
