"""Xavier and He initialization through fifty layers.

Claim: Xavier's variance keeps activations and gradients the same size through tanh layers, and He's
through ReLU layers. What does W = 1 do?

Formula:
  Var y = n Var w E[x^2]   for y = Σ_i w_i x_i with n independent weights of mean 0
  Xavier:   E[tanh(y)^2] ≈ Var y near 0, so Var w = 1 / n, or 2 / (n_{in} + n_{out})
  He:   E[ReLU(y)^2] = Var y / 2, so Var w = 2 / n

Measured: The mean square of the activations after each of 50 layers of 128 units, for random inputs
of mean square 1, and the mean square of the gradients on the way back, from a random gradient after
the last layer. "W = 1" is read in three ways: the identity, all entries 1, and an orthogonal
matrix.

Verdict: holds only when the function is linear near 0. He keeps the mean square through ReLU, and
Xavier halves it in every layer there. Through tanh, Xavier does not keep it: tanh shrinks, and the
mean square falls like 1 / (2 l), slowly, by a power and not exponentially. Of the three readings of
W = 1, the identity passes positive inputs through ReLU unchanged, an orthogonal matrix acts like
Xavier, and all ones multiply by the width in every layer and make all units equal.

Next: Plot the spread over the seeds against the width. Find the gain for which tanh keeps its mean
square (it is between 1 and 2). Try SELU with LeCun's variance 1 / n.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._deep import forward_and_backward, square_kernels
from jaxml.studies._panels import lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Initializer, Key

DEPTH, WIDTH, BATCH = 50, 128, 64
FUNCTIONS = {"ReLU": activations.relu, "tanh": activations.tanh}
INITIALIZERS = {
    "He": initializers.variance_scaling(2.0, "fan_in", "normal"),
    "Xavier": initializers.xavier_normal(),
    "orthogonal": initializers.orthogonal(),
    "identity": initializers.identity(),
    "all ones": initializers.ones,
}


def mean_squares(key: Key, function: Any, initializer: Initializer) -> tuple[Array, Array, Array]:
    """Returns the mean squares of activations and gradients by layer, and the spread of the units.

    The spread is the largest difference between two units of the last layer for the same example.
    """
    first, second, third = jax.random.split(key, 3)
    kernels = square_kernels(first, initializer, DEPTH, WIDTH)
    hidden, gradients = forward_and_backward(
        lambda x, kernel: function(layers.dense(x, kernel)),
        kernels,
        jax.random.normal(second, (BATCH, WIDTH)),
        gradient=lambda last: jax.random.normal(third, last.shape),
    )
    forward, backward = (jnp.square(values).mean((1, 2)) for values in (hidden, gradients))
    return forward, backward, jnp.ptp(hidden[-1], axis=1).max()


def measure(settings: Settings, *, he: Initializer = INITIALIZERS["He"]) -> Measured:
    """Measures all combinations; `he` is the initializer that is to suit ReLU."""
    found = {}
    for name, function in FUNCTIONS.items():
        for start, initializer in {**INITIALIZERS, "He": he}.items():
            parts = training.for_each_seed(
                lambda key: mean_squares(key, function, initializer), settings
            )
            for kind, values in zip(("forward", "backward", "spread"), parts, strict=True):
                found[f"{kind}, {name}, {start}"] = np.asarray(values)
    return found


def growth(values: np.ndarray) -> np.ndarray:
    """Returns the factor of the mean square from one layer to the next, the geometric mean."""
    first, last = np.maximum(values[:, 0], 1e-37), np.maximum(values[:, -1], 1e-37)
    return (last / first) ** (1 / (DEPTH - 1))


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    per = "factor of the mean square in one layer"
    last = 2 * DEPTH * found["forward, tanh, Xavier"][:, -1]  # the verdict says 1 / (2 l)
    backward = 1 / growth(found["backward, ReLU, He"])  # gradients go from the last to the first
    identity = np.abs(growth(found["forward, ReLU, identity"]) - 1)
    spread = found["spread, tanh, all ones"]
    return [
        Check(f"ReLU, He, forward: {per}", growth(found["forward, ReLU, He"]), 0.9, 1.1),
        Check(f"ReLU, He, backward: {per}", backward, 0.9, 1.1),
        Check(f"ReLU, Xavier: {per}", growth(found["forward, ReLU, Xavier"]), 0.45, 0.55),
        Check("tanh, Xavier: mean square of layer 50 times 100", last, 0.5, 2.0),
        Check("ReLU, identity: change after the first layer", identity, at_most=1e-6),
        Check("tanh, all ones: largest difference of two units", spread, 0, 0),
    ]


def table(found: Measured) -> Table:
    """Mean squares after fifty layers."""
    rows = [
        (
            name,
            start,
            found[f"forward, {name}, {start}"][:, -1],
            found[f"backward, {name}, {start}"][:, 0],
        )
        for name in FUNCTIONS
        for start in INITIALIZERS
    ]
    header = ("function", "weights", "mean square, layer 50", "gradient's mean square, layer 1")
    return Table(header, rows)


def panels(found: Measured) -> list[Panel]:
    """Mean squares against the layer."""

    def curves(kind: str, name: str) -> dict[str, np.ndarray]:
        return {s: np.clip(found[f"{kind}, {name}, {s}"], 1e-16, 1e16) for s in INITIALIZERS}

    cut = "(cut at 10⁻¹⁶ and 10¹⁶)"
    axes: Any = {"x": "layer", "y": "mean square", "log": "y"}
    return [
        lines(f"{kind.title()}, {name} {cut}", curves(kind, name), **axes)
        for name in FUNCTIONS
        for kind in ("forward", "backward")
    ]


STUDY = Study(measure, checks, table, panels, code=(mean_squares, forward_and_backward))
