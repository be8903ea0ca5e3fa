"""A run bound to its devices: the data placed, the steps compiled, nothing written yet."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml import weights
from jaxml.config import Config, parse_steps, user_path
from jaxml.data import DATASETS, Split, augment, digests, pipeline
from jaxml.errors import InputError, choose
from jaxml.io import memory
from jaxml.models import create_model
from jaxml.normalize import NORMALIZERS, Normalizer
from jaxml.optim import averages
from jaxml.optim import optimizers as optim
from jaxml.optim.freezing import is_frozen, joined
from jaxml.optim.schedules import create_schedule
from jaxml.training.objective import Metrics, create_objective
from jaxml.training.steps import Method, TrainState, batch_moments, eval_step, evaluated, train_step
from jaxml.types import Array, Batch, Key, PyTree


class Program:
    """What a run computes, on a mesh of all devices.

    The batch is sharded over the devices, all else is replicated; batch statistics are over the
    whole batch, because the program is one program.

    Attributes:
      steps_per_epoch: floor(examples / batch_size).
      num_steps: of the whole run.
      objective: what is minimised and reported.
      schedule: the learning rate of each step.
      eval_split: what is evaluated, "test" or "validation".
      data: descriptions with digests of the arrays of the data set, by name.
      device: kind and number of the devices.
      compile_seconds: how long building and compiling took so far.
    """

    def __init__(self, config: Config) -> None:
        """Loads the data and builds the functions; compiles nothing.

        Raises:
          InputError: a name, a file or a size in the config is wrong.
        """
        if jax.config.values["jax_disable_jit"]:
            raise InputError("JAX_DISABLE_JIT must be 0, got 1: the steps are compiled")
        load = choose(DATASETS, config.data.name, "config.data.name")
        create_model(config.model, num_classes=1)  # a mistake is told before the data is read
        devices = len(jax.devices())
        dataset = load(user_path(config.data.dir))
        self.data = digests(dataset)
        dataset = dataset.hold_out(config.data.validation_size)
        size = len(dataset.train.targets)
        self.config = config
        self.batch_size = config.batch_size or size
        _check_sizes(config, self.batch_size, size, devices)
        self.steps_per_epoch = size // self.batch_size
        self.num_steps = self.steps_per_epoch * config.num_epochs
        _check_length(config, self.num_steps)
        self.steps_per_call = min(
            config.steps_per_call
            or (1 if jax.default_backend() == "cpu" else self.steps_per_epoch),
            self.steps_per_epoch,
        )
        self.eval_split = "validation" if config.data.validation_size else "test"
        self.device = f"{devices} x {jax.devices()[0].device_kind}"
        self.compile_seconds = 0.0
        lengths = {"steps_per_epoch": self.steps_per_epoch, "num_steps": self.num_steps}
        self.schedule = create_schedule(config.optim, **lengths)
        self.objective = create_objective(config.loss, dataset.num_classes)
        self._method = Method(
            create_model(
                config.model,
                num_classes=self.objective.num_outputs,
                frozen=config.weights.freeze,
            ),
            self.objective,
            optim.create_optimizer(config.optim, self.schedule),
            averages.create_averaging(
                config.average, **lengths, steps_per_update=config.optim.accumulate_steps
            ),
            sharpness_radius=config.optim.sharpness_radius,
            max_norm=config.optim.max_norm,
            frozen=config.weights.freeze,
        )
        mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._sharded = NamedSharding(mesh, PartitionSpec("data"))
        self._init_key, self._order_key, self._step_key = jax.device_put(
            jax.random.split(jax.random.key(config.seed), 3), self._replicated
        )
        self._normalizer = _fit_normalizer(config, dataset.train.inputs)
        self._train_data = self._place(dataset.train)
        self._test_count = len(dataset.test.targets)
        rounded_up = self._test_count + -self._test_count % devices
        self._eval_batch_size = min(config.eval_batch_size, rounded_up)
        self._test_data = self._place(_pad(dataset.test, self._eval_batch_size))
        self._compiled: dict[Any, Any] = {}
        self._weights: PyTree = None
        self._abstract_state: Any = None
        self._create: Any = self._create_state  # one object, so that JAX traces it once
        self._check_inputs()
        self._check_memory(memory.of_arrays(self.abstract_state()), "the state")
        self._check_frozen()

    def __str__(self) -> str:
        config = self.config
        return (
            f"{config.model.name} on {config.data.name}, {self.num_steps} steps of "
            f"{self.batch_size} examples on {self.device}"
        )

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self._method.model

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one normalised example."""
        return jax.eval_shape(self._normalizer.apply, self._train_data.inputs).shape[1:]

    def read_weights(self) -> None:
        """Reads the file that the run starts from, if there is one.

        Raises:
          InputError: it cannot be read, or is not of this network.
        """
        settings = self.config.weights
        if not settings.file:
            return
        state = self.abstract_state()
        self._weights = weights.load(
            user_path(settings.file),
            self.config.model.name,
            self.model,
            {"params": state.params, "batch_stats": state.batch_stats},
            self.input_shape,
            entry=settings.entry or "",
            new_head=settings.new_head,
        )

    def initial_state(self) -> TrainState:
        """The state before the first step, on the devices."""
        arguments = (self._init_key, self._normalizer)
        state = self._run("init", self._create, *arguments, hasty=True)
        if self._weights is None:
            self.read_weights()
        return self._with_weights(state) if self._weights else state

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the state."""
        if self._abstract_state is None:  # a deep network takes seconds
            state = jax.eval_shape(self._create, self._init_key, self._normalizer)
            place = partial(jax.ShapeDtypeStruct, sharding=self._replicated)
            self._abstract_state = jax.tree.map(lambda leaf: place(leaf.shape, leaf.dtype), state)
        return self._abstract_state

    def order(self, epoch: int) -> Array:
        """The order in which an epoch visits the training set."""
        function = partial(pipeline.epoch_order, size=len(self._train_data.targets))
        return self._run("order", function, self._order_key, self._number(epoch))

    def train(self, state: TrainState, order: Array, num_steps: int) -> tuple[TrainState, Metrics]:
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

    def text(self, num_steps: int) -> str:
        """The compiled call that takes some steps, as HLO text."""
        return self._compiled["train", num_steps].as_text()

    def evaluate(self, state: TrainState) -> dict[str, int | float]:
        """The metrics of the whole test split, each example counted once."""
        state = self._settled(state)
        metrics = self._run("zero", self.objective.metrics.zero)
        for start in range(0, self._test_count, self._eval_batch_size):
            metrics = self._run(
                "evaluate", self._eval_batch, state, metrics, self._test_data, self._number(start)
            )
        return self.objective.figures(jax.device_get(metrics))

    def evaluated(self, state: TrainState) -> dict[str, PyTree]:
        """The parameters and statistics that are evaluated."""
        return evaluated(self._method, self._settled(state))

    def compile(self, *, initial: bool = False) -> None:
        """Compiles what the loop calls, so that none of its steps waits for it.

        XLA compiles a program mostly on one core, so all of them are compiled at once.

        Args:
          initial: whether `initial_state` is to come, too.
        """
        begin = time.perf_counter()
        state, number = self.abstract_state(), self._number(0)
        created = memory.of_arrays(state) if initial else 0
        size = len(self._train_data.targets)
        order = jax.ShapeDtypeStruct((size,), jnp.int32, sharding=self._replicated)
        compiled = {}
        with ThreadPoolExecutor() as pool:

            def start(name: Any, function: Any, *arguments: Any, **how: Any) -> None:
                compiled[name] = pool.submit(self._lower(function, arguments, **how))

            remainder = self.steps_per_epoch % self.steps_per_call
            for steps in {self.steps_per_call, remainder} - {0}:  # the longest to compile
                function = partial(self._train_steps, num_steps=steps)
                arguments = (state, self._train_data, order, self._step_key)
                start(("train", steps), function, *arguments, donate=True)
            if initial:
                start("init", self._create, self._init_key, self._normalizer, hasty=True)
            start("evaluate", self._eval_batch, state, state.metrics, self._test_data, number)
            if self._method.averaging.reestimates and state.batch_stats:
                arguments = (state, self._train_data, order, number, self._step_key)
                start("moments", self._batch_moments, *arguments)
            start("order", partial(pipeline.epoch_order, size=size), self._order_key, number)
            start("zero", self.objective.metrics.zero)
        self._compiled |= {name: program.result() for name, program in compiled.items()}
        for name, program in self._compiled.items():
            if name != "init":
                self._check_memory(created + memory.of_program(program), "a step with the state")
        self.compile_seconds += time.perf_counter() - begin

    def _create_state(self, key: Key, normalizer: Any) -> TrainState:
        shape = self._train_data.inputs.shape[1:]
        return TrainState.create(key, self._method, normalizer, shape)

    def _with_weights(self, state: TrainState) -> TrainState:
        """The state with what was read; a new head is that of the state."""
        drawn = {"params": state.params, "batch_stats": state.batch_stats}
        variables = jax.tree.map(
            lambda read, own: own if isinstance(read, jax.ShapeDtypeStruct) else jnp.asarray(read),
            self._weights,
            drawn,
        )
        self._weights = None
        average = self._method.averaging.init(variables)
        return jax.device_put(
            state.replace(**variables, average=average), self._replicated, may_alias=False
        )

    def _train_steps(
        self, state: TrainState, data: Batch, order: Array, key: Key, *, num_steps: int
    ) -> tuple[TrainState, Metrics]:
        def body(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
            index = state.step % self.steps_per_epoch
            step_key = jax.random.fold_in(key, state.step)
            drop_key, batch = self._batch(data, order, index, step_key)
            sums = jax.tree.map(
                lambda total, zero: jnp.where(index == 0, zero, total),
                state.metrics,
                self.objective.metrics.zero(),
            )
            return train_step(drop_key, self._method, state.replace(metrics=sums), batch)

        if num_steps > 1:
            return lax.scan(body, state, length=num_steps)
        state, metrics = body(state, None)
        return state, jax.tree.map(lambda total: total[None], metrics)

    def _batch(self, data: Batch, order: Array, index: Array, key: Key) -> tuple[Key, Batch]:
        """One batch of an epoch, augmented, and the key of what is random in the network."""
        batch = pipeline.take_batch(data, order, index, batch_size=self.batch_size)
        images, targets = lax.with_sharding_constraint(batch, self._sharded)
        crop_key, flip_key, drop_key = jax.random.split(key, 3)
        if self.config.data.crop_padding:
            images = augment.random_crop(crop_key, images, padding=self.config.data.crop_padding)
        if self.config.data.flip:
            images = augment.random_flip(flip_key, images)
        return drop_key, Batch(images, targets)

    def _settled(self, state: TrainState) -> TrainState:
        """The state with batch norm's statistics taken anew, where the average needs it."""
        if self._method.averaging.reestimates and state.batch_stats and int(state.average.count):
            return self._reestimate(state)
        return state

    def _reestimate(self, state: TrainState) -> TrainState:
        """Takes the statistics of batch norm anew: their means over the first epoch's batches."""
        order, sums = self.order(0), None
        for index in range(self.steps_per_epoch):
            arguments = (state, self._train_data, order, self._number(index), self._step_key)
            moments = self._run("moments", self._batch_moments, *arguments)
            sums = moments if sums is None else self._run("sum", optax.tree.add, sums, moments)
        mean = jax.tree.map(lambda total: total / self.steps_per_epoch, sums)
        variables = {**state.average.variables, "batch_stats": mean}
        return state.replace(average=state.average.replace(variables=variables))

    def _batch_moments(
        self, state: TrainState, data: Batch, order: Array, index: Array, key: Key
    ) -> PyTree:
        step_key = jax.random.fold_in(key, index)
        drop_key, batch = self._batch(data, order, index, step_key)
        return batch_moments(drop_key, self._method, state, batch)

    def _eval_batch(
        self, state: TrainState, metrics: Metrics, data: Batch, start: Array
    ) -> Metrics:
        size = self._eval_batch_size
        batch = Batch(*(lax.dynamic_slice_in_dim(array, start, size) for array in data))
        mask = start + jnp.arange(size, dtype=jnp.int32) < self._test_count
        batch, mask = lax.with_sharding_constraint((batch, mask), self._sharded)
        return metrics.merge(eval_step(self._method, state, batch, mask))

    def _check_memory(self, needed: int, what: str) -> None:
        memory.check(needed, f"config: {what} of {self.config.model.name}", jax.local_devices())

    def _check_frozen(self) -> None:
        pattern = self.config.weights.freeze
        if not pattern:
            return
        leaves = jax.tree_util.tree_leaves_with_path(self.abstract_state().params)
        paths = [joined(path) for path, _ in leaves]
        frozen = [path for path in paths if is_frozen(pattern, path)]
        if len(frozen) in (0, len(paths)):
            some = ", ".join(sorted({path.split("/")[0] for path in paths}))
            raise InputError(
                f"config.weights.freeze: {pattern!r} matches {'every' if frozen else 'no'} "
                f"parameter; their paths begin with {some}"
            )

    def _check_inputs(self) -> None:
        """Tells that augmentation, or a network, is for images and the inputs are none."""
        data = self.config.data
        for name in ("crop_padding", "flip"):
            if self._train_data.inputs.ndim != 4 and getattr(data, name):
                raise InputError(
                    f"config.data.{name}: {getattr(data, name)} is not allowed, "
                    f"{data.name} has no images"
                )
        if data.crop_padding and data.crop_padding >= min(self._train_data.inputs.shape[1:3]):
            height, width = self._train_data.inputs.shape[1:3]
            raise InputError(
                f"config.data.crop_padding must be less than the height and width of the images, "
                f"{height}x{width}, got {data.crop_padding}"
            )
        example, name = self.input_shape, self.config.model.name
        try:
            self.abstract_state()
        except InputError:
            raise
        except ValueError as error:
            if len(example) == 3:
                shape = "x".join(map(str, example))
                reason = f"{name} does not take {shape} images ({error})"
            else:
                reason = (
                    f"{name} takes images, and {data.name} after config.data.normalization="
                    f"{data.normalization} has examples of shape {example}"
                )
            raise InputError(f"config.model.name: {reason}") from None

    def _place(self, split: Split) -> Batch:
        return Batch(*(jax.device_put(array, self._replicated) for array in split))

    def _number(self, value: int) -> Array:
        return jax.device_put(np.int32(value), self._replicated)

    def _run(self, name: Any, function: Any, *arguments: Any, **how: bool) -> Any:
        if name not in self._compiled:
            begin = time.perf_counter()
            self._compiled[name] = self._lower(function, arguments, **how)()
            self.compile_seconds += time.perf_counter() - begin
        return self._compiled[name](*arguments)

    def _lower(
        self, function: Any, arguments: Any, *, donate: bool = False, hasty: bool = False
    ) -> Callable[[], Any]:
        """Traces a function; what is returned compiles it, on any thread.

        Args:
          function: whose results are replicated.
          arguments: arrays, or their shapes.
          donate: whether the first argument is given away.
          hasty: whether it is called once, so that compiling it takes longer than running it: on a
            CPU it is left unoptimised, and compiled in a third of the time.
        """
        jitted = jax.jit(
            function, donate_argnums=(0,) if donate else (), out_shardings=self._replicated
        )
        unoptimised = hasty and jax.default_backend() == "cpu"
        options: Any = {"xla_backend_optimization_level": 0} if unoptimised else None
        return partial(jitted.lower(*arguments).compile, options)


def _fit_normalizer(config: Config, inputs: np.ndarray) -> Normalizer:
    name = config.data.normalization
    if inputs.ndim != 4 and name in ("per_image", "unit"):
        raise InputError(
            f"config.data.normalization: {name} is not for {config.data.name}, which has no images"
        )
    try:
        return NORMALIZERS[name].fit(inputs)
    except ValueError as error:
        raise InputError(
            f"config.data.normalization: {name} cannot be fitted to {config.data.name}, {error}"
        ) from None


def _check_sizes(config: Config, batch_size: int, size: int, devices: int) -> None:
    if batch_size > size:
        raise InputError(
            f"config.batch_size: {batch_size} is not allowed, the training set has {size} examples"
        )
    whole = "" if config.batch_size else " (the whole set)"
    for name, value, note in (
        ("batch_size", batch_size, whole),
        ("eval_batch_size", config.eval_batch_size, ""),
    ):
        if value % devices:
            raise InputError(
                f"config.{name}: {value}{note} is not allowed, "
                f"it must be a multiple of the {devices} devices"
            )


def _check_length(config: Config, num_steps: int) -> None:
    if num_steps >= 2**31:
        raise InputError(
            f"config.num_epochs: {config.num_epochs} is not allowed, "
            f"it makes {num_steps} steps, and the most is {2**31 - 1}"
        )
    if parse_steps(config.profile).stop > num_steps:
        raise InputError(
            f"config.profile: {config.profile!r} is not allowed, the run has {num_steps} steps"
        )
    if config.optim.accumulate_steps > num_steps:
        raise InputError(
            f"config.optim.accumulate_steps must be at most the {num_steps} steps of the run, "
            f"got {config.optim.accumulate_steps}"
        )


def _pad(split: Split, multiple: int) -> Split:
    """Repeats the last example until the count is a multiple; the mask leaves the copies out."""
    extra = -len(split.targets) % multiple
    return Split(*(np.concatenate([a, np.repeat(a[-1:], extra, axis=0)]) for a in split))
