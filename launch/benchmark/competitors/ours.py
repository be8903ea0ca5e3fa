"""jaxml, tuned as by its commands, with the functions of a training run."""

import dataclasses
import functools
import importlib.metadata
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Self, cast

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml import _cpu, layers
from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig
from jaxml.data import DATASETS, Dataset, Split
from jaxml.errors import InputError
from jaxml.models import MODELS, create_model, network_class, summarize
from jaxml.normalize import UnitInterval
from jaxml.optim import create_optimizer
from jaxml.training.compilation import compile_program, compile_steps, train_call, train_calls
from jaxml.training.experiment import create_experiment
from jaxml.training.initialize import initial_state
from jaxml.training.objective import create_objective
from jaxml.training.steps import Learner, TrainState, train_step
from jaxml.types import Batch
from launch.benchmark import ceilings, convolutions
from launch.benchmark.task import Operation, Prepared, Task, random_images


def prepare(name: str, task: Task) -> Prepared:
    """Prepares a task; "jaxml_scan" runs identical blocks as a loop."""
    _cpu.tune(os.environ)
    if task.devices > 1:
        jax.config.update("jax_num_cpu_devices", task.devices)
    if len(jax.devices()) < task.devices:
        raise InputError(f"--devices must be at most {len(jax.devices())}, got {task.devices}")
    parameters = 0
    if task.what == "conv":
        conv = functools.partial(layers.conv, padding=1)
        operations = convolutions.jax_operations(task, conv)
    else:
        config = model_config(task, scan=name == "jaxml_scan")
        model = create_model(config, num_classes=task.num_classes)
        cost = summarize(model, task.batch_shape[1:])
        parameters = cost.parameters
        flops = 2.0 * cost.multiply_adds * task.counted
        operations = {task.what: _operation(task, config, _Training.create_for(model, task), flops)}
    if task.what != "compile":
        operations |= ceilings.operations(jnp.dtype(task.precision))
    return Prepared(
        operations,
        f"{task.devices} x {jax.devices()[0].device_kind}",
        {package: importlib.metadata.version(package) for package in ("jax", "jaxlib")},
        parameters,
    )


def _operation(task: Task, config: ModelConfig, training: "_Training", flops: float) -> Operation:
    """Prepares the operation; `flops` are those of its forward passes."""
    if task.what == "inference":
        return _inference(training, flops)
    if task.what == "compile":
        return Operation(_compile(training))
    # The gradients of the inputs and of the kernels cost as much as the forward pass, each.
    if task.what == "epoch":
        return Operation(_epoch(config, task), 3 * flops)
    return _train_step(training, 3 * flops)


def model_config(task: Task, *, scan: bool = False) -> ModelConfig:
    """Returns the config of the network that all competitors have (see `networks`)."""
    fields = {field.name for field in dataclasses.fields(network_class(MODELS[task.model]))}
    projects = "shortcut" in fields and not task.model.endswith("_keras")
    return ModelConfig(
        name=task.model,
        shortcut="projection" if projects else None,
        auxiliary=False,
        dtype=task.precision,
        scan=scan,
    )


class _Training(NamedTuple):
    """The components of a training step.

    Attributes:
      learner: static components of the step.
      create: initializes the state from a PRNG key.
      batch: batch on the devices.
      replicated: sharding of the state.
    """

    learner: Learner
    create: Callable[[jax.Array], TrainState]
    batch: Batch
    replicated: NamedSharding

    @classmethod
    def create_for(cls, model: Any, task: Task) -> Self:
        """Combines a network with the optimizer and the batch of the benchmark."""
        learner = Learner(
            model,
            create_objective(LossConfig(), num_classes=task.num_classes),
            create_optimizer(OptimConfig(), lambda _: OptimConfig().learning_rate),
        )
        create = functools.partial(
            TrainState.create,
            learner=learner,
            normalizer=UnitInterval(),
            input_shape=task.batch_shape[1:],
        )
        devices = jax.devices()[: task.devices]
        mesh = jax.make_mesh((len(devices),), ("data",), (AxisType.Auto,), devices=devices)
        sharded = NamedSharding(mesh, PartitionSpec("data"))
        batch = Batch(*jax.device_put(random_images(task, task.batch_size), sharded))
        return cls(learner, create, batch, NamedSharding(mesh, PartitionSpec()))

    def state(self) -> TrainState:
        """Returns the state before the first step, on the devices."""
        return jax.jit(self.create, out_shardings=self.replicated)(jax.random.key(0))

    def step(self) -> Any:
        """Returns the jitted step, which donates the state."""
        step = functools.partial(train_step, jax.random.key(0), self.learner)
        return jax.jit(step, donate_argnums=0, out_shardings=self.replicated)


def _train_step(training: _Training, flops: float) -> Operation:
    state = training.state()
    compiled = compile_program(training.step().lower(state, training.batch))

    def take() -> None:
        nonlocal state
        state, metrics = compiled(state, training.batch)
        jax.block_until_ready((state, metrics))

    return Operation(take, flops, _bytes_moved(compiled))


def _inference(training: _Training, flops: float) -> Operation:
    state = training.state()
    variables = {"params": state.params, "batch_stats": state.batch_stats}

    def forward(variables: Any, images: jax.Array) -> Any:
        images = state.normalizer.apply(images)
        return training.learner.model.apply(variables, images, train=False)

    images = training.batch.inputs
    compiled = compile_program(jax.jit(forward).lower(variables, images))
    return Operation(
        lambda: jax.block_until_ready(compiled(variables, images)), flops, _bytes_moved(compiled)
    )


def _compile(training: _Training) -> Callable[[], object]:
    """Returns a function that traces, lowers and compiles a training step."""
    jax.config.update("jax_enable_compilation_cache", False)
    state = jax.eval_shape(training.create, jax.random.key(0))
    place = functools.partial(jax.ShapeDtypeStruct, sharding=training.replicated)
    state = jax.tree.map(lambda leaf: place(leaf.shape, leaf.dtype), state)
    return lambda: compile_program(training.step().lower(state, training.batch))


def _epoch(model: ModelConfig, task: Task) -> Callable[[], object]:
    """Prepares an epoch as in a run, with the training set on the device."""
    return epoch(model, task, DataConfig(normalization="unit"))


def epoch(
    model: ModelConfig, task: Task, data: DataConfig, *, steps_per_call: int | None = None
) -> Callable[[], object]:
    """Compiles an epoch of random images.

    Args:
      model: config of the network.
      task: provides the number of images and the batch size.
      data: config of normalization and augmentation.
      steps_per_call: see `Config.steps_per_call`.
    """
    name = random_set(task, train=task.images, test=task.batch_size)
    experiment = create_experiment(
        Config(
            batch_size=task.batch_size,
            eval_batch_size=task.batch_size,
            steps_per_call=steps_per_call,
            model=model,
            data=dataclasses.replace(data, name=name),
            optim=OptimConfig(schedule="constant"),
        )
    )
    sizes, keys = experiment.sizes, experiment.keys
    steps = compile_steps(experiment, train_calls(experiment), init=True)
    state = initial_state(experiment, steps)

    def take() -> None:
        nonlocal state
        order, step = steps.epoch_order(keys.order, experiment.replicate(0)), 0
        while step < sizes.steps_per_epoch:
            call = train_call(experiment, step)
            state, *_ = steps.train[call](state, experiment.train_data, order, keys.step)
            step += call.num_steps
        jax.block_until_ready(state)

    return take


def random_set(task: Task, *, train: int, test: int) -> str:
    """Registers a data set of random images in this process.

    Args:
      task: provides the size of the images and the number of classes.
      train: number of training images.
      test: number of test images.

    Returns:
      The name of the data set.
    """
    splits = [Split(*random_images(task, count)) for count in (train, test)]
    dataset = Dataset(splits[0], splits[1], task.num_classes)
    cast(dict[str, Any], DATASETS)["random"] = lambda _: dataset
    return "random"


def _bytes_moved(compiled: Any) -> float:
    """Returns XLA's count of the bytes that the operations of a program read and write."""
    return float((compiled.cost_analysis() or {}).get("bytes accessed", 0.0))
