"""A run bound to its devices: the data placed, the steps compiled, nothing written yet."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml import optim
from jaxml.config import Config
from jaxml.data import DATASETS, augment, pipeline
from jaxml.data.dataset import Split
from jaxml.errors import InputError, choose
from jaxml.metrics import ClassificationMetrics
from jaxml.models import MODELS
from jaxml.normalize import NORMALIZERS
from jaxml.step import TrainState, eval_step, train_step
from jaxml.types import Array, Batch, Key


class Program:
    """What a run computes, on a mesh of all devices.

    The batch is sharded over the devices, all else is replicated; batch statistics are over the
    whole batch, because the program is one program.

    Attributes:
      steps_per_epoch: floor(images / batch_size).
      num_steps: of the whole run.
      num_classes: of the data set.
      eval_split: what is evaluated, "test" or "validation".
      device: kind and number of the devices.
      compile_seconds: how long building and compiling took so far.
    """

    def __init__(self, config: Config) -> None:
        """Loads the data and builds the functions; compiles nothing.

        Raises:
          InputError: a name, a file or a size in the config is wrong.
        """
        create_model = choose(MODELS, config.model.name, "config.model.name")
        load = choose(DATASETS, config.data.name, "config.data.name")
        devices = len(jax.devices())
        for name in ("batch_size", "eval_batch_size"):
            if getattr(config, name) % devices:
                raise InputError(
                    f"config.{name}: {getattr(config, name)} is not allowed, "
                    f"it must be a multiple of the {devices} devices"
                )
        dataset = load(Path(config.data.dir)).hold_out(config.data.validation_size)
        size = len(dataset.train.labels)
        if config.batch_size > size:
            raise InputError(
                f"config.batch_size: {config.batch_size} is not allowed, "
                f"the training set has {size} images"
            )
        self.config = config
        self.num_classes = dataset.num_classes
        self.steps_per_epoch = size // config.batch_size
        self.num_steps = self.steps_per_epoch * config.num_epochs
        self.steps_per_call = min(
            config.steps_per_call
            or (1 if jax.default_backend() == "cpu" else self.steps_per_epoch),
            self.steps_per_epoch,
        )
        self.eval_split = "validation" if config.data.validation_size else "test"
        self.device = f"{devices} x {jax.devices()[0].device_kind}"
        self.compile_seconds = 0.0
        self.schedule = optim.create_schedule(
            config.optim, steps_per_epoch=self.steps_per_epoch, num_steps=self.num_steps
        )
        self._optimizer = optim.create_optimizer(config.optim, self.schedule)
        self._model = create_model(
            num_classes=dataset.num_classes,
            shortcut=config.model.shortcut,
            dtype=jnp.dtype(config.model.dtype),
        )
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._sharded = NamedSharding(mesh, PartitionSpec("data"))
        self._init_key, self._order_key, self._step_key = jax.device_put(
            jax.random.split(jax.random.key(config.seed), 3), self._replicated
        )
        self._normalizer = NORMALIZERS[config.data.normalization].fit(dataset.train.images)
        self._train_data = self._place(dataset.train)
        self._test_count = len(dataset.test.labels)
        self._test_data = self._place(_pad(dataset.test, config.eval_batch_size))
        self._compiled: dict[Any, Any] = {}

    def __str__(self) -> str:
        config = self.config
        return (
            f"{config.model.name} on {config.data.name}, {self.num_steps} steps of "
            f"{config.batch_size} images on {self.device}"
        )

    def initial_state(self) -> TrainState:
        """The state before the first step, on the devices."""
        # It runs once: drawing is fast enough unoptimised, and compiling takes a third of the time.
        hasty = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
        arguments = (self._init_key, self._normalizer)
        self._compile("init", self._create_state, arguments, options=hasty)
        return self._compiled["init"](*arguments)

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the state."""
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self._replicated),
            jax.eval_shape(self._create_state, self._init_key, self._normalizer),
        )

    def order(self, epoch: int) -> Array:
        """The order in which an epoch visits the training set."""
        function = partial(pipeline.epoch_order, size=len(self._train_data.labels))
        return self._run("order", function, self._order_key, self._number(epoch))

    def train(
        self, state: TrainState, order: Array, num_steps: int
    ) -> tuple[TrainState, ClassificationMetrics]:
        """Takes some steps of one epoch in one call; the state is donated.

        Returns:
          The new state and the metrics of each step, stacked.
        """
        return self._run(
            ("train", num_steps),
            partial(self._train_steps, num_steps=num_steps),
            state,
            self._train_data,
            order,
            self._step_key,
            donate=True,
        )

    def evaluate(self, state: TrainState) -> dict[str, int | float]:
        """The metrics of the whole test split, each image counted once."""
        metrics = self._run("zero", ClassificationMetrics.zero)
        for start in range(0, self._test_count, self.config.eval_batch_size):
            metrics = self._run(
                "evaluate", self._eval_batch, state, metrics, self._test_data, self._number(start)
            )
        return metrics.compute(num_classes=self.num_classes)

    def compile(self) -> None:
        """Compiles what the loop calls, so that none of its steps waits for it."""
        state = self.abstract_state()
        order = self.order(0)
        remainder = self.steps_per_epoch % self.steps_per_call
        for steps in {self.steps_per_call, remainder} - {0}:
            self._compile(
                ("train", steps),
                partial(self._train_steps, num_steps=steps),
                (state, self._train_data, order, self._step_key),
                donate=True,
            )
        arguments = (state, state.metrics, self._test_data, self._number(0))
        self._compile("evaluate", self._eval_batch, arguments)
        self._run("zero", ClassificationMetrics.zero)

    def _create_state(self, key: Key, normalizer: Any) -> TrainState:
        shape = self._train_data.images.shape[1:]
        return TrainState.create(key, self._model, self._optimizer, normalizer, shape)

    def _train_steps(
        self, state: TrainState, data: Batch, order: Array, key: Key, *, num_steps: int
    ) -> tuple[TrainState, ClassificationMetrics]:
        def body(state: TrainState, _: None) -> tuple[TrainState, ClassificationMetrics]:
            index = state.step % self.steps_per_epoch
            batch = pipeline.take_batch(data, order, index, batch_size=self.config.batch_size)
            batch = lax.with_sharding_constraint(batch, self._sharded)
            batch = self._augment(jax.random.fold_in(key, state.step), batch)
            sums = jax.tree.map(
                lambda total: jnp.where(index == 0, jnp.zeros_like(total), total), state.metrics
            )
            return train_step(self._model, self._optimizer, state.replace(metrics=sums), batch)

        if num_steps > 1:
            return lax.scan(body, state, length=num_steps)
        state, metrics = body(state, None)
        return state, jax.tree.map(lambda total: total[None], metrics)

    def _augment(self, key: Key, batch: Batch) -> Batch:
        crop_key, flip_key = jax.random.split(key)
        images = batch.images
        if self.config.data.crop_padding:
            images = augment.random_crop(crop_key, images, padding=self.config.data.crop_padding)
        if self.config.data.flip:
            images = augment.random_flip(flip_key, images)
        return batch._replace(images=images)

    def _eval_batch(
        self, state: TrainState, metrics: ClassificationMetrics, data: Batch, start: Array
    ) -> ClassificationMetrics:
        size = self.config.eval_batch_size
        batch = Batch(*(lax.dynamic_slice_in_dim(array, start, size) for array in data))
        mask = start + jnp.arange(size, dtype=jnp.int32) < self._test_count
        batch, mask = lax.with_sharding_constraint((batch, mask), self._sharded)
        return metrics.merge(eval_step(self._model, state, batch, mask))

    def _place(self, split: Split) -> Batch:
        return Batch(*(jax.device_put(array, self._replicated) for array in split))

    def _number(self, value: int) -> Array:
        return jax.device_put(np.int32(value), self._replicated)

    def _run(self, name: Any, function: Any, *arguments: Any, donate: bool = False) -> Any:
        if name not in self._compiled:
            self._compile(name, function, arguments, donate=donate)
        return self._compiled[name](*arguments)

    def _compile(
        self,
        name: Any,
        function: Any,
        arguments: Any,
        *,
        donate: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        start = time.perf_counter()
        jitted = jax.jit(
            function, donate_argnums=(0,) if donate else (), out_shardings=self._replicated
        )
        self._compiled[name] = jitted.lower(*arguments).compile(options)
        self.compile_seconds += time.perf_counter() - start


def _pad(split: Split, multiple: int) -> Split:
    """Repeats the last image until the count is a multiple; the mask leaves the copies out."""
    extra = -len(split.labels) % multiple
    return Split(*(np.concatenate([a, np.repeat(a[-1:], extra, axis=0)]) for a in split))
