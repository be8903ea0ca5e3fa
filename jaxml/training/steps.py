"""One training step and one evaluation step: pure functions of the state and a batch."""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax import lax

from jaxml import regularizers
from jaxml.normalize import Normalizer
from jaxml.optim import averages
from jaxml.optim.averages import Average, Averaging
from jaxml.optim.freezing import keep_frozen
from jaxml.optim.optimizers import sharpness_aware
from jaxml.training.objective import Metrics, Objective
from jaxml.types import Array, Batch, Key, PyTree


class Method(NamedTuple):
    """What a run does in each step; nothing of it changes.

    Attributes:
      model: takes inputs and `train`.
      objective: what is minimised and reported.
      optimizer: turns gradients into updates.
      averaging: what is evaluated in the place of the parameters.
      sharpness_radius: of sharpness-aware minimisation; None is without.
      max_norm: bound on the norm of the weights into a unit; None is without.
      frozen: pattern of `jaxml.optim.freezing` for the parameters that stay as they are.
    """

    model: nn.Module
    objective: Objective
    optimizer: optax.GradientTransformation
    averaging: Averaging = averages.none()
    sharpness_radius: float | None = None
    max_norm: float | None = None
    frozen: str | None = None


class TrainState(struct.PyTreeNode):
    """All that a run has to remember: saving and restoring this value is resuming.

    Attributes:
      step: how many steps were taken, int32.
      params: what is learned.
      batch_stats: running statistics of the norms.
      opt_state: of the optimiser.
      average: of the parameters and the statistics.
      metrics: sums over the steps of the epoch so far.
      normalizer: how raw inputs become those of the network; fitted on the training set, never
        changed.
    """

    step: Array
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    average: Average
    metrics: Metrics
    normalizer: Normalizer

    @classmethod
    def create(
        cls, key: Key, method: Method, normalizer: Normalizer, input_shape: tuple[int, ...]
    ) -> Self:
        """The state before the first step.

        Args:
          key: of the initial parameters.
          method: the network is initialised, the optimiser's state made for its parameters.
          normalizer: fitted.
          input_shape: of one raw example: `(height, width, channels)` or `(features,)`.
        """
        example = normalizer.apply(jnp.zeros((1, *input_shape), jnp.float32))
        variables = method.model.init(key, example, train=False)
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=method.optimizer.init(params),
            average=method.averaging.init({"params": params, "batch_stats": batch_stats}),
            metrics=method.objective.metrics.empty(),
            normalizer=normalizer,
        )


def train_step(
    key: Key, method: Method, state: TrainState, batch: Batch
) -> tuple[TrainState, Metrics]:
    """One step of gradient descent on the mean loss of a batch and its penalties.

    Args:
      key: of dropout and stochastic depth.
      method: what is done.
      state: before the step.
      batch: raw inputs, augmented already, and targets.

    Returns:
      The state after the step and the metrics of this batch, by the parameters before it.
    """
    inputs = state.normalizer.apply(batch.inputs)
    objective = method.objective

    def total_loss(params: PyTree) -> tuple[Array, tuple[Array, Array, PyTree]]:
        params = keep_frozen(method.frozen, lax.stop_gradient(params), params)
        raw, updated = method.model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            inputs,
            train=True,
            mutable=["batch_stats", "auxiliary"],
            rngs={"dropout": key},
        )
        outputs = objective.outputs(raw)
        losses = objective.loss(outputs, batch.targets)
        total = losses.mean() + objective.penalty(params)
        total += objective.auxiliary(updated.get("auxiliary", {}), batch.targets)
        return total, (losses, outputs, updated.get("batch_stats", {}))

    gradient = jax.grad(total_loss, has_aux=True)
    if method.sharpness_radius:
        grads, aside = sharpness_aware(gradient, state.params, radius=method.sharpness_radius)
    else:
        grads, aside = gradient(state.params)
    losses, outputs, batch_stats = aside
    updates, opt_state = method.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    if method.max_norm:
        params = regularizers.max_norm(params, max_value=method.max_norm)
    params = keep_frozen(method.frozen, state.params, params)
    average, variables = method.averaging.update(
        state.average, state.step + 1, {"params": params, "batch_stats": batch_stats}
    )
    metrics = objective.metrics.from_batch(losses, outputs, batch.targets)
    state = state.replace(
        step=state.step + 1,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=opt_state,
        average=average,
        metrics=state.metrics.merge(metrics),
    )
    return state, metrics


def eval_step(method: Method, state: TrainState, batch: Batch, mask: Array) -> Metrics:
    """The metrics of one batch by the running statistics and, if there is one, by the average.

    Args:
      method: its network is called with `train=False`.
      state: its parameters, statistics, average and normalizer.
      batch: raw inputs and targets.
      mask: `[batch]` booleans, False for padding.

    Returns:
      The sums over the examples under the mask.
    """
    inputs = state.normalizer.apply(batch.inputs)
    raw = jnp.asarray(method.model.apply(evaluated(method, state), inputs, train=False))
    outputs = method.objective.outputs(raw)
    losses = method.objective.loss(outputs, batch.targets)
    return method.objective.metrics.from_batch(losses, outputs, batch.targets, mask)


def evaluated(method: Method, state: TrainState) -> dict[str, Any]:
    """The parameters and statistics that are evaluated: the average, if there is one."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return method.averaging.value(state.average, variables)


def batch_moments(key: Key, method: Method, state: TrainState, batch: Batch) -> PyTree:
    """The statistics of batch norm of one batch, by the parameters that are evaluated.

    Args:
      key: of dropout and stochastic depth.
      method: its network is called with `train=True`.
      state: nothing of it changes.
      batch: raw inputs, augmented already.

    Returns:
      A tree like `batch_stats`.
    """
    _, updated = method.model.apply(
        evaluated(method, state),
        state.normalizer.apply(batch.inputs),
        train=True,
        mutable=["batch_stats", "batch_moments"],
        rngs={"dropout": key},
    )
    return updated.get("batch_moments", {})
