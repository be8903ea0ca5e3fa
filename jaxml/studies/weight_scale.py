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
from jax import lax

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key

DEPTH, WIDTH = 50, 64
FUNCTIONS = {"linear": lambda x: x, "ReLU": activations.relu, "tanh": activations.tanh}
GAINS = (0.9, 1.0, 1.1, 2**0.5)


def norms(kernels: Array, x: Array, gain: Array, function: Callable[[Array], Array]) -> Array:
    """Returns the norms of the activations and of the gradients after each layer, `[2, depth]`."""

    # The gradient of a shift that is added to an activation is the gradient of the activation.
    def forward(shifts: Array) -> tuple[Array, Array]:
        def layer(h: Array, parts: tuple[Array, Array]) -> tuple[Array, Array]:
            kernel, shift = parts
            h = function(layers.dense(h, gain * kernel)) + shift
            return h, h

        return lax.scan(layer, x, (kernels, shifts))

    zeros = jnp.zeros((DEPTH, WIDTH))
    (last, hidden), pull = jax.vjp(forward, zeros)
    (gradients,) = pull((last, jnp.zeros_like(hidden)))  # the gradient of |h|^2 / 2
    norm = jnp.linalg.norm
    return jnp.stack([norm(hidden, axis=1) / norm(x), norm(gradients, axis=1) / norm(last)])


def measure(settings: Settings, *, scale: float = 1.0) -> Measured:
    """Measures norms; the theory does not know of a `scale` of the weights other than 1."""

    def run(key: Key) -> dict[str, Array]:
        first, second = jax.random.split(key)
        draw = initializers.orthogonal(scale)
        kernels = jax.vmap(lambda part: draw(part, (WIDTH, WIDTH), jnp.float32))(
            jax.random.split(first, DEPTH)
        )
        x = jax.random.normal(second, (WIDTH,))
        gains = jnp.asarray(GAINS, jnp.float32)
        return {
            name: jax.vmap(lambda gain: norms(kernels, x, gain, function))(gains)
            for name, function in FUNCTIONS.items()
        }

    return jax.tree.map(np.asarray, training.for_each_seed(run, settings))


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict, in powers of ten after 50 layers."""
    last = {name: np.log10(values[:, :, 0, -1]) for name, values in found.items()}
    theory = (DEPTH * np.log10(GAINS))[None]
    error = np.abs(np.log10(found["linear"][..., 0, -1]) - theory).max(1)
    backward = np.abs(np.log10(found["linear"][..., 1, 0]) - theory * (1 - 1 / DEPTH)).max(1)
    ten = "log_{10} of the norm after 50 layers"
    return [
        Check(
            "linear, forward: error of log_{10} |h_L|, which should be L log_{10} g",
            error,
            at_most=1e-3,
        ),
        Check("linear, backward: error of log_{10} of the gradient", backward, at_most=1e-3),
        Check(f"ReLU, g = 1.1: {ten}", last["ReLU"][:, 2], at_most=-1),
        Check(f"ReLU, g = 1.41: {ten}", last["ReLU"][:, 3], at_least=-1.5, at_most=1.5),
        Check(f"tanh, g = 1.1: {ten}", last["tanh"][:, 2], at_least=-1.5, at_most=0.5),
    ]


def table(found: Measured) -> Table:
    """Norm after 50 layers by function and gain."""
    rows = [
        (name, f"{gain:.3g}", values[:, i, 0, -1], values[:, i, 1, 0])
        for name, values in found.items()
        for i, gain in enumerate(GAINS)
    ]
    return Table(("function", "g", "norm after 50 layers", "gradient at the first layer"), rows)


def panels(found: Measured) -> list[Panel]:
    """Norms against the depth."""
    ways = (("Forward", "norm over that of the input"), ("Backward", "gradient over the last one"))
    return [
        lines(
            f"{ways[k][0]}, {name}",
            {f"g = {gain:.3g}": found[name][:, i, k] for i, gain in enumerate(GAINS)},
            x="layer",
            y=ways[k][1],
            log="y",
        )
        for k, name in ((0, "linear"), (1, "linear"), (0, "ReLU"), (0, "tanh"))
    ]


STUDY = Study(measure, checks, table, panels, code=(norms,))
