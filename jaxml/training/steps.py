"""One training step and one evaluation step, as pure functions of the state and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax import lax

from jaxml import regularizers
from jaxml.data.augment import flip_average
from jaxml.normalize import Normalizer
from jaxml.optim import Average, Averaging, keep_frozen, no_averaging
from jaxml.training.norms import layer_norms
from jaxml.training.objective import Metrics, Objective
from jaxml.training.skipping import Skips
from jaxml.types import Array, Batch, Key, PyTree


class Learner(NamedTuple):
    """Static components of the training step.

    Attributes:
      model: Linen module, called as `model.apply(variables, inputs, train=...)`.
      objective: loss and metrics.
      optimizer: optax transformation from gradients to updates.
      averaging: average of the parameters, which replaces them in evaluation.
      max_norm: upper bound on the norm of the weights into each unit; None disables it.
      frozen: pattern (see `jaxml.optim.is_frozen`) of parameters to freeze; None trains all.
      eval_flip: whether evaluation averages the outputs for an image and its mirror image.
      gather: places parameters for the model, see `jaxml.training.sharding.gather`.
      max_skips: largest number of consecutive steps that are skipped because they are not finite;
        None skips none.
    """

    model: nn.Module
    objective: Objective
    optimizer: optax.GradientTransformation
    averaging: Averaging = no_averaging()
    max_norm: float | None = None
    frozen: str | None = None
    eval_flip: bool = False
    gather: Callable[[PyTree], PyTree] = lambda tree: tree
    max_skips: int | None = None


class TrainState(struct.PyTreeNode):
    """The complete state of a run: restoring this value resumes the run.

    Attributes:
      step: number of steps taken, int32.
      params: parameters.
      batch_stats: running statistics of batch normalization.
      opt_state: optimizer state.
      average: running average of parameters and statistics.
      metrics: sums of the metrics over the current epoch.
      normalizer: input normalization, fitted on the training set and constant afterwards.
      skips: counts of skipped steps; None if none are skipped.
    """

    step: Array
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    average: Average
    metrics: Metrics
    normalizer: Normalizer
    skips: Skips | None = None

    @classmethod
    def create(
        cls, key: Key, learner: Learner, normalizer: Normalizer, input_shape: tuple[int, ...]
    ) -> Self:
        """Initializes the state before the first step.

        Args:
          key: PRNG key for the parameters.
          learner: provides the model, the optimizer, the averaging and the metrics.
          normalizer: fitted input normalization.
          input_shape: shape of one raw example, `(height, width, channels)` or `(features,)`.
        """
        example = normalizer.apply(jnp.zeros((1, *input_shape), jnp.float32))
        variables = learner.model.init(key, example, train=False)
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=learner.optimizer.init(params),
            average=learner.averaging.init({"params": params, "batch_stats": batch_stats}),
            metrics=learner.objective.metrics.empty(),
            normalizer=normalizer,
            skips=None if learner.max_skips is None else Skips.create(),
        )


def train_step(
    key: Key, learner: Learner, state: TrainState, batch: Batch
) -> tuple[TrainState, Metrics]:
    """Takes one step of gradient descent on the penalized mean loss of a batch.

    Args:
      key: PRNG key for dropout and stochastic depth.
      learner: static components of the step.
      state: state before the step.
      batch: raw inputs, already augmented, and targets.

    Returns:
      The state after the step, and the metrics of the batch evaluated at the parameters before the
      update. A skipped step has the metrics of no examples.
    """
    return measured_step(key, learner, state, batch, measured=jnp.zeros((), bool))[:2]


def measured_step(
    key: Key, learner: Learner, state: TrainState, batch: Batch, *, measured: Array
) -> tuple[TrainState, Metrics, Array]:
    """Takes the step of `train_step`, and measures the layers in it.

    Args:
      key: see `train_step`.
      learner: see `train_step`.
      state: see `train_step`.
      batch: see `train_step`.
      measured: boolean scalar, whether to measure; it does not change the state.

    Returns:
      The state, the metrics, and `layer_norms`, which are zeros if nothing is measured.
    """
    inputs = state.normalizer.apply(batch.inputs)

    def total_loss(params: PyTree) -> tuple[Array, tuple[Array, Array, PyTree]]:
        return _total_loss(key, learner, state, params, inputs, batch.targets)

    gradient = jax.grad(total_loss, has_aux=True)
    grads, (losses, outputs, batch_stats) = gradient(state.params)
    updates, opt_state = optax.with_extra_args_support(learner.optimizer).update(
        grads, state.opt_state, state.params, grad_fn=lambda params, _: gradient(params)[0]
    )
    params = optax.apply_updates(state.params, updates)
    if learner.max_norm:
        params = regularizers.max_norm(params, max_value=learner.max_norm)
    params = keep_frozen(learner.frozen, state.params, params)
    average, variables = learner.averaging.update(
        state.average, state.step + 1, {"params": params, "batch_stats": batch_stats}
    )
    labels = learner.objective.labels(batch.targets)
    metrics = learner.objective.metrics.from_batch(losses, outputs, labels)
    after = state.replace(
        step=state.step + 1,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=opt_state,
        average=average,
        metrics=state.metrics.merge(metrics),
    )
    if learner.max_skips is not None:
        after, metrics, skipped = _skip(learner, state, after, metrics, grads)
        measured &= ~skipped
    return after, metrics, layer_norms(grads, updates, params, measured=measured)


def _skip(
    learner: Learner, before: TrainState, after: TrainState, metrics: Metrics, grads: PyTree
) -> tuple[TrainState, Metrics, Array]:
    """Undoes a step that is not finite, apart from its number, as long as the limit allows."""
    assert before.skips is not None
    assert learner.max_skips is not None
    skipped, skips = before.skips.decide((after, metrics, grads), limit=learner.max_skips)
    empty = learner.objective.metrics.empty()
    after, metrics = jax.tree.map(
        lambda kept, new: jnp.where(skipped, kept, new),
        (before.replace(step=after.step), empty),
        (after, metrics),
    )
    return after.replace(skips=skips), metrics, skipped


def _total_loss(
    key: Key, learner: Learner, state: TrainState, params: PyTree, inputs: Array, targets: Array
) -> tuple[Array, tuple[Array, Array, PyTree]]:
    """Returns the penalized mean loss, and (losses, outputs, updated statistics) as auxiliary."""
    objective = learner.objective
    params = learner.gather(params)
    params = keep_frozen(learner.frozen, lax.stop_gradient(params), params)
    raw, updated = learner.model.apply(
        {"params": params, "batch_stats": state.batch_stats},
        inputs,
        train=True,
        mutable=["batch_stats", "auxiliary"],
        rngs={"dropout": key},
    )
    outputs = objective.outputs(raw)
    losses = objective.loss(outputs, targets)
    total = losses.mean() + objective.penalty(params)
    total += objective.auxiliary_loss(updated.get("auxiliary", {}), targets)
    return total, (losses, outputs, updated.get("batch_stats", {}))


def eval_step(learner: Learner, state: TrainState, batch: Batch, mask: Array) -> Metrics:
    """Computes the metrics of one evaluation batch.

    Args:
      learner: its model is called with `train=False`.
      state: provides the variables (see `eval_variables`) and the normalizer.
      batch: raw inputs and targets.
      mask: `[batch]` booleans, False for padding.

    Returns:
      Sums over the examples where the mask is True.
    """
    return eval_metrics(learner, eval_outputs(learner, state, batch.inputs), batch.targets, mask)


def eval_outputs(learner: Learner, state: TrainState, inputs: Array) -> Array:
    """Computes the outputs of the model for raw inputs (see `eval_step`), for the loss."""
    variables = eval_variables(learner, state)

    def predict(inputs: Array) -> Array:
        inputs = state.normalizer.apply(inputs)
        return jnp.asarray(learner.model.apply(variables, inputs, train=False))

    raw = flip_average(predict, inputs) if learner.eval_flip else predict(inputs)
    return learner.objective.outputs(raw)


def eval_metrics(learner: Learner, outputs: Array, targets: Array, mask: Array) -> Metrics:
    """Computes the metrics of the outputs of one evaluation batch (see `eval_step`)."""
    losses = learner.objective.loss(outputs, targets)
    return learner.objective.metrics.from_batch(losses, outputs, targets, mask)


def eval_variables(learner: Learner, state: TrainState) -> dict[str, Any]:
    """Returns the variables to evaluate: the averaged ones, if the learner averages."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return learner.gather(learner.averaging.value(state.average, variables))


def batch_moments(key: Key, learner: Learner, state: TrainState, batch: Batch) -> PyTree:
    """Computes the batch-normalization statistics of one batch at the evaluated parameters.

    Args:
      key: PRNG key for dropout and stochastic depth.
      learner: its model is called with `train=True`.
      state: provides the variables (see `eval_variables`) and the normalizer.
      batch: raw inputs, already augmented.

    Returns:
      A tree like `batch_stats`.
    """
    _, updated = learner.model.apply(
        eval_variables(learner, state),
        state.normalizer.apply(batch.inputs),
        train=True,
        mutable=["batch_stats", "batch_moments"],
        rngs={"dropout": key},
    )
    return updated.get("batch_moments", {})
