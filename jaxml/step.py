"""One training step and one evaluation step: pure functions of the state and a batch."""

from typing import Self

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxml.losses import softmax_cross_entropy
from jaxml.metrics import ClassificationMetrics
from jaxml.normalize import Normalizer
from jaxml.types import Array, Batch, Key, PyTree


class TrainState(struct.PyTreeNode):
    """All that a run has to remember: saving and restoring this value is resuming.

    Attributes:
      step: how many steps were taken, int32.
      params: what is learned.
      batch_stats: running statistics of the norms.
      opt_state: of the optimiser.
      metrics: sums over the steps of the epoch so far.
      normalizer: how raw images become inputs; fitted on the training set, never changed.
    """

    step: Array
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    metrics: ClassificationMetrics
    normalizer: Normalizer

    @classmethod
    def create(
        cls,
        key: Key,
        model: nn.Module,
        optimizer: optax.GradientTransformation,
        normalizer: Normalizer,
        image_shape: tuple[int, ...],
    ) -> Self:
        """The state before the first step.

        Args:
          key: of the initial parameters.
          model: takes images and `train`.
          optimizer: its state is made for the parameters.
          normalizer: fitted.
          image_shape: `(height, width, channels)`.
        """
        variables = model.init(key, jnp.zeros((1, *image_shape), jnp.float32), train=False)
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=variables["params"],
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(variables["params"]),
            metrics=ClassificationMetrics.zero(),
            normalizer=normalizer,
        )


def train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
) -> tuple[TrainState, ClassificationMetrics]:
    """One step of gradient descent on the mean softmax cross-entropy of a batch.

    Args:
      model: its `batch_stats` collection is updated.
      optimizer: turns gradients into updates.
      state: before the step.
      batch: raw images, augmented already, and labels.

    Returns:
      The state after the step and the metrics of this batch, by the parameters before it.
    """
    inputs = state.normalizer.apply(batch.images)

    def mean_loss(params: PyTree) -> tuple[Array, tuple[Array, Array, PyTree]]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updated = model.apply(variables, inputs, train=True, mutable=["batch_stats"])
        losses = softmax_cross_entropy(logits, batch.labels)
        return losses.mean(), (losses, logits, updated.get("batch_stats", {}))

    grads, (losses, logits, batch_stats) = jax.grad(mean_loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    metrics = ClassificationMetrics.of(losses, logits, batch.labels)
    state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
        metrics=state.metrics.merge(metrics),
    )
    return state, metrics


def eval_step(
    model: nn.Module, state: TrainState, batch: Batch, mask: Array
) -> ClassificationMetrics:
    """The metrics of one batch by the running statistics.

    Args:
      model: called with `train=False`.
      state: its parameters, statistics and normalizer.
      batch: raw images and labels.
      mask: `[batch]` booleans, False for padding.

    Returns:
      The sums over the examples under the mask.
    """
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits = jnp.asarray(model.apply(variables, state.normalizer.apply(batch.images), train=False))
    losses = softmax_cross_entropy(logits, batch.labels)
    return ClassificationMetrics.of(losses, logits, batch.labels, mask)
