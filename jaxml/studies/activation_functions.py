"""Sigmoid, tanh and ReLU.

Claim: Sigmoid and tanh saturate: their derivatives vanish for large inputs, and gradients vanish in
deep networks. ReLU does not saturate for positive inputs and is cheaper to compute.

Formula:
  σ′(x) = σ(x) (1 − σ(x)) ≤ 1/4,   tanh′(x) = 1 − tanh(x)^2 ≤ 1,   ReLU′(x) = 1 for x > 0, else 0
  |∂L/∂h_1| ≤ |∂L/∂h_L| Π_l max|f′| |W_l|

Measured: A network of 6 hidden layers of 32 units learns the digits. A unit is saturated for an
example if its derivative is below 5 % of the largest possible one; for ReLU, that is the fraction
of zeros. We take this fraction by layer at the start and after every update, the norm of the
gradient of the second kernel relative to that of the last hidden one at the start, and the
accuracy. Tanh runs with Xavier's weights and with weights five times as large. The nanoseconds an
element are of this machine, and no criterion.

Verdict: holds only when the scale of the weights is named. With Xavier's weights, the sigmoid loses
its gradient and does not learn, although hardly any of its units are saturated: the maximum 1/4 of
its derivative suffices. Tanh with Xavier's weights is not saturated at the start and learns well;
with weights five times as large, most of its units are saturated and it learns badly. Half of the
ReLU units are zero at the start, and the network learns all the same. Whether ReLU is cheaper
depends on the machine, and is not judged here.

Next: Multiply Xavier's weights by 4 for the sigmoid, and subtract its mean of 1/2. Count ReLU units
that are zero for every image. Try leaky ReLU.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key, PyTree

XAVIER = initializers.xavier_normal()
CASES = {
    "sigmoid": (activations.sigmoid, XAVIER, 0.25),
    "tanh": (activations.tanh, XAVIER, 1.0),
    "ReLU": (activations.relu, initializers.he_normal(), 1.0),
    "tanh, weights × 5": (
        activations.tanh,
        initializers.variance_scaling(25.0, "fan_avg", "normal"),
        1.0,
    ),
}
SIZES = (64, *[32] * 6, 10)


def saturation(params: PyTree, x: Array, function: Any, largest: float) -> Array:
    """Returns the fraction of saturated units in each hidden layer."""
    slope, fractions = jax.vmap(jax.vmap(jax.grad(function))), []
    for layer in params[:-1]:
        x = layers.dense(x, **layer)
        fractions.append((slope(x) < 0.05 * largest).mean(dtype=x.dtype))
        x = function(x)
    return jnp.stack(fractions)


def nanoseconds(function: Any) -> float:
    """Returns the time of a function for an element of a large array, the best of five calls."""
    x = jnp.linspace(-4.0, 4.0, 2**20)
    call, times = jax.jit(function), []
    jax.block_until_ready(call(x))
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(call(x))
        times.append(time.perf_counter() - start)
    return min(times) / 2**20 * 1e9


def measure(settings: Settings, *, cases: dict = CASES) -> Measured:
    """Trains all cases."""
    data, found = training.flat_digits(), {}
    rows = training.batches(settings, len(data.train), 64, settings.steps(400))
    for name, (function, initializer, largest) in cases.items():

        def start(key: Key, initializer: Any = initializer) -> PyTree:
            return training.dense_params(key, SIZES, initializer)

        def loss(p: PyTree, rows: Array, function: Any = function) -> Array:
            logits = training.mlp(p, data.train[rows], function)
            return training.cross_entropy(logits, data.labels[rows])

        def share(p: PyTree, function: Any = function, largest: float = largest) -> Array:
            return saturation(p, data.train[:64], function, largest)

        def ratio(p: PyTree, loss: Any = loss) -> Array:
            norms = [jnp.linalg.norm(g["kernel"]) for g in jax.grad(loss)(p, jnp.arange(64))]
            return norms[1] / norms[-2]

        params = training.for_each_seed(start, settings)
        found[f"start, {name}"], found[f"ratio, {name}"] = (
            np.asarray(jax.jit(jax.vmap(f))(params)) for f in (share, ratio)
        )
        params, history = training.descend(
            loss, params, rows, optimizer=optax.sgd(0.05, 0.9), record=share
        )
        found[f"history, {name}"] = np.asarray(history)
        logits = jax.vmap(lambda p: training.mlp(p, data.test, function))(params)
        found[f"accuracy, {name}"] = training.accuracy(logits, data.test_labels)
        found[f"time, {name}"] = np.full(len(settings.seeds), nanoseconds(function))
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    start = {name: found[f"start, {name}"].mean(1) for name in CASES}
    ratio = "gradient of the second kernel over that of the last hidden one"
    gain = found["accuracy, ReLU"] - found["accuracy, sigmoid"]
    return [
        Check(f"sigmoid, start: {ratio}", found["ratio, sigmoid"], at_most=0.02),
        Check(f"ReLU, start: {ratio}", found["ratio, ReLU"], at_least=0.2),
        Check("sigmoid, start: saturated fraction", start["sigmoid"], at_most=0.05),
        Check("tanh, Xavier, start: saturated fraction", start["tanh"], at_most=0.1),
        Check(
            "tanh, weights × 5, start: saturated fraction", start["tanh, weights × 5"], at_least=0.4
        ),
        Check("ReLU, start: fraction of zeros", start["ReLU"], 0.4, 0.6),
        Check("accuracy, ReLU minus sigmoid", gain, at_least=0.3),
    ]


def table(found: Measured) -> Table:
    """Saturation, gradients, accuracy and time."""
    rows = [
        (
            name,
            found[f"start, {name}"].mean(1),
            found[f"history, {name}"][:, -1].mean(1),
            found[f"ratio, {name}"],
            found[f"accuracy, {name}"],
            found[f"time, {name}"],
        )
        for name in CASES
    ]
    header = (
        "function",
        "saturated at the start",
        "saturated at the end",
        "gradient, second over last layer",
        "test accuracy",
        "ns an element",
    )
    return Table(header, rows)


def panels(found: Measured) -> list[Panel]:
    """Functions, derivatives and saturation."""
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    functions = {name: CASES[name][0] for name in ("sigmoid", "tanh", "ReLU")}
    slopes = {n: np.asarray(jax.vmap(jax.grad(f))(x))[None] for n, f in functions.items()}
    values = {n: np.clip(np.asarray(f(jnp.asarray(x))), -1, 2)[None] for n, f in functions.items()}
    history = {name: found[f"history, {name}"].mean(2) for name in CASES}
    layer = {name: found[f"history, {name}"][:, -1] for name in CASES}
    end = "Saturated fraction by layer at the end"
    return [
        lines("Functions (ReLU cut at 2)", values, at=x, x="x", y="f(x)"),
        lines("Derivatives", slopes, at=x, x="x", y="f′(x)"),
        lines("Saturated fraction during training", history, y="fraction"),
        lines(end, layer, x="hidden layer", y="fraction", markers=True),
        bars("Test accuracy", {n: found[f"accuracy, {n}"] for n in CASES}, x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(saturation,))
