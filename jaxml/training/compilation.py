"""Jitted functions of an experiment, and their compilation ahead of time.

Each function is declared once, in `jit_steps`. The data sets are arguments of the compiled
functions rather than constants in them. The state is sharded as `jaxml.training.sharding` says; all
other results are replicated over the devices.
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxml import _cpu
from jaxml.data import augment, pipeline
from jaxml.io import memory
from jaxml.training import _validation, feed
from jaxml.training.experiment import Experiment
from jaxml.training.objective import Metrics
from jaxml.training.steps import (
    TrainState,
    batch_moments,
    eval_metrics,
    eval_outputs,
    measured_step,
)
from jaxml.types import Array, Batch, Key, PyTree

Function = Callable[..., Any]


class TrainCall(NamedTuple):
    """The static part of a call of the training function.

    Attributes:
      num_steps: number of steps, all of one epoch.
      image_size: height and width to which the images are resized; None keeps their size.
    """

    num_steps: int
    image_size: int | None = None


@dataclasses.dataclass(frozen=True)
class StepFunctions:
    """The functions of an experiment that run on the devices.

    Each is jitted (see `jit_steps`) or compiled (see `compile_steps`); both are called in the same
    way.

    Attributes:
      init: `(key, normalizer) -> state` before the first step.
      epoch_order: `(key, epoch) -> order`, the indices of the examples that the epoch visits.
      train: for each `TrainCall`, `(state, data, order, key) -> (state, metrics, norms)`. Takes the
        steps, donates the state and stacks the metrics of the steps. `norms` are the `layer_norms`
        of the last step, or zeros if it does not end an epoch.
      zero_metrics: `() -> metrics`.
      evaluate: `(state, metrics, data, start) -> (metrics, outputs)`, with one evaluation batch
        added, and the outputs of the model for it.
      batch_moments: `(state, data, order, index, key) -> moments` of one training batch.
      add_moments: `(moments, moments) -> moments`.
      augment: `(data, order, key, step) -> batch`, the augmented inputs of a training batch, not
        normalized, and its targets before the augmentation.
      compile_seconds: time that `compile_steps` took.
    """

    init: Function
    epoch_order: Function
    train: Mapping[TrainCall, Function]
    zero_metrics: Function
    evaluate: Function
    batch_moments: Function
    add_moments: Function
    augment: Function
    compile_seconds: float = 0.0

    def train_hlo(self, call: TrainCall) -> str:
        """Returns the HLO text of the compiled training function of a call."""
        compiled: Any = self.train[call]
        return compiled.as_text()


def train_call(experiment: Experiment, step: int) -> TrainCall:
    """Returns the call that takes the steps from `step` on.

    No call crosses the end of an epoch, so the last call of an epoch may be shorter.
    """
    epoch, index = divmod(step, experiment.sizes.steps_per_epoch)
    num_steps = min(experiment.sizes.steps_per_call, experiment.sizes.steps_per_epoch - index)
    return TrainCall(num_steps, experiment.image_size(epoch))


def train_calls(experiment: Experiment, first_step: int = 0) -> set[TrainCall]:
    """Returns the different calls of a run that starts at `first_step`."""
    sizes = experiment.sizes
    epochs = [first_step // sizes.steps_per_epoch + 1, *experiment.image_sizes]
    calls = set()
    for start in [first_step, *(epoch * sizes.steps_per_epoch for epoch in epochs)]:
        if first_step <= start < sizes.num_steps:
            epoch, index = divmod(start, sizes.steps_per_epoch)
            left = sizes.steps_per_epoch - index
            counts = {min(sizes.steps_per_call, left), left % sizes.steps_per_call} - {0}
            calls |= {TrainCall(count, experiment.image_size(epoch)) for count in counts}
    return calls


def jit_steps(experiment: Experiment, calls: Collection[TrainCall] | None = None) -> StepFunctions:
    """Declares the jitted functions of an experiment; they compile when first called.

    Args:
      experiment: the experiment.
      calls: calls of the training function; None declares those of a whole run.
    """
    replicated, state = experiment.replicated, experiment.state_sharding
    jit = partial(jax.jit, out_shardings=replicated)
    # Initialization runs once: on a CPU, optimizing it takes longer than running it.
    on_cpu = jax.default_backend() == "cpu"
    unoptimized: Any = {"xla_backend_optimization_level": 0} if on_cpu else None
    return StepFunctions(
        init=jax.jit(experiment.create_state, out_shardings=state, compiler_options=unoptimized),
        epoch_order=jit(partial(_epoch_order, experiment)),
        train={
            call: jax.jit(
                partial(_train_steps, experiment, call),
                out_shardings=(state, replicated, replicated),
                donate_argnums=0,
            )
            for call in (train_calls(experiment) if calls is None else calls)
        },
        zero_metrics=jit(experiment.learner.objective.metrics.empty),
        evaluate=jit(partial(_evaluate_batch, experiment)),
        batch_moments=jit(partial(_batch_moments, experiment)),
        add_moments=jit(optax.tree.add),
        augment=jit(partial(_augment_inputs, experiment)),
    )


def compile_steps(
    experiment: Experiment, calls: Collection[TrainCall], *, init: bool
) -> StepFunctions:
    """Compiles the functions of a training run in parallel.

    XLA compiles each function mostly on one core, so they are compiled concurrently.

    Args:
      experiment: the experiment.
      calls: calls of the training function.
      init: whether `init` is needed; otherwise the state is assumed to be on the devices.

    Returns:
      The functions that a training run calls in every epoch, compiled; the others jitted.

    Raises:
      InputError: a function does not fit in the available memory.
    """
    begin = time.perf_counter()
    steps = jit_steps(experiment, calls)
    arguments = _example_arguments(experiment)
    names = ["evaluate", "epoch_order", "zero_metrics"]
    if experiment.learner.averaging.reestimates and experiment.abstract_state.batch_stats:
        names.insert(1, "batch_moments")
    with ThreadPoolExecutor() as pool:

        def submit(function: Any, arguments: tuple[Any, ...]) -> Any:
            return pool.submit(compile_program, function.lower(*arguments))

        training = {
            call: submit(steps.train[call], train_arguments(experiment, call.num_steps))
            for call in sorted(steps.train, reverse=True)  # the longest first
        }
        initialization = submit(steps.init, arguments["init"]) if init else None
        others = {name: submit(getattr(steps, name), arguments[name]) for name in names}
    train = {call: future.result() for call, future in training.items()}
    compiled = {name: future.result() for name, future in others.items()}
    created = memory.of_arrays(experiment.abstract_state) if init else 0
    for program in [*train.values(), *compiled.values()]:
        needed = created + memory.of_program(program)
        _validation.check_memory(experiment.config, needed, "a step with the state")
    if initialization:
        compiled["init"] = initialization.result()
    seconds = time.perf_counter() - begin
    return dataclasses.replace(steps, train=train, **compiled, compile_seconds=seconds)


@_cpu.limit_memory
def compile_program(lowered: Any) -> Any:
    """Compiles a lowered function of `StepFunctions`."""
    return lowered.compile()


def _example_arguments(experiment: Experiment) -> dict[str, tuple[Any, ...]]:
    """Returns arguments, or their shapes, of the functions that are compiled ahead of time."""
    keys, number = experiment.keys, experiment.replicate(0)
    state, data, order, key = train_arguments(experiment, 1)
    return {
        "init": (keys.init, experiment.normalizer),
        "epoch_order": (keys.order, number),
        "zero_metrics": (),
        "evaluate": (state, state.metrics, feed.abstract_eval_data(experiment), number),
        "batch_moments": (state, data, order, number, key),
    }


def train_arguments(experiment: Experiment, num_steps: int) -> tuple[TrainState, Batch, Any, Key]:
    """Returns arguments, or their shapes, of a training function."""
    order = jax.ShapeDtypeStruct(
        (experiment.sizes.train_count,), jnp.int32, sharding=experiment.replicated
    )
    data = feed.abstract_train_data(experiment, num_steps)
    return experiment.abstract_state, data, order, experiment.keys.step


def _epoch_order(experiment: Experiment, key: Key, epoch: Array) -> Array:
    if not experiment.config.data.balanced:
        return pipeline.epoch_order(key, epoch, size=experiment.sizes.train_count)
    labels = jnp.asarray(experiment.train_labels)
    num_classes = experiment.learner.objective.num_classes
    return pipeline.balanced_order(key, epoch, labels=labels, num_classes=num_classes)


def _train_steps(
    experiment: Experiment,
    call: TrainCall,
    state: TrainState,
    data: Batch,
    order: Array,
    key: Key,
) -> tuple[TrainState, Metrics, Array]:
    """Takes steps of one epoch; returns the state, the metrics of the steps and the last norms."""
    learner, steps_per_epoch = experiment.learner, experiment.sizes.steps_per_epoch
    streamed = data if experiment.streamed else None

    def body(state: TrainState, batch: Batch | None) -> tuple[TrainState, tuple[Metrics, Array]]:
        index = state.step % steps_per_epoch
        if batch is None:
            batch = _take_batch(experiment, data, order, index)
        dropout_key, batch = augment_batch(experiment, batch, order, key, state.step)
        if call.image_size:
            resized = augment.resize(batch.inputs, size=(call.image_size, call.image_size))
            batch = batch._replace(inputs=resized)
        sums = jax.tree.map(
            lambda total, zero: jnp.where(index == 0, zero, total),
            state.metrics,
            learner.objective.metrics.empty(),
        )
        state, metrics, norms = measured_step(
            dropout_key,
            learner,
            state.replace(metrics=sums),
            batch,
            measured=index == steps_per_epoch - 1,
        )
        return state, (metrics, norms)

    if call.num_steps > 1:
        state, (metrics, norms) = lax.scan(body, state, streamed, length=call.num_steps)
        return state, metrics, norms[-1]
    state, (metrics, norms) = body(state, jax.tree.map(lambda array: array[0], streamed))
    return state, jax.tree.map(lambda total: total[None], metrics), norms


def _take_batch(experiment: Experiment, data: Batch, order: Array, index: Array) -> Batch:
    return pipeline.take_batch(data, order, index, batch_size=experiment.sizes.batch_size)


def augment_batch(
    experiment: Experiment, batch: Batch, order: Array, key: Key, step: Array
) -> tuple[Key, Batch]:
    """Augments a training batch.

    Args:
      experiment: provides the augmentations.
      batch: the batch.
      order: the order of its epoch.
      key: PRNG key of the steps of the run.
      step: index of the step.

    Returns:
      A key for dropout, and the augmented batch, sharded over the devices.
    """
    batch = lax.with_sharding_constraint(batch, experiment.sharded)
    augmentations, sizes = experiment.augmentations, experiment.sizes
    keys = jax.random.split(jax.random.fold_in(key, step), max(3, len(augmentations) + 1))
    first, second, dropout_key, *others = keys  # the third for any number of augmentations
    if not augmentations:
        return dropout_key, batch
    start = step % sizes.steps_per_epoch * sizes.batch_size
    indices = lax.dynamic_slice_in_dim(order, start, sizes.batch_size)
    images, targets, _ = augment.apply(
        augmentations,
        [first, second, *others][: len(augmentations)],
        augment.Examples(*batch, indices),
        run_key=jax.random.fold_in(key, _validation.MAX_STEPS),  # differs from those of all steps
        epoch=step // sizes.steps_per_epoch,
        num_classes=experiment.learner.objective.num_classes,
        mixing_epochs=experiment.config.data.mixing_epochs,
    )
    return dropout_key, lax.with_sharding_constraint(Batch(images, targets), experiment.sharded)


def _augment_inputs(
    experiment: Experiment, data: Batch, order: Array, key: Key, step: Array
) -> Batch:
    """Returns a training batch with augmented inputs and the targets that the data have."""
    if experiment.streamed:
        batch = jax.tree.map(lambda array: array[0], data)
    else:
        batch = _take_batch(experiment, data, order, step % experiment.sizes.steps_per_epoch)
    return batch._replace(inputs=augment_batch(experiment, batch, order, key, step)[1].inputs)


def _evaluate_batch(
    experiment: Experiment, state: TrainState, metrics: Metrics, data: Batch, start: Array
) -> tuple[Metrics, Array]:
    """Adds the metrics of the evaluation batch that begins at `start`; also returns its outputs."""
    size, count = experiment.sizes.eval_batch_size, experiment.sizes.eval_count
    batch = data
    if not experiment.streamed:
        batch = Batch(*(lax.dynamic_slice_in_dim(array, start, size) for array in data))
    mask = start + jnp.arange(size, dtype=jnp.int32) < count
    batch, mask = lax.with_sharding_constraint((batch, mask), experiment.sharded)
    outputs = eval_outputs(experiment.learner, state, batch.inputs)
    return metrics.merge(eval_metrics(experiment.learner, outputs, batch.targets, mask)), outputs


def _batch_moments(
    experiment: Experiment, state: TrainState, data: Batch, order: Array, index: Array, key: Key
) -> PyTree:
    """Computes the batch-normalization statistics of one training batch of an epoch."""
    if experiment.streamed:
        batch = jax.tree.map(lambda array: array[0], data)
    else:
        batch = _take_batch(experiment, data, order, index)
    dropout_key, batch = augment_batch(experiment, batch, order, key, index)
    return batch_moments(dropout_key, experiment.learner, state, batch)
