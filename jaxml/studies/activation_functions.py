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
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, Initializer, PyTree


class Case(NamedTuple):
    """An activation function with the largest value of its derivative, and an initializer."""

    function: Any
    initializer: Initializer
    largest: float


XAVIER = initializers.xavier_normal()
LARGE = initializers.variance_scaling(25.0, "fan_avg", "normal")  # Xavier's weights times 5
CASES = {
    "sigmoid": Case(activations.sigmoid, XAVIER, 0.25),
    "tanh": Case(activations.tanh, XAVIER, 1.0),
    "ReLU": Case(activations.relu, initializers.he_normal(), 1.0),
    "tanh, weights × 5": Case(activations.tanh, LARGE, 1.0),
}
SIZES = (64, *[32] * 6, 10)


def saturation(params: PyTree, x: Array, case: Case) -> Array:
    """Returns the fraction of saturated units in each hidden layer."""
    slope, fractions = jax.vmap(jax.vmap(jax.grad(case.function))), []
    for layer in params[:-1]:
        x = layers.dense(x, **layer)
        fractions.append((slope(x) < 0.05 * case.largest).mean(dtype=x.dtype))
        x = case.function(x)
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


def train(settings: Settings, data: training.Images, case: Case) -> Measured:
    """Trains a network and measures it, before, during and after."""

    def logits(p: PyTree, x: Array) -> Array:
        return training.mlp(p, x, case.function)

    def saturated(p: PyTree) -> Array:
        return saturation(p, data.train[:64], case)

    def gradient_ratio(p: PyTree) -> Array:
        gradients = jax.grad(loss)(p, jnp.arange(64))
        norms = [jnp.linalg.norm(layer["kernel"]) for layer in gradients]
        return norms[1] / norms[-2]  # the second over the last hidden one

    loss = training.mean_loss(logits, data)
    params = training.for_each_seed(
        lambda key: training.dense_params(key, SIZES, case.initializer), settings
    )
    start, ratio = (jax.jit(jax.vmap(f))(params) for f in (saturated, gradient_ratio))
    rows = training.batches(settings, len(data.train), 64, settings.steps(400))
    optimizer = optax.sgd(0.05, 0.9)
    trained, history = training.descend(loss, params, rows, optimizer=optimizer, record=saturated)
    test = jax.vmap(lambda p: logits(p, data.test))(trained)
    return {
        "start": np.asarray(start).mean(1),
        "ratio": np.asarray(ratio),
        "during": np.asarray(history).mean(2),
        "layers at the end": np.asarray(history)[:, -1],
        "accuracy": training.accuracy(test, data.test_labels),
        "time": settings.constant(nanoseconds(case.function)),
    }


def measure(settings: Settings, *, cases: Mapping[str, Case] = CASES) -> Measured:
    """Trains all cases."""
    data, found = training.flat_digits(), {}
    for name, case in cases.items():
        measured = train(settings, data, case)
        found |= {f"{kind}, {name}": values for kind, values in measured.items()}
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    start, ratio, accuracy = (part(found, kind) for kind in ("start", "ratio", "accuracy"))
    gradient = "gradient of the second kernel over that of the last hidden one"
    fraction, large = "start: saturated fraction", "tanh, weights × 5"
    gain = accuracy["ReLU"] - accuracy["sigmoid"]
    return [
        Check(f"sigmoid, start: {gradient}", ratio["sigmoid"], at_most=0.02),
        Check(f"ReLU, start: {gradient}", ratio["ReLU"], at_least=0.2),
        Check(f"sigmoid, {fraction}", start["sigmoid"], at_most=0.05),
        Check(f"tanh, Xavier, {fraction}", start["tanh"], at_most=0.1),
        Check(f"{large}, {fraction}", start[large], at_least=0.4),
        Check("ReLU, start: fraction of zeros", start["ReLU"], 0.4, 0.6),
        Check("accuracy, ReLU minus sigmoid", gain, at_least=0.3),
    ]


def table(found: Measured) -> Table:
    """Saturation, gradients, accuracy and time."""
    end = {name: values.mean(1) for name, values in part(found, "layers at the end").items()}
    columns = {
        "saturated at the start": part(found, "start"),
        "saturated at the end": end,
        "gradient, second over last layer": part(found, "ratio"),
        "test accuracy": part(found, "accuracy"),
        "ns an element": part(found, "time"),
    }
    return Table.of("function", columns)


def panels(found: Measured) -> list[Panel]:
    """Functions, derivatives and saturation."""
    x = jnp.linspace(-5, 5, 101)
    functions = {name: CASES[name].function for name in ("sigmoid", "tanh", "ReLU")}
    slopes = {n: np.asarray(jax.vmap(jax.grad(f))(x))[None] for n, f in functions.items()}
    values = {n: np.clip(np.asarray(f(x)), -1, 2)[None] for n, f in functions.items()}
    axes: Any = {"at": np.asarray(x), "x": "x"}
    layer, end = part(found, "layers at the end"), "Saturated fraction by layer at the end"
    return [
        lines("Functions (ReLU cut at 2)", values, y="f(x)", **axes),
        lines("Derivatives", slopes, y="f′(x)", **axes),
        lines("Saturated fraction during training", part(found, "during"), y="fraction"),
        lines(end, layer, x="hidden layer", y="fraction", markers=True),
        bars("Test accuracy", part(found, "accuracy"), x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(saturation,))
