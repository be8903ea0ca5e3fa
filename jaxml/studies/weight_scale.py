"""Weights above and below the identity.

Claim: In a deep network, weights a little larger than the identity make activations and gradients
explode, and weights a little smaller make them vanish, exponentially in the depth.

Formula:
  h_L = W_L ⋯ W_1 x,   W_l = g Q_l,   Q_l^T Q_l = I (orthogonal: keeps every norm)
  so |h_L| = g^L |x|,   and for the gradient of a loss E on the way back |∂E/∂h_0| = g^L |∂E/∂h_L|

Measured: Fifty layers of 64 units have random orthogonal weights times g = 0.9, 1, 1.1 and 1.41
(the square root of 2). "Larger than the identity" means that all singular values of W, which are g
here, exceed 1; a single entry above 1 says nothing. We take the Euclidean norm of the activations
after every layer, relative to that of the input, and the norm of the gradient at every layer,
relative to that at the last one, for layers without an activation function (linear), with ReLU and
with tanh.

Verdict: holds only when the layers are linear: there, both norms equal powers of g up to rounding.
ReLU sets half of the activations to 0, and with them about half of the square of the norm, in every
layer. Its boundary is where g^2 / 2 = 1, near g = 1.41, and orthogonal ReLU layers with g = 1.1
vanish. With tanh, activations cannot exceed 1, and those of g = 1.1 do not explode.

Next: Replace the orthogonal weights by random normal ones, and compare the spread over the seeds.
Find the boundary of leaky ReLU. Add a shortcut around every layer.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._deep import forward_and_backward, square_kernels
from jaxml.studies._panels import lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key

DEPTH, WIDTH = 50, 64
FUNCTIONS = {"linear": lambda x: x, "ReLU": activations.relu, "tanh": activations.tanh}
GAINS = (0.9, 1.0, 1.1, 2**0.5)


def norms(
    kernels: Array, x: Array, gain: Array, function: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Returns the norms of the activations and of the gradients after each layer."""

    def layer(h: Array, kernel: Array) -> Array:
        return function(layers.dense(h, gain * kernel))

    def gradient(last: Array) -> Array:
        return last  # of the loss |h_L|^2 / 2

    hidden, gradients = forward_and_backward(layer, kernels, x, gradient)
    norm = jnp.linalg.norm
    return norm(hidden, axis=1) / norm(x), norm(gradients, axis=1) / norm(hidden[-1])


def measure(settings: Settings, *, scale: float = 1.0) -> Measured:
    """Measures norms; the theory does not know of a `scale` of the weights other than 1."""

    def run(key: Key) -> dict[str, Array]:
        first, second = jax.random.split(key)
        kernels = square_kernels(first, initializers.orthogonal(scale), DEPTH, WIDTH)
        x, gains = jax.random.normal(second, (WIDTH,)), jnp.asarray(GAINS, jnp.float32)
        found = {}
        for name, function in FUNCTIONS.items():
            each = jax.vmap(lambda gain, f=function: norms(kernels, x, gain, f))
            found[f"forward, {name}"], found[f"backward, {name}"] = each(gains)
        return found  # [gains, depth] each

    return jax.tree.map(np.asarray, training.for_each_seed(run, settings))


def last_power(found: Measured, name: str, gain: float) -> np.ndarray:
    """Returns log_{10} of the norm after 50 layers."""
    return np.log10(found[f"forward, {name}"][:, GAINS.index(gain), -1])


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict, in powers of ten after 50 layers."""
    power = np.log10(GAINS)
    forward = np.log10(found["forward, linear"][..., -1]) - DEPTH * power
    backward = np.log10(found["backward, linear"][..., 0]) - (DEPTH - 1) * power
    ten = "log_{10} of the norm after 50 layers"
    return [
        Check(
            "linear, forward: error of log_{10} |h_L|, which should be L log_{10} g",
            np.abs(forward).max(1),
            at_most=1e-3,
        ),
        Check(
            "linear, backward: error of log_{10} of the gradient",
            np.abs(backward).max(1),
            at_most=1e-3,
        ),
        Check(f"ReLU, g = 1.1: {ten}", last_power(found, "ReLU", 1.1), at_most=-1),
        Check(f"ReLU, g = 1.41: {ten}", last_power(found, "ReLU", 2**0.5), -1.5, 1.5),
        Check(f"tanh, g = 1.1: {ten}", last_power(found, "tanh", 1.1), -1.5, 0.5),
    ]


def table(found: Measured) -> Table:
    """Norms through all layers, by function and gain."""
    rows = [
        (
            name,
            f"{gain:.3g}",
            found[f"forward, {name}"][:, i, -1],
            found[f"backward, {name}"][:, i, 0],
        )
        for name in FUNCTIONS
        for i, gain in enumerate(GAINS)
    ]
    return Table(("function", "g", "norm after 50 layers", "gradient at the first layer"), rows)


def panels(found: Measured) -> list[Panel]:
    """Norms against the depth."""
    units = {"forward": "norm over that of the input", "backward": "gradient over the last one"}

    def panel(way: str, name: str) -> Panel:
        values = found[f"{way}, {name}"]
        curves = {f"g = {gain:.3g}": values[:, i] for i, gain in enumerate(GAINS)}
        return lines(f"{way.title()}, {name}", curves, x="layer", y=units[way], log="y")

    shown = [
        ("forward", "linear"),
        ("backward", "linear"),
        ("forward", "ReLU"),
        ("forward", "tanh"),
    ]
    return [panel(way, name) for way, name in shown]


STUDY = Study(measure, checks, table, panels, code=(norms, forward_and_backward))
