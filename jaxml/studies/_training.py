"""Data and training loops that the studies share; the leading axis of results is the seed."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from numpy.typing import ArrayLike

from jaxml import activations, initializers, layers, losses, normalize
from jaxml.config import DataConfig
from jaxml.data import load_dataset
from jaxml.studies._study import Settings
from jaxml.types import Array, Initializer, Key, PyTree

# `launch.study` and the tests switch most optimizations off, which shortens compilation, but makes
# the gradients of convolutions five times slower.
OPTIMIZED: Any = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}


class Images(NamedTuple):
    """Standardized training and test inputs with labels."""

    train: Array
    labels: Array
    test: Array
    test_labels: Array


def load_images(settings: Settings, limit: int | None = None) -> Images:
    """Loads images `[n, height, width, channels]`: the digits, or CIFAR-10 where it is given.

    Args:
      settings: size of the study.
      limit: number of training images to keep; None for all.
    """
    name = "cifar10" if settings.cifar_dir else "digits"
    data: Any = load_dataset(DataConfig(name=name, dir=settings.cifar_dir))
    train, test = (split.inputs.astype(np.float32) / 255 for split in (data.train, data.test))
    scale = normalize.ChannelStandardization.fit(train)
    train, test = (jax.jit(scale.apply)(jnp.asarray(x)) for x in (train[:limit], test))
    labels = jnp.asarray(data.train.targets[:limit]), jnp.asarray(data.test.targets)
    return Images(train, labels[0], test, labels[1])


def flat_digits(limit: int | None = None) -> Images:
    """Loads the digits as vectors of 64 standardized pixels."""
    data = load_images(Settings(), limit)
    return data._replace(train=data.train.reshape(-1, 64), test=data.test.reshape(-1, 64))


def for_each_seed(function: Callable[[Key], PyTree], settings: Settings) -> PyTree:
    """Calls a function with the key of each seed, and stacks the results."""
    compiled = jax.jit(function)
    results = [compiled(jax.random.key(seed)) for seed in settings.seeds]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def dense_params(
    key: Key, sizes: Sequence[int], initializer: Initializer
) -> list[dict[str, Array]]:
    """Draws the parameters of dense layers of these sizes; biases are 0."""
    shapes = list(itertools.pairwise(sizes))
    return [
        {"kernel": initializer(part, shape, jnp.float32), "bias": jnp.zeros(shape[1])}
        for part, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
    ]


def he_params(settings: Settings, sizes: Sequence[int]) -> list[dict[str, Array]]:
    """Draws the parameters of dense layers for each seed, with He's initialization."""
    he = initializers.he_normal()
    return for_each_seed(lambda key: dense_params(key, sizes, he), settings)


def mlp(
    params: Sequence[dict[str, Array]],
    x: Array,
    activation: Callable[[Array], Array] = activations.relu,
) -> Array:
    """Computes the logits of a multilayer perceptron."""
    for layer in params[:-1]:
        x = activation(layers.dense(x, **layer))
    return layers.dense(x, **params[-1])


def batches(settings: Settings, count: int, size: int, steps: int) -> Array:
    """Returns random rows `[seeds, steps, size]` of `count` examples, in epochs."""
    orders = []
    for seed in settings.seeds:
        rng, needed = np.random.default_rng(seed), steps * size
        epochs = [rng.permutation(count) for _ in range(-(-needed // count))]
        orders.append(np.concatenate(epochs)[:needed].reshape(steps, size))
    return jnp.asarray(np.stack(orders), jnp.int32)


def step_keys(settings: Settings, steps: int) -> Array:
    """Returns PRNG keys `[seeds, steps]`."""
    words = [np.random.default_rng(seed).integers(0, 2**32, (steps, 2)) for seed in settings.seeds]
    return jax.random.wrap_key_data(jnp.asarray(np.stack(words), jnp.uint32))


def descend(
    loss: Callable[[PyTree, PyTree], Array],
    params: PyTree,
    inputs: PyTree,
    *,
    optimizer: optax.GradientTransformation,
    record: Callable[[PyTree], PyTree] | None = None,
) -> tuple[PyTree, PyTree]:
    """Minimizes a loss for all seeds in one compiled loop.

    Args:
      loss: function of the parameters and the input of a step.
      params: initial parameters, with a leading axis of seeds.
      inputs: inputs of the steps, `[seeds, steps, ...]`, such as the rows of batches.
      optimizer: an optax optimizer.
      record: statistics of the parameters after each update; by default the loss before it.

    Returns:
      The last parameters, and the statistics `[seeds, steps, ...]`.
    """

    def step(state: tuple[PyTree, PyTree], x: PyTree) -> tuple[tuple[PyTree, PyTree], PyTree]:
        params, memory = state
        value, gradient = jax.value_and_grad(loss)(params, x)
        updates, memory = optimizer.update(gradient, memory, params)
        params = optax.apply_updates(params, updates)
        return (params, memory), value if record is None else record(params)

    def run(params: PyTree, inputs: PyTree) -> tuple[PyTree, PyTree]:
        (params, _), history = lax.scan(step, (params, optimizer.init(params)), inputs)
        return params, history

    return jax.jit(jax.vmap(run))(params, inputs)


def descend_with_each(
    values: Sequence[float],
    loss: Callable[[PyTree, PyTree, Array], Array],
    params: PyTree,
    inputs: PyTree,
    *,
    optimizer: optax.GradientTransformation,
    record: Callable[[PyTree], PyTree] | None = None,
) -> tuple[PyTree, PyTree]:
    """Minimizes a loss with each value of a setting, as `descend` does, in one compiled loop.

    Args:
      values: values of the setting.
      loss: function of the parameters, the input of a step and the value.
      params: see `descend`.
      inputs: see `descend`.
      optimizer: see `descend`.
      record: see `descend`.

    Returns:
      The last parameters `[values, seeds, ...]`, and the statistics `[values, seeds, steps, ...]`.
    """
    seeds, steps = jax.tree.leaves(inputs)[0].shape[:2]
    params, inputs = jax.tree.map(lambda x: jnp.concatenate([x] * len(values)), (params, inputs))
    each = jnp.repeat(jnp.asarray(values, jnp.float32), seeds)
    found = descend(
        lambda p, step: loss(p, *step),
        params,
        (inputs, jnp.broadcast_to(each[:, None], (len(each), steps))),
        optimizer=optimizer,
        record=record,
    )
    return jax.tree.map(lambda x: x.reshape(len(values), seeds, *x.shape[1:]), found)


def descend_at_rates(
    rates: Sequence[float],
    loss: Callable[[PyTree, Array], Array],
    params: PyTree,
    rows: Array,
    record: Callable[[PyTree], PyTree] | None = None,
) -> tuple[PyTree, PyTree]:
    """Minimizes a loss by gradient descent, with each of some learning rates.

    A factor of the loss is a factor of the gradient, and so of the learning rate.

    Args:
      rates: learning rates.
      loss: function of the parameters and the rows of a batch.
      params: initial parameters, with a leading axis of seeds.
      rows: rows of the batches, `[seeds, steps, size]`.
      record: statistics of the parameters after each update; by default rate times loss before it.

    Returns:
      The last parameters `[rates, seeds, ...]`, and the statistics `[rates, seeds, steps, ...]`.
    """
    return descend_with_each(
        rates,
        lambda p, rows, rate: rate * loss(p, rows),
        params,
        rows,
        optimizer=optax.sgd(1.0),
        record=record,
    )


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Returns the mean softmax cross-entropy."""
    return losses.softmax_cross_entropy(logits, labels).mean()


def accuracy(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Returns the fraction of correct predictions, of logits `[..., n, classes]`."""
    return (np.asarray(logits).argmax(-1) == np.asarray(labels)).mean(-1)


def mean_loss(network: Callable[[PyTree, Array], Array], data: Images) -> Callable[..., Array]:
    """Returns the mean cross-entropy of training images, a function of the parameters and rows."""

    def loss(params: PyTree, rows: Array) -> Array:
        return cross_entropy(network(params, data.train[rows]), data.labels[rows])

    return loss


class Trained(NamedTuple):
    """A network trained for each seed: its variables, losses `[seeds, steps]` and accuracies."""

    variables: list[PyTree]
    losses: np.ndarray
    train_accuracy: np.ndarray
    test_accuracy: np.ndarray


def train_network(
    model: Any,
    data: Images,
    settings: Settings,
    *,
    steps: int,
    batch_size: int = 64,
    optimizer: optax.GradientTransformation,
) -> Trained:
    """Trains a Linen network for each seed, with a Python loop over the steps.

    On a CPU, the gradients of convolutions are slow within compiled loops.
    """

    def loss(params: PyTree, stats: PyTree, x: Array, y: Array) -> tuple[Array, PyTree]:
        variables = {"params": params, "batch_stats": stats}
        logits, new = model.apply(variables, x, train=True, mutable=["batch_stats"])
        return cross_entropy(logits, y), new.get("batch_stats", {})

    @partial(jax.jit, compiler_options=OPTIMIZED)
    def step(params: PyTree, stats: PyTree, memory: PyTree, rows: Array) -> tuple[PyTree, ...]:
        inputs = params, stats, data.train[rows], data.labels[rows]
        (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(*inputs)
        updates, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, updates), stats, memory, value

    init = jax.jit(lambda key: model.init(key, data.train[:1], train=False))
    predict = jax.jit(lambda variables, x: model.apply(variables, x, train=False))
    found, histories = [], []
    for seed, order in zip(
        settings.seeds, batches(settings, len(data.train), batch_size, steps), strict=True
    ):
        variables = init(jax.random.key(seed))
        params, stats = variables["params"], variables.get("batch_stats", {})
        memory, history = optimizer.init(params), []
        for rows in np.asarray(order):
            params, stats, memory, value = step(params, stats, memory, rows)
            history.append(value)
        found.append({"params": params, "batch_stats": stats})
        histories.append(np.asarray(history))
    train, test = data.train[:1000], data.test[:1000]
    return Trained(
        found,
        np.stack(histories),
        np.stack([accuracy(predict(v, train), data.labels[:1000]) for v in found]),
        np.stack([accuracy(predict(v, test), data.test_labels[:1000]) for v in found]),
    )


def descend_stepwise(
    loss: Callable[[PyTree, Array], Array],
    params: PyTree,
    inputs: Array,
    *,
    optimizer: optax.GradientTransformation,
) -> tuple[PyTree, np.ndarray]:
    """Does what `descend` does, with Python loops over the seeds and steps, for convolutions."""

    @partial(jax.jit, compiler_options=OPTIMIZED)
    def step(params: PyTree, memory: PyTree, x: Array) -> tuple[PyTree, PyTree, Array]:
        value, gradient = jax.value_and_grad(loss)(params, x)
        updates, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, updates), memory, value

    ends, histories = [], []
    for number in range(len(inputs)):
        now = jax.tree.map(lambda leaf: leaf[number], params)
        memory, history = optimizer.init(now), []
        for x in np.asarray(inputs[number]):
            now, memory, value = step(now, memory, x)
            history.append(value)
        ends.append(now)
        histories.append(np.asarray(history))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends), np.stack(histories)
