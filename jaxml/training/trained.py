"""A trained network, read from the folder of its run without the data of the run."""

import dataclasses
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct

from jaxml.config import LARGEST_INT, Config
from jaxml.data.augment import flip_average
from jaxml.errors import InputError, choose
from jaxml.metrics import BinaryMetrics, RegressionMetrics
from jaxml.models import abstract_variables, create_model, intermediate_shapes, intermediates
from jaxml.normalize import NORMALIZERS, Normalizer, PCAWhitening
from jaxml.optim import Average, create_averaging
from jaxml.predictions import binary_probabilities, class_probabilities
from jaxml.training._checkpoint_file import read
from jaxml.training.checkpoint import Checkpoints, arrange
from jaxml.training.compilation import jit_steps
from jaxml.training.evaluation import final_variables
from jaxml.training.objective import Objective, create_objective
from jaxml.training.origin import Origin
from jaxml.training.restore import Restored, find_step, restore_checkpoint
from jaxml.training.workdir import CHECKPOINTS, CLASSES, read_config
from jaxml.types import Array, PyTree

MULTICLASS, BINARY, REGRESSION = "multiclass", "binary", "regression"


class TrainedNetwork(struct.PyTreeNode):
    """A network with its parameters and input normalization.

    It is a pytree: `jax.jit(TrainedNetwork.probabilities)(network, images)` compiles one of its
    methods, with the parameters as arguments. Inputs are raw, as in the data set of the run: uint8
    images `[batch, height, width, channels]` or features `[batch, features]`.

    Attributes:
      variables: parameters and batch statistics, averaged as the config of the run says.
      normalizer: input normalization.
      model: the Linen module.
      task: "multiclass", "binary" or "regression".
      class_names: names of the classes; numbers where they have no names, none for regression.
      example_shape: shape of one raw input.
      example_dtype: dtype of the raw inputs.
      center_fraction: see `jaxml.data.decode.center_crop`.
      eval_flip: whether the outputs for an image and its mirror image are averaged.
      name: network and data set, for people.
      step: step of the checkpoint.
    """

    variables: PyTree
    normalizer: Normalizer
    model: nn.Module = struct.field(pytree_node=False)
    task: str = struct.field(pytree_node=False)
    class_names: tuple[str, ...] = struct.field(pytree_node=False)
    example_shape: tuple[int, ...] = struct.field(pytree_node=False)
    example_dtype: str = struct.field(pytree_node=False)
    center_fraction: float = struct.field(pytree_node=False)
    eval_flip: bool = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False)
    step: int = struct.field(pytree_node=False)

    def logits(self, inputs: Array) -> Array:
        """Returns the outputs of the network in evaluation, `[batch, outputs]`."""

        def apply(inputs: Array) -> Array:
            normalized = self.normalizer.apply(inputs)
            return jnp.asarray(self.model.apply(self.variables, normalized, train=False))

        return flip_average(apply, inputs) if self.eval_flip else apply(inputs)

    def probabilities(self, inputs: Array) -> Array:
        """Returns the probability of each class, `[batch, classes]`; values for regression.

        These are the softmax of the logits, or the sigmoid and its complement for a network with
        one output. Those of a network that was trained with a hinge loss are not calibrated.
        """
        return to_probabilities(self.task, self.logits(inputs))

    def features(self, inputs: Array, tap: str) -> Array:
        """Returns an intermediate result, `[batch, features]`, with images flattened.

        Args:
          inputs: raw inputs.
          tap: name of the result, see `jaxml.models.intermediates`.
        """
        found = intermediates(self.model, self.variables, self.normalizer.apply(inputs), [tap])
        return found[tap].reshape(len(inputs), -1).astype(jnp.float32)

    def taps(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the intermediate results of one input, by name."""
        return intermediate_shapes(self.model, self.input_shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one normalized input."""
        example = jax.ShapeDtypeStruct((1, *self.example_shape), self.example_dtype)
        return jax.eval_shape(self.normalizer.apply, example).shape[1:]

    def rows(self) -> dict[str, str]:
        """Returns the properties that a person wants to see."""
        count = sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))
        shown = ", ".join(self.class_names[:10]) + (", ..." if len(self.class_names) > 10 else "")
        return {
            "network": self.name,
            "step": f"{self.step:,}",
            "parameters": f"{count:,}",
            "input": f"{'x'.join(map(str, self.example_shape))} {self.example_dtype}",
            "classes": f"{len(self.class_names)}: {shown}" if self.class_names else "real values",
        }

    def __repr__(self) -> str:
        lines = ", ".join(f"{name}={value!r}" for name, value in self.rows().items())
        return f"TrainedNetwork({lines})"

    def _repr_html_(self) -> str:
        """Returns a table, which a notebook shows."""
        cells = "".join(
            f"<tr><th style='text-align:left'>{name}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self.rows().items()
        )
        return f"<table>{cells}</table>"


def to_probabilities(task: str, logits: Array) -> Array:
    """Converts the outputs of a network; see `TrainedNetwork.probabilities`.

    >>> to_probabilities("binary", jnp.zeros((1, 1))).tolist()
    [[0.5, 0.5]]
    """
    if task == MULTICLASS:
        return class_probabilities(logits)
    if task == BINARY:
        positive = binary_probabilities(logits)
        return jnp.concatenate([binary_probabilities(-logits), positive], axis=-1)
    return logits


def check_tap(
    network: TrainedNetwork, tap: str, flag: str = "--tap", *, name: str | None = None
) -> None:
    """Checks that a network has an intermediate result.

    Args:
      network: the network.
      tap: name of the result.
      flag: flag that names it, for the message.
      name: name of the network in the message, if another than its own.

    Raises:
      InputError: it has not; the message lists those that it has.
    """
    shapes = network.taps()
    if not shapes:
        raise InputError(
            f"{flag} must name an intermediate result of {name or network.name}, which has none, "
            f"got {tap!r}"
        )
    choose(shapes, tap, flag)


def load_network(workdir: Path | str, checkpoint: str = "newest") -> TrainedNetwork:
    """Loads the network of a run, which may still be training.

    The data of the run are read only if batch statistics must be recomputed from them: for the
    mean of several checkpoints, and for stochastic weight averaging.

    Args:
      workdir: folder of the run; nothing in it is changed.
      checkpoint: "newest", "best", or the number of a step; several, separated by commas, are
        averaged.

    Raises:
      InputError: there is no such run or checkpoint, or it is corrupt.
    """
    workdir = Path(workdir)
    config, checkpoints = read_config(workdir), Checkpoints(workdir / CHECKPOINTS)
    for name in checkpoint.split(","):
        find_step(checkpoints, name, workdir)
    if "," in checkpoint or config.average.name == "swa":
        return network_of(restore_checkpoint(workdir, checkpoint), workdir)
    while True:
        step = find_step(checkpoints, checkpoint, workdir)
        path = checkpoints.path(step)
        try:
            origin, arrays = Origin(**checkpoints.header(step).notes["origin"]), read(path)
        except FileNotFoundError:  # the run removed it in the meantime, after a newer one
            continue
        break
    origin.check_config(config, f"{path}")
    example, num_classes = _describe_data(origin.data, path)
    objective = _objective(config, num_classes)
    model = create_model(config.model, num_classes=objective.num_outputs)
    normalizer = _read_normalizer(arrays, config.data.normalization, example.shape[1:], path)
    shape = jax.eval_shape(normalizer.apply, example).shape[1:]
    variables = _read_variables(arrays, config, abstract_variables(model, shape), path)
    return _create(config, step, model, objective, variables, normalizer, example, workdir)


def network_of(restored: Restored, workdir: Path) -> TrainedNetwork:
    """Returns the network of a checkpoint that is restored with its data.

    Args:
      restored: the checkpoint.
      workdir: folder of the run, for the names of the classes.
    """
    experiment, step, state = restored
    learner = experiment.learner
    example, _ = _describe_data(experiment.data_digests, workdir)
    variables = final_variables(experiment, jit_steps(experiment), state)
    return _create(
        experiment.config,
        step,
        learner.model,
        learner.objective,
        variables,
        state.normalizer,
        example,
        workdir,
    )


def _create(
    config: Config,
    step: int,
    model: nn.Module,
    objective: Objective,
    variables: PyTree,
    normalizer: Normalizer,
    example: jax.ShapeDtypeStruct,
    workdir: Path,
) -> TrainedNetwork:
    tasks = {BinaryMetrics: BINARY, RegressionMetrics: REGRESSION}
    return TrainedNetwork(
        variables=variables,
        normalizer=normalizer,
        model=model,
        task=tasks.get(objective.metrics, MULTICLASS),
        class_names=_read_classes(workdir, objective.num_classes),
        example_shape=example.shape[1:],
        example_dtype=str(example.dtype),
        center_fraction=config.data.center_fraction if config.data.image_size else 1.0,
        eval_flip=config.eval_flip,
        name=f"{config.model.name} on {config.data.name}",
        step=step,
    )


def _objective(config: Config, num_classes: int) -> Objective:
    """Builds the objective without class weights, which may need the labels of the run."""
    loss = dataclasses.replace(config.loss, balance_classes=False, class_weights=())
    return create_objective(loss, num_classes)


def _describe_data(digests: Mapping[str, str], where: Path) -> tuple[jax.ShapeDtypeStruct, int]:
    """Returns the shape of a batch of one evaluation input, and the number of classes."""
    for split in ("test", "validation"):
        found = re.match(r"(\w+)\[([\d,]+)\] ", digests.get(f"{split} inputs", ""))
        if found:
            shape = tuple(map(int, found[2].split(",")))
            example = jax.ShapeDtypeStruct((1, *shape[1:]), found[1])
            return example, int(digests["number of classes"])
    raise InputError(f"{where}: does not describe the data of its run")


def _read_classes(workdir: Path, num_classes: int) -> tuple[str, ...]:
    """Returns the names of the classes of a run, or their numbers."""
    try:
        names = tuple(map(str, json.loads((workdir / CLASSES).read_bytes())))
    except (OSError, ValueError, TypeError):
        names = ()
    return names if len(names) == num_classes else class_numbers(num_classes)


def class_numbers(num_classes: int) -> tuple[str, ...]:
    """Returns the names of classes that have none."""
    return tuple(map(str, range(num_classes)))


def _read_normalizer(
    arrays: Mapping[str, np.ndarray], name: str, example_shape: tuple[int, ...], path: Path
) -> Normalizer:
    kind = NORMALIZERS[name]
    statistics: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if not field.metadata.get("pytree_node", True):
            continue
        key = f".normalizer.{field.name}"
        if key not in arrays:
            raise InputError(f"{path}: state{key} must be an array, got missing")
        statistics[field.name] = jnp.asarray(arrays[key])
    if issubclass(kind, PCAWhitening):
        statistics["shape"] = kind.whitened_shape(example_shape, statistics["mean"].size)
    return kind(**statistics)


class _Evaluated(NamedTuple):
    """The part of a `TrainState` that evaluation uses."""

    params: PyTree
    batch_stats: PyTree
    average: Average


def _read_variables(
    arrays: Mapping[str, np.ndarray], config: Config, abstract: PyTree, path: Path
) -> dict[str, PyTree]:
    """Returns the variables that evaluation uses, see `jaxml.training.steps.eval_variables`."""
    averaging = create_averaging(
        config.average,
        steps_per_epoch=1,
        num_steps=LARGEST_INT,
        steps_per_update=config.optim.accumulate_steps,
    )
    variables = {"params": abstract["params"], "batch_stats": abstract.get("batch_stats", {})}
    average = jax.eval_shape(averaging.init, variables)
    state = arrange(arrays, _Evaluated(**variables, average=average), path)
    return averaging.value(state.average, {name: getattr(state, name) for name in variables})
