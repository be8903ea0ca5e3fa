"""Attribution: the pixels that a prediction depends on, as pure functions.

`score` maps a batch of images `[batch, height, width, channels]` to one number an image, such as
the logit of a class. Each image is explained on its own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxml.errors import InputError
from jaxml.models import intermediates
from jaxml.normalize import to_unit_interval
from jaxml.training.trained import TrainedNetwork
from jaxml.types import Array

Score = Callable[[Array], Array]


def input_gradient(score: Score, images: Array) -> Array:
    r"""Computes the gradient of the score with respect to the image.

    .. math:: g = \frac{\partial s(x)}{\partial x}

    Args:
      score: see the module's docstring.
      images: `[batch, height, width, channels]`.

    Returns:
      An array of the shape of `images`.

    Example:
      >>> input_gradient(lambda x: (x**2).sum((1, 2, 3)), jnp.ones((1, 1, 1, 1))).tolist()
      [[[[2.0]]]]

    Reference: Simonyan et al., "Deep inside convolutional networks", 2014.
    """
    return jax.grad(lambda x: score(x).sum())(images)


def integrated_gradients(
    score: Score, images: Array, *, baseline: Array | float = 0.0, steps: int = 32
) -> Array:
    r"""Integrates the gradient along the line from a baseline to the image.

    .. math:: a = (x - b) \odot \int_0^1 \nabla s(b + t (x - b))\, dt

    The integral is approximated by the midpoint rule. Up to its error, the attributions of an image
    sum to :math:`s(x) - s(b)`.

    Args:
      score: see the module's docstring.
      images: `[batch, height, width, channels]`.
      baseline: :math:`b`, broadcast to the images.
      steps: number of points, at least 1.

    Returns:
      An array of the shape of `images`.

    Example:
      >>> image = jnp.full((1, 1, 1, 1), 3.0)
      >>> integrated_gradients(lambda x: (x**2).sum((1, 2, 3)), image).tolist()
      [[[[9.0]]]]

    Reference: Sundararajan et al., "Axiomatic attribution for deep networks", 2017.
    """
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}")
    start = jnp.broadcast_to(jnp.asarray(baseline, images.dtype), images.shape)
    points = (jnp.arange(steps, dtype=images.dtype) + 0.5) / steps

    def add(total: Array, point: Array) -> tuple[Array, None]:
        return total + input_gradient(score, start + point * (images - start)), None

    total, _ = lax.scan(add, jnp.zeros_like(images), points)
    return (images - start) * total / steps


def grad_cam(activations: Array, gradients: Array) -> Array:
    r"""Weights the channels of a feature map by their mean gradients.

    .. math:: c_{ij} = \max\Bigl(0, \sum_k \bar g_k a_{ijk}\Bigr)

    Args:
      activations: :math:`a`, `[batch, height, width, channels]`.
      gradients: of the score with respect to the activations, of the same shape.

    Returns:
      `[batch, height, width]`.

    Example:
      >>> grad_cam(jnp.ones((1, 2, 2, 3)), jnp.ones((1, 2, 2, 3))).tolist()
      [[[3.0, 3.0], [3.0, 3.0]]]

    Reference: Selvaraju et al., "Grad-CAM", 2017.
    """
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    return jnp.maximum((weights * activations).sum(axis=-1), 0)


def explain(network: TrainedNetwork, images: Array, classes: Array) -> dict[str, Array]:
    """Explains the logit of a class of each image.

    Gradients are taken with respect to pixels in [0, 1], before their normalization. Grad-CAM takes
    the last intermediate result with a height and a width, and is resized to the image; it is
    missing if the network has none.

    Args:
      network: a network of images.
      images: raw images `[batch, height, width, channels]`.
      classes: `[batch]` integers; ignored for a network with one output.

    Returns:
      Maps `[batch, height, width]` under "input_gradient", "integrated_gradients" and "grad_cam".
      The first two are sums of magnitudes over the channels.

    Raises:
      InputError: the network takes features.
    """
    if len(network.example_shape) != 3:
        raise InputError(f"--explain must be unset for {network.name}, which takes features")
    pixels = to_unit_interval(images)

    def score(x: Array) -> Array:
        normalized = network.normalizer.apply(x)
        logits = jnp.asarray(network.model.apply(network.variables, normalized, train=False))
        if logits.shape[-1] == 1:
            return logits[:, 0]
        return jnp.take_along_axis(logits, classes[:, None], axis=-1)[:, 0]

    maps = {
        "input_gradient": jnp.abs(input_gradient(score, pixels)).sum(-1),
        "integrated_gradients": jnp.abs(integrated_gradients(score, pixels)).sum(-1),
    }
    normalized = network.normalizer.apply(pixels)
    found = intermediates(network.model, network.variables, normalized)  # in the network's order
    taps = [name for name, value in found.items() if value.ndim == 4]
    if taps:
        heat = grad_cam(*_activations(score, network, pixels, taps[-1]))
        maps["grad_cam"] = jax.image.resize(heat, images.shape[:3], "bilinear")
    return maps


def _activations(
    score: Score, network: TrainedNetwork, images: Array, tap: str
) -> tuple[Array, Array]:
    """Returns an intermediate result, and the gradient of the score with respect to it."""
    found: list[Array] = []

    def perturbed(perturbation: Array) -> tuple[Array, Array]:
        def add(call: Callable[..., Any], arguments: Any, keywords: Any, context: Any) -> Any:
            if context.method_name != "sow_intermediate" or arguments[0] != tap:
                return call(*arguments, **keywords)
            found.append(arguments[1])
            return call(tap, arguments[1] + perturbation.astype(arguments[1].dtype))

        with nn.intercept_methods(add):
            total = score(images).sum()
        return total, found.pop()

    shape = (len(images), *network.taps()[tap])
    gradients, activations = jax.grad(perturbed, has_aux=True)(jnp.zeros(shape, images.dtype))
    return activations, gradients
