"""The same networks in plain Flax Linen and optax."""

import functools
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training import train_state
from jax import lax

from jaxml.config import OptimConfig
from launch.benchmark import convolutions
from launch.benchmark.networks import NETWORKS, Network
from launch.benchmark.task import Operation, Prepared, Task, random_images


class FlaxLayers:
    """The layers of Flax; call them within a module."""

    def __init__(self, *, train: bool, epsilon: float, dtype: Any) -> None:
        self._conv = functools.partial(nn.Conv, use_bias=False, dtype=dtype)
        self._norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=epsilon,
            dtype=dtype,
        )

    def conv(self, x: jax.Array, features: int, kernel_size: int = 3, strides: int = 1) -> Any:
        """Convolves with half of the kernel size as padding."""
        window = (kernel_size, kernel_size)
        return self._conv(features, window, strides=strides, padding=kernel_size // 2)(x)

    def norm(self, x: jax.Array) -> jax.Array:
        """Applies batch normalization."""
        return self._norm()(x)

    def relu(self, x: jax.Array) -> jax.Array:
        """Applies a ReLU."""
        return nn.relu(x)

    def add(self, new: jax.Array, x: jax.Array) -> jax.Array:
        """Adds two arrays."""
        return new + x

    def concatenate(self, xs: Sequence[jax.Array]) -> jax.Array:
        """Concatenates along the channels."""
        return jnp.concatenate(xs, axis=-1)

    def average_pool(self, x: jax.Array, window: int, strides: int) -> jax.Array:
        """Averages each window, excluding padding."""
        sizes = (window, window), (strides, strides)
        return nn.avg_pool(x, *sizes, padding="SAME", count_include_pad=False)

    def max_pool(self, x: jax.Array, window: int, strides: int) -> jax.Array:
        """Takes the maximum of each window, with half of its size as padding."""
        padding: Any = [(window // 2, window // 2)] * 2
        return nn.max_pool(x, (window, window), (strides, strides), padding)


class FlaxNetwork(nn.Module):
    """A network of the benchmark."""

    network: Network
    num_classes: int
    dtype: Any

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps uint8 images to logits."""
        net = FlaxLayers(train=train, epsilon=self.network.epsilon, dtype=self.dtype)
        x = self.network.body(net, images.astype(jnp.float32) / 255)
        return nn.Dense(self.num_classes, dtype=self.dtype)(x.mean(axis=(1, 2)))


class State(train_state.TrainState):
    """The train state of Flax, with the statistics of batch normalization."""

    batch_stats: Any


def prepare(name: str, task: Task) -> Prepared:
    """Prepares a task."""
    del name
    parameters, operations = 0, {}
    if task.what == "conv":
        operations = convolutions.jax_operations(task, _conv)
    else:
        create = create_state(task)
        parameters = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(create).params))
        operations[task.what] = Operation(_OPERATIONS[task.what](task, create))
    return Prepared(
        operations,
        jax.devices()[0].device_kind,
        {package: importlib.metadata.version(package) for package in ("flax", "jax", "optax")},
        parameters,
    )


def create_state(task: Task) -> Callable[[], State]:
    """Returns a function that initializes the state."""
    model = FlaxNetwork(NETWORKS[task.model], task.num_classes, jnp.dtype(task.precision))

    def create() -> State:
        images = jnp.zeros((1, *task.batch_shape[1:]), jnp.uint8)
        variables = model.init(jax.random.key(0), images, train=False)
        return State.create(
            apply_fn=model.apply,
            params=variables["params"],
            batch_stats=variables["batch_stats"],
            tx=_optimizer(OptimConfig()),
        )

    return create


@functools.partial(jax.jit, donate_argnums=0)
def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
    """Takes one training step; returns the state and the loss."""

    def mean_loss(params: Any) -> Any:
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updated = state.apply_fn(variables, images, train=True, mutable=["batch_stats"])
        logits = logits.astype(jnp.float32)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), updated["batch_stats"]

    (loss, batch_stats), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=batch_stats), loss


def _optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """Builds momentum with weight decay on the kernels."""

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, kernels),
        optax.sgd(config.learning_rate, config.momentum, nesterov=config.nesterov),
    )


def _train_step(task: Task, create: Callable[[], State]) -> Callable[[], object]:
    state = jax.jit(create)()
    batch = jax.device_put(random_images(task, task.batch_size))

    def take() -> None:
        nonlocal state
        state, loss = step(state, *batch)
        jax.block_until_ready((state, loss))

    return take


def _inference(task: Task, create: Callable[[], State]) -> Callable[[], object]:
    state = jax.jit(create)()
    images, _ = jax.device_put(random_images(task, task.batch_size))
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    forward = jax.jit(functools.partial(state.apply_fn, train=False))
    return lambda: jax.block_until_ready(forward(variables, images))


def _compile(task: Task, create: Callable[[], State]) -> Callable[[], object]:
    """Returns a function that traces, lowers and compiles a training step."""
    jax.config.update("jax_enable_compilation_cache", False)
    state = jax.eval_shape(create)
    batch = jax.device_put(random_images(task, task.batch_size))
    return lambda: step.lower(state, *batch).compile()


def _epoch(task: Task, create: Callable[[], State]) -> Callable[[], object]:
    """Prepares a loop over shuffled batches from host memory."""
    state = jax.jit(create)()
    images, labels = random_images(task, task.images)
    generator = np.random.default_rng(0)
    state, _ = step(state, images[: task.batch_size], labels[: task.batch_size])

    def epoch() -> None:
        nonlocal state
        order = generator.permutation(task.images)
        for number in range(task.steps):
            chosen = order[number * task.batch_size :][: task.batch_size]
            state, _ = step(state, images[chosen], labels[chosen])
        jax.block_until_ready(state)

    return epoch


_OPERATIONS = {
    "train_step": _train_step,
    "inference": _inference,
    "compile": _compile,
    "epoch": _epoch,
}


def _conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    padding, numbers = [(1, 1), (1, 1)], ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=numbers)
