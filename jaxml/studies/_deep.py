"""Deep networks of dense layers: norms by layer, and plain and residual blocks."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxml import activations, initializers, layers
from jaxml.models import MODELS
from jaxml.studies import _training as training
from jaxml.studies._study import Settings
from jaxml.types import Array, Initializer, Key, PyTree

WIDTH = 32


def square_kernels(key: Key, initializer: Initializer, depth: int, width: int) -> Array:
    """Draws kernels `[depth, width, width]`."""
    keys = jax.random.split(key, depth)
    return jax.vmap(lambda key: initializer(key, (width, width), jnp.float32))(keys)


def forward_and_backward(
    layer: Callable[[Array, Array], Array],
    kernels: Array,
    x: Array,
    gradient: Callable[[Array], Array],
) -> tuple[Array, Array]:
    """Computes the activations after each layer, and the gradients of a loss in them.

    Args:
      layer: function of an input and a kernel.
      kernels: kernels `[depth, inputs, units]`.
      x: input of the first layer.
      gradient: gradient of the loss in the last activations, as a function of them.

    Returns:
      Activations and gradients, `[depth, *x.shape]` each.
    """

    def forward(shifts: Array) -> tuple[Array, Array]:
        def step(h: Array, parts: tuple[Array, Array]) -> tuple[Array, Array]:
            kernel, shift = parts
            h = layer(h, kernel) + shift  # the gradient of the shift is that of the sum
            return h, h

        return lax.scan(step, x, (kernels, shifts))

    (last, hidden), pull = jax.vjp(forward, jnp.zeros((len(kernels), *x.shape)))
    (gradients,) = pull((gradient(last), jnp.zeros_like(hidden)))
    return hidden, gradients


def deep_params(key: Key, blocks: int, inputs: int = 64) -> PyTree:
    """Draws a stem, blocks of two layers with norms, and a head; the depth is 2 blocks + 2."""
    first, second, third = jax.random.split(key, 3)
    he = initializers.variance_scaling(2.0, "fan_in", "normal")
    kernels = [he(k, (blocks * WIDTH, WIDTH), jnp.float32) for k in jax.random.split(second, 2)]
    scale = jnp.sqrt(jnp.float32(blocks))  # the fan is that of one block
    norm = {"scale": jnp.ones((blocks, WIDTH)), "offset": jnp.zeros((blocks, WIDTH))}
    return {
        "stem": he(first, (inputs, WIDTH), jnp.float32),
        "kernel1": kernels[0].reshape(blocks, WIDTH, WIDTH) * scale,
        "kernel2": kernels[1].reshape(blocks, WIDTH, WIDTH) * scale,
        "norm1": norm,
        "norm2": norm,
        "head": {"kernel": he(third, (WIDTH, 10), jnp.float32), "bias": jnp.zeros(10)},
    }


def normalize(x: Array, scale: Array | None = None, offset: Array | None = None) -> Array:
    """Applies batch normalization by the statistics of the batch."""
    mean, variance = layers.moments(x, [0])
    return layers.batch_normalization(x, mean, variance, offset, scale, 1e-5)


def block(kind: str, x: Array, params: PyTree) -> Array:
    """Applies a plain block, or a residual block of version 1 or 2."""
    relu = activations.relu
    first, second = (lambda x, i=i: layers.dense(x, params[f"kernel{i}"]) for i in (1, 2))
    norm1, norm2 = (lambda x, i=i: normalize(x, **params[f"norm{i}"]) for i in (1, 2))
    if kind == "v2":  # norm and ReLU come first, and nothing follows the sum
        return x + second(relu(norm2(first(relu(norm1(x))))))
    branch = norm2(second(relu(norm1(first(x)))))
    return relu(branch if kind == "plain" else x + branch)


def deep_network(kind: str, params: PyTree, x: Array, shifts: Array | None = None) -> Array:
    """Computes logits.

    Args:
      kind: "plain", "v1" or "v2".
      params: `deep_params`.
      x: examples `[batch, inputs]`.
      shifts: `[blocks, batch, width]`, added to the output of each block; their gradients are those
        of the activations.
    """
    names = ("kernel1", "kernel2", "norm1", "norm2")
    stack = {name: params[name] for name in names}
    count = len(params["kernel1"])
    if shifts is None:
        shifts = jnp.zeros((count, 1, WIDTH))

    def step(x: Array, parts: tuple[PyTree, Array]) -> tuple[Array, None]:
        return block(kind, x, parts[0]) + jnp.broadcast_to(parts[1], x.shape), None

    x = activations.relu(normalize(layers.dense(x, params["stem"])))
    x, _ = lax.scan(step, x, (stack, shifts))
    if kind == "v2":
        x = activations.relu(normalize(x))
    return layers.dense(x, **params["head"])


def training_losses(settings: Settings, kind: str, depth: int) -> np.ndarray:
    """Returns the training losses `[seeds, steps]` of a network of a kind and depth.

    With CIFAR-10, it is the convolutional network of the paper.
    """
    if settings.cifar_dir:
        name = f"plain{depth}" if kind == "plain" else f"resnet{depth}{kind}"
        model, data = MODELS[name](num_classes=10), training.load_images(settings)
        steps, optimizer = settings.steps(2000), optax.sgd(0.1, 0.9)
        return training.train_network(
            model, data, settings, steps=steps, batch_size=128, optimizer=optimizer
        ).losses
    data = training.flat_digits()
    rows = training.batches(settings, len(data.train), 64, settings.steps(240))
    params = training.for_each_seed(lambda key: deep_params(key, (depth - 2) // 2), settings)
    loss = training.mean_loss(partial(deep_network, kind), data)
    return np.asarray(training.descend(loss, params, rows, optimizer=optax.sgd(0.05, 0.9))[1])


def last_tenth(losses: np.ndarray) -> np.ndarray:
    """Returns the mean of the last tenth of the steps."""
    return losses[:, -max(losses.shape[1] // 10, 1) :].mean(1)
