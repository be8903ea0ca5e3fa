"""The objective of a run: the loss, its penalties and the metrics that go with it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.config import LossConfig
from jaxml.errors import InputError, choose
from jaxml.losses import LOSSES
from jaxml.metrics import BinaryMetrics, ClassificationMetrics, RegressionMetrics
from jaxml.regularizers import elastic_net
from jaxml.types import Array, PyTree

Metrics = Any  # one of the classes of `jaxml.metrics`, which share an interface
Loss = Callable[[Array, Array], Array]

BINARY_LOSSES = ("sigmoid_cross_entropy", "sigmoid_focal", "hinge", "squared_hinge")
REGRESSION_LOSSES = ("squared_error", "absolute_error", "huber")
SOFT_LABEL_LOSSES = ("softmax_cross_entropy", "softmax_focal", "one_vs_rest_cross_entropy")
SMOOTHED_LOSSES = WEIGHTED_LOSSES = (*SOFT_LABEL_LOSSES, "sigmoid_cross_entropy")
SQUARED_LOSSES = ("one_vs_rest_hinge", "crammer_singer_hinge", "weston_watkins_hinge")


class Objective(NamedTuple):
    """A loss with its penalties and metrics.

    Attributes:
      loss: `(outputs, targets) -> [batch]`.
      metrics: class of the metrics, a pytree of sums.
      num_outputs: outputs of the model; a single one is squeezed to `[batch]` for the loss.
      num_classes: number of classes; 0 for real targets.
      l1: coefficient of the L1 penalty on kernels.
      l2: coefficient of the squared L2 penalty on kernels.
      auxiliary_weight: weight of the mean loss of each auxiliary head.
    """

    loss: Loss
    metrics: type[Metrics]
    num_outputs: int
    num_classes: int
    l1: float = 0.0
    l2: float = 0.0
    auxiliary_weight: float = 0.0

    def outputs(self, raw: Array) -> Array:
        """Converts the model's output `[batch, num_outputs]` to the shape that the loss takes."""
        return raw if self.metrics is ClassificationMetrics else jnp.squeeze(raw, -1)

    def labels(self, targets: Array) -> Array:
        """Returns the targets for the metrics: the most probable class of soft labels."""
        soft = self.metrics is ClassificationMetrics and targets.ndim == 2
        return jnp.argmax(targets, axis=-1) if soft else targets

    def penalty(self, params: PyTree) -> Array:
        """Computes the penalty that is added to the mean loss."""
        if not self.l1 and not self.l2:
            return jnp.zeros(())
        return elastic_net(params, l1_strength=self.l1, l2_strength=self.l2)

    def auxiliary_loss(self, raw: PyTree, targets: Array) -> Array:
        """Computes the weighted loss of the auxiliary heads, given their outputs."""
        losses = [self.loss(self.outputs(head), targets).mean() for head in jax.tree.leaves(raw)]
        return self.auxiliary_weight * sum(losses, start=jnp.zeros(()))

    def compute(self, metrics: Metrics) -> dict[str, int | float]:
        """Computes means from the sums, on the host."""
        if isinstance(metrics, ClassificationMetrics):
            return metrics.compute(num_classes=self.num_classes)
        return metrics.compute()


def create_objective(
    config: LossConfig, num_classes: int, labels: np.ndarray | None = None
) -> Objective:
    """Builds an objective from its config.

    Args:
      config: name of the loss and its hyper-parameters.
      num_classes: number of classes of the data set; 0 for real targets.
      labels: labels of the training set, `[n]` integers, for `balance_classes`.

    Raises:
      InputError: the loss is unknown, or does not suit the data or the other settings.

    Example:
      >>> create_objective(LossConfig(name="hinge"), num_classes=2).num_outputs
      1
    """
    loss = choose(LOSSES, config.name, "config.loss.name")
    _check(config, num_classes)
    if config.label_smoothing:
        loss = functools.partial(loss, label_smoothing=config.label_smoothing)
    weights = _class_weights(config, num_classes, labels)
    if weights is not None:
        loss = _weighted(loss, weights)
    if config.squared:
        loss = functools.partial(loss, squared=True)
    metrics, num_outputs = ClassificationMetrics, num_classes
    if config.name in BINARY_LOSSES:
        metrics, num_outputs = BinaryMetrics, 1
    elif config.name in REGRESSION_LOSSES:
        metrics, num_outputs = RegressionMetrics, 1
    return Objective(
        loss, metrics, num_outputs, num_classes, config.l1, config.l2, config.auxiliary_weight
    )


def class_counts(setting: str, labels: np.ndarray | None, num_classes: int) -> np.ndarray:
    """Returns the numbers of training examples of the classes, which a setting balances.

    Raises:
      InputError: a class has no example.
    """
    counts = np.bincount([] if labels is None else labels, minlength=num_classes)
    if not counts.all():
        raise InputError(
            f"config.{setting} must be false if a class has no training example, got true without "
            f"examples of class {np.argmin(counts)}"
        )
    return counts


def _weighted(loss: Callable[..., Array], class_weights: np.ndarray) -> Loss:
    """Gives a loss class weights, which become constants of the compiled functions."""
    return lambda outputs, targets: loss(outputs, targets, class_weights=jnp.asarray(class_weights))


def _class_weights(
    config: LossConfig, num_classes: int, labels: np.ndarray | None
) -> np.ndarray | None:
    """Returns the weight of each class, or None if the config has no weights."""
    if not config.class_weights and not config.balance_classes:
        return None
    if config.name not in WEIGHTED_LOSSES:
        name = "class_weights" if config.class_weights else "balance_classes"
        unset, value = ("()", config.class_weights) if config.class_weights else ("false", "true")
        raise InputError(
            f"config.loss.{name} must be {unset} unless config.loss.name is one of "
            f"{', '.join(WEIGHTED_LOSSES)}, got {value} with {config.name}"
        )
    weights = np.asarray(config.class_weights or np.ones(num_classes), np.float32)
    if len(weights) != num_classes:
        raise InputError(
            f"config.loss.class_weights must have {num_classes} weights, one for each class, "
            f"got {len(weights)}"
        )
    if config.balance_classes:
        counts = class_counts("loss.balance_classes", labels, num_classes)
        weights *= (counts.sum() / (num_classes * counts)).astype(np.float32)
    return weights


def _check(config: LossConfig, num_classes: int) -> None:
    if not _suits(config.name, num_classes):
        kind = f"{num_classes} classes" if num_classes else "real targets"
        names = ", ".join(name for name in LOSSES if _suits(name, num_classes))
        raise InputError(
            f"config.loss.name must be a loss for {kind}, one of {names}, got {config.name!r}"
        )
    if config.label_smoothing and config.name not in SMOOTHED_LOSSES:
        raise InputError(
            f"config.loss.label_smoothing must be 0 unless config.loss.name is one of "
            f"{', '.join(SMOOTHED_LOSSES)}, got {config.label_smoothing} with {config.name}"
        )
    if config.squared and config.name not in SQUARED_LOSSES:
        raise InputError(
            f"config.loss.squared must be false unless config.loss.name is one of "
            f"{', '.join(SQUARED_LOSSES)}, got true with {config.name}"
        )


def _suits(name: str, num_classes: int) -> bool:
    if name in REGRESSION_LOSSES:
        return num_classes == 0
    if name in BINARY_LOSSES:
        return num_classes == 2
    return num_classes > 0
