"""Batch, mini-batch and stochastic descent; momentum, RMSProp and Adam.

Claim: Mini-batches converge in fewer epochs than the full batch. Momentum damps the oscillation in
a ravine, RMSProp rescales each direction, and Adam combines both and is the best default. Averages
need a bias correction in their first steps.

Formula:
  momentum:   v ← μ v + g,   w ← w − η v        RMSProp:   s ← β s + (1 − β) g^2,   w ← w − η g / √s
  Adam:   both averages, divided by 1 − β^t        E v_t = (1 − β^t) g for constant g and v_0 = 0

Measured: A ravine, f(x, y) = (x^2 + 50 y^2) / 2, from starting points on a circle: steps until f
has fallen to a thousandth. A network of 32 units on the digits: epochs until the training loss is
0.3, for batches of 1, 32 and all 1,437 images. Each method runs with 9 learning rates, a factor of
2 apart, and counts with its best one, as a person who tunes would compare them. The average of a
constant signal, with and without bias correction.

Verdict: holds only when the learning rate is not tuned for each method. Mini-batches need at least
three times fewer epochs. On the ravine, tuned momentum and tuned Adam take the same number of steps
within 25 %, and gradient descent at its best rate is not reliably slower; but momentum and Adam are
fast at most of the nine learning rates, and gradient descent at two of them. They save tuning. The
bias of the average without correction is exactly 1 − β^t.

Next: Rotate the ravine by 45 degrees: which methods slow down, and why? Decay the learning rate of
RMSProp. Count images per second as well as epochs: batches of 1 leave the processor idle.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxml import activations, initializers, layers, optim
from jaxml.reporting.charts import place_legend
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, drawing, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, PyTree

METHODS = {
    "gradient descent": (optax.sgd, 0.04),
    "momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 0.04),
    "RMSProp": (lambda rate: optax.rmsprop(rate, decay=0.9), 0.2),
    "Adam": (optax.adam, 0.5),
}
FACTORS = 2.0 ** np.arange(-6, 3)  # of the second entry above
SIZES = {"1": (1, 0.02), "32": (32, 0.2), "all 1,437": (1437, 1.0)}
STEPS = 400


def ravine(w: Array) -> Array:
    """A quadratic function whose curvatures differ by a factor of 50."""
    return (w[0] ** 2 + 50 * w[1] ** 2) / 2


def descend(method: Any, rate: Array, start: Array) -> tuple[Array, Array]:
    """Returns the values of the ravine and the points `[steps, 2]` of a descent."""
    optimizer = method(rate)

    def step(state: PyTree, _: None) -> tuple[PyTree, tuple[Array, Array]]:
        w, memory = state
        updates, memory = optimizer.update(jax.grad(ravine)(w), memory, w)
        w = w + updates
        return (w, memory), (ravine(w), w)

    return lax.scan(step, (start, optimizer.init(start)), None, length=STEPS)[1]


def first_below(values: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the first position of the last axis after which all values are below a threshold."""
    above = ~(values < threshold)
    return (
        values.shape[-1]
        - np.argmax(above[..., ::-1], -1)
        + np.where(above.any(-1), 0, -values.shape[-1])
    )


def on_the_ravine(settings: Settings, found: dict[str, np.ndarray]) -> None:
    """Counts steps on the ravine for all learning rates."""
    angles = [np.random.default_rng(s).uniform(0.3, 1.2) for s in settings.seeds]
    starts = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1) * 5, jnp.float32)
    for name, (method, rate) in METHODS.items():
        rates = jnp.asarray(rate * FACTORS, jnp.float32)
        run = jax.vmap(jax.vmap(lambda r, w: descend(method, r, w), (0, None)), (None, 0))
        values, points = map(np.asarray, jax.jit(run)(rates, starts))
        first = np.asarray(jax.vmap(ravine)(starts))[:, None, None]
        steps = first_below(values / first, 1e-3)
        best = steps.mean(0).argmin()
        found[f"steps, {name}"] = steps[:, best]
        found[f"usable, {name}"] = (steps < 200).sum(1).astype(float)
        found[f"points, {name}"] = points[:, best, :60]
        found[f"values, {name}"] = np.maximum(values[:, best] / first[:, 0], 1e-8)


def on_digits(settings: Settings, found: dict[str, np.ndarray], sizes: dict) -> None:
    """Counts epochs to a loss of 0.3 for all batch sizes, each with the best of three rates."""
    data = training.flat_digits()
    params = training.for_each_seed(
        lambda key: training.dense_params(key, (64, 32, 10), initializers.he_normal()), settings
    )

    def risk(p: PyTree, rows: Array) -> Array:
        logits = training.mlp(p, data.train[rows], activations.relu)
        return training.cross_entropy(logits, data.labels[rows])

    for name, (size, middle) in sizes.items():
        steps = settings.steps({1: 1437, 32: 135, 1437: 60}[size])
        rows = training.batches(settings, 1437, size, steps)
        choices = (middle / 2, middle, 2 * middle)
        (start, rows), rates = training.repeat((params, rows), choices, steps)
        _, history = training.descend(
            lambda p, step: step[1] * risk(p, step[0]),  # a factor of the learning rate
            start,
            (rows, rates),
            optimizer=optax.sgd(1.0),
            record=lambda p: risk(p, jnp.arange(256)),
        )
        counts = first_below(np.asarray(history), 0.3).reshape(3, -1) * size / 1437
        found[f"epochs, {name}"] = min(counts, key=np.mean)


def measure(settings: Settings, *, sizes: dict = SIZES) -> Measured:
    """Runs all descents; `sizes` are the batch sizes by label."""
    found: dict[str, np.ndarray] = {}
    on_the_ravine(settings, found)
    on_digits(settings, found, sizes)
    signal = jnp.stack([jnp.float32(1 + s) for s in settings.seeds])
    corrected, averages = optim.ema_averaging(0.9), []
    state, plain = corrected.init(signal), jnp.zeros_like(signal)
    for t in range(1, 31):
        state, _ = corrected.update(state, jnp.array(t), signal)
        plain = layers.update_running_average(plain, signal, momentum=0.9)
        averages.append((plain / signal, corrected.value(state, signal) / signal))
    found["plain"], found["corrected"] = (
        np.asarray(jnp.stack(a, 1)) for a in zip(*averages, strict=True)
    )
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    steps = {name: found[f"steps, {name}"] for name in METHODS}
    bias = np.abs(found["plain"] - (1 - 0.9 ** np.arange(1, 31))).max(1)
    return [
        Check(
            "epochs, full batch over batches of 32",
            found["epochs, all 1,437"] / found["epochs, 32"],
            3,
        ),
        Check("ravine: steps, Adam over momentum", steps["Adam"] / steps["momentum"], 0.8, 1.25),
        Check(
            "ravine: usable learning rates of 9, momentum minus gradient descent",
            found["usable, momentum"] - found["usable, gradient descent"],
            at_least=1,
        ),
        Check(
            "ravine: usable learning rates of 9, Adam minus gradient descent",
            found["usable, Adam"] - found["usable, gradient descent"],
            at_least=1,
        ),
        Check("average: largest error of 1 − β^t without correction", bias, at_most=1e-5),
        Check(
            "average: largest error with correction",
            np.abs(found["corrected"] - 1).max(1),
            at_most=1e-5,
        ),
    ]


def table(found: Measured) -> Table:
    """Steps on the ravine and epochs on the digits."""
    rows = [
        (f"ravine, {name}", found[f"steps, {name}"], found[f"usable, {name}"]) for name in METHODS
    ]
    rows += [(f"digits, batches of {name}", found[f"epochs, {name}"], "-") for name in SIZES]
    return Table(("method", "steps or epochs", "learning rates of 9 with under 200 steps"), rows)


def panels(found: Measured) -> list[Panel]:
    """Trajectories, losses and averages."""

    def trajectories(axes: Any) -> None:
        for name in METHODS:
            axes.plot(*found[f"points, {name}"][0].T, marker=".", lw=0.8, ms=3, label=name)
        place_legend(axes)

    values = {name: found[f"values, {name}"] for name in METHODS}
    epochs = {f"batches of {name}": found[f"epochs, {name}"] for name in SIZES}
    averages = {"with correction": found["corrected"], "without": found["plain"]}
    return [
        drawing(
            "The first 60 steps of one seed; the minimum is at 0, 0",
            trajectories,
            x="x (flat)",
            y="y (steep)",
        ),
        lines("Value on the ravine, relative to the start", values, y="value", log="y"),
        bars("Epochs to a training loss of 0.3 on the digits", epochs, x="epochs", log=True),
        lines("Average of a constant signal, β = 0.9", averages, y="average over signal"),
    ]


STUDY = Study(measure, checks, table, panels, code=(ravine, descend))
