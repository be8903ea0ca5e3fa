"""The description of a run: its data on the devices, its model, objective and optimizer.

`create_experiment` builds it from a config: it checks the config and loads the data, but compiles
nothing. `jaxml.training.compilation` creates the jitted functions, and `jaxml.training.sharding`
says which arrays are sharded over the devices.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxml import _cpu
from jaxml.config import Config
from jaxml.data import (
    Dataset,
    Images,
    Split,
    StreamedDataset,
    augment,
    digests,
    fitting_sample,
    load_dataset,
)
from jaxml.errors import InputError
from jaxml.io import memory
from jaxml.models import create_model
from jaxml.normalize import NORMALIZERS, Normalizer
from jaxml.optim import create_averaging, create_optimizer, create_schedule, scale_learning_rate
from jaxml.training import _validation, sharding
from jaxml.training.hosts import place
from jaxml.training.objective import Objective, create_objective
from jaxml.training.steps import Learner, TrainState
from jaxml.types import Array, Batch, Key


class Sizes(NamedTuple):
    """Numbers of examples and steps.

    Attributes:
      batch_size: examples in a training batch.
      eval_batch_size: examples in an evaluation batch.
      train_count: examples in the training set.
      eval_count: examples in the evaluation set, without padding.
      steps_per_epoch: `train_count // batch_size`; the remainder of an epoch is dropped.
      num_steps: steps of the whole run.
      steps_per_call: steps in one call of the compiled training function.
    """

    batch_size: int
    eval_batch_size: int
    train_count: int
    eval_count: int
    steps_per_epoch: int
    num_steps: int
    steps_per_call: int


class Keys(NamedTuple):
    """The PRNG keys of a run, all derived from its seed.

    Attributes:
      init: initial parameters.
      order: order of the training set, folded in with the epoch.
      step: augmentation, dropout and stochastic depth, folded in with the step.
    """

    init: Key
    order: Key
    step: Key


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """Everything that determines a run, as one immutable value.

    Attributes:
      config: the config that it was built from.
      sizes: numbers of examples and steps.
      learner: model, objective, optimizer and averaging.
      schedule: learning rate at each step, jitted, for display.
      normalizer: input normalization, fitted on the training set.
      augmentations: augmentations of training batches, in order.
      keys: PRNG keys.
      train_data: the training set, replicated over the devices; empty if it is streamed.
      eval_data: the evaluation set, padded to a multiple of the evaluation batch; empty if it is
        streamed.
      streamed: the data set if its batches are streamed (see `jaxml.training.feed`), or None.
      eval_split: name of the evaluation set, "test" or "validation".
      data_digests: description and digest of each array of the data set, by name.
      class_names: names of the classes, where they are known.
      input_shape: shape of one normalized example in evaluation.
      create_state: `(key, normalizer) -> state` before the first step; not jitted.
      abstract_state: shapes, dtypes and shardings of the state.
      sharded: sharding of batches.
      replicated: sharding of all arrays but batches and the state.
    """

    config: Config
    sizes: Sizes
    learner: Learner
    schedule: Callable[[int], Array]
    normalizer: Normalizer
    augmentations: tuple[augment.Augmentation, ...]
    keys: Keys
    train_data: Batch
    eval_data: Batch
    streamed: StreamedDataset | None
    eval_split: str
    data_digests: Mapping[str, str]
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    create_state: Callable[[Key, Normalizer], TrainState]
    abstract_state: TrainState
    sharded: NamedSharding
    replicated: NamedSharding

    @property
    def device(self) -> str:
        """Number and kind of the devices."""
        return f"{self.replicated.mesh.size} x {jax.devices()[0].device_kind}"

    @property
    def train_labels(self) -> np.ndarray:
        """Targets of the training set, `[n]`."""
        data = self.streamed.train if self.streamed else self.train_data
        return np.asarray(data.targets)

    @property
    def image_sizes(self) -> dict[int, int | None]:
        """Sizes of the training images, by the first epoch of each; None keeps their size."""
        sizes = self.config.data.progressive_sizes or (None,)
        return {-(-i * self.config.num_epochs // len(sizes)): size for i, size in enumerate(sizes)}

    def image_size(self, epoch: int) -> int | None:
        """Returns the size of the training images of an epoch; None keeps their size."""
        sizes = self.image_sizes
        return sizes[max(first for first in sizes if first <= epoch)]

    @property
    def damage(self) -> Mapping[str, str]:
        """Messages about the damaged images that were replaced so far, by name."""
        return self.streamed.damage.messages if self.streamed else {}

    def __str__(self) -> str:
        return (
            f"{self.config.model.name} on {self.config.data.name}, {self.sizes.num_steps} steps of "
            f"{self.sizes.batch_size} examples on {self.device}"
        )

    @property
    def state_sharding(self) -> TrainState:
        """Sharding of each array of the state."""
        return jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state)

    def replicate(self, number: int) -> Array:
        """Places an int32 scalar on all devices."""
        return place(np.int32(number), self.replicated)


def create_experiment(config: Config) -> Experiment:
    """Builds an experiment from its config.

    Raises:
      InputError: a name, file or size in the config is wrong, or the state does not fit in memory.
    """
    if jax.config.values["jax_disable_jit"]:
        raise InputError("JAX_DISABLE_JIT must be 0, got 1: the steps are compiled")
    _cpu.configure(onednn=config.cpu.onednn)
    create_model(config.model, num_classes=1)  # reports errors before the data are read
    augmentations = tuple(map(augment.parse, config.data.augment))
    dataset = load_dataset(config.data, seed=config.seed)
    data_digests = digests(dataset)
    if isinstance(dataset, Dataset):
        dataset = dataset.hold_out(config.data.validation_size)
    mesh = sharding.create_mesh(config.mesh.fsdp)
    sizes = _create_sizes(config, dataset, mesh.size)
    schedule = create_schedule(
        scale_learning_rate(config.optim, sizes.batch_size),
        steps_per_epoch=sizes.steps_per_epoch,
        num_steps=sizes.num_steps,
    )
    _validation.check_balance(config, dataset.train.targets, dataset.num_classes)
    objective = create_objective(config.loss, dataset.num_classes, dataset.train.targets)
    learner = _create_learner(config, sizes, schedule, objective, mesh)
    replicated = NamedSharding(mesh, PartitionSpec())
    keys = Keys(*place(jax.random.split(jax.random.key(config.seed), 3), replicated))
    normalizer = _fit_normalizer(config, dataset.train.inputs)
    if isinstance(dataset, Dataset):
        train_data = Batch(*(place(array, replicated) for array in dataset.train))
        padded = _pad(dataset.test, sizes.eval_batch_size)
        eval_data = Batch(*(place(array, replicated) for array in padded))
    else:
        train_data = eval_data = Batch(*map(jax.numpy.zeros, (0, 0)))
    example_shape = dataset.test.inputs.shape[1:]

    def create_state(key: Key, normalizer: Normalizer) -> TrainState:
        return TrainState.create(key, learner, normalizer, example_shape)

    train_example, example = (
        jax.ShapeDtypeStruct((1, *split.inputs.shape[1:]), split.inputs.dtype)
        for split in (dataset.train, dataset.test)
    )
    _validation.check_images(config, example)
    _validation.check_augmentations(config, augmentations, train_example)
    input_shape = jax.eval_shape(normalizer.apply, example).shape[1:]
    with _validation.input_shape_errors(config, input_shape):
        state = _abstract(jax.eval_shape(create_state, keys.init, normalizer), mesh)
    _validation.check_batch_norm_groups(config, sizes.batch_size, state.batch_stats)
    _validation.check_train_sizes(config, learner, state, example)
    _validation.check_memory(config, memory.of_arrays(state), "the state")
    _validation.check_frozen(config.weights.freeze, state.params)
    return Experiment(
        config=config,
        sizes=sizes,
        learner=learner,
        schedule=jax.jit(schedule),  # its first call takes ten times as long without
        normalizer=normalizer,
        augmentations=augmentations,
        keys=keys,
        train_data=train_data,
        eval_data=eval_data,
        streamed=dataset if isinstance(dataset, StreamedDataset) else None,
        eval_split=dataset.test_name,
        data_digests=data_digests,
        class_names=dataset.class_names,
        input_shape=input_shape,
        create_state=create_state,
        abstract_state=state,
        sharded=sharding.batch_sharding(mesh),
        replicated=replicated,
    )


def _create_sizes(config: Config, dataset: Dataset | StreamedDataset, num_devices: int) -> Sizes:
    train_count, eval_count = len(dataset.train.targets), len(dataset.test.targets)
    batch_size = config.batch_size or train_count
    _validation.check_batch_sizes(config, batch_size, train_count, num_devices)
    steps_per_epoch = train_count // batch_size
    num_steps = steps_per_epoch * config.num_epochs
    _validation.check_num_steps(config, num_steps)
    one = jax.default_backend() == "cpu" or isinstance(dataset, StreamedDataset)
    default = 1 if one else steps_per_epoch
    padded_count = eval_count + -eval_count % num_devices
    return Sizes(
        batch_size=batch_size,
        eval_batch_size=min(config.eval_batch_size, padded_count),
        train_count=train_count,
        eval_count=eval_count,
        steps_per_epoch=steps_per_epoch,
        num_steps=num_steps,
        steps_per_call=min(config.steps_per_call or default, steps_per_epoch),
    )


def _create_learner(
    config: Config, sizes: Sizes, schedule: optax.Schedule, objective: Objective, mesh: Mesh
) -> Learner:
    return Learner(
        model=create_model(
            config.model, num_classes=objective.num_outputs, frozen=config.weights.freeze
        ),
        objective=objective,
        optimizer=create_optimizer(config.optim, schedule, frozen=config.weights.freeze),
        averaging=create_averaging(
            config.average,
            steps_per_epoch=sizes.steps_per_epoch,
            num_steps=sizes.num_steps,
            steps_per_update=config.optim.accumulate_steps,
        ),
        max_norm=config.optim.max_norm,
        frozen=config.weights.freeze,
        eval_flip=config.eval_flip,
        gather=sharding.gather(mesh),
        max_skips=config.optim.max_skips if config.optim.on_nonfinite == "skip" else None,
    )


def _fit_normalizer(config: Config, inputs: np.ndarray | Images) -> Normalizer:
    name = config.data.normalization
    if inputs.ndim != 4 and name in ("per_image", "unit", "patch_pca"):
        raise InputError(
            f"config.data.normalization must suit features, because {config.data.name} has no "
            f"images, got {name!r}"
        )
    try:
        if name in ("per_image", "unit"):  # they have no statistics
            return NORMALIZERS[name].fit(np.empty(0))
        return NORMALIZERS[name].fit(fitting_sample(inputs))
    except ValueError as error:
        raise InputError(
            f"config.data.normalization must suit {config.data.name}, got {name!r}: {error}"
        ) from None


def _pad(split: Split, multiple: int) -> Split:
    """Repeats the last example until the count is a multiple; evaluation masks the copies."""
    extra = -len(split.targets) % multiple
    return Split(*(np.concatenate([a, np.repeat(a[-1:], extra, axis=0)]) for a in split))


def _abstract(state: TrainState, mesh: Mesh) -> TrainState:
    """Adds the shardings to the shapes of a state."""
    replicated = jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), state)
    sharded = {
        name: sharding.shard(getattr(state, name), mesh)
        for name in ("params", "batch_stats", "opt_state", "average")
    }
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        state,
        replicated.replace(**sharded),
    )
