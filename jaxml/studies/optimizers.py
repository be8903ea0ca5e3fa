"""Batch, mini-batch and stochastic descent; momentum, RMSProp and Adam.

Claim: Mini-batches reach a given loss in fewer passes over the data (epochs) than the full batch.
In a ravine, momentum and Adam are faster than gradient descent. An average that starts at 0 is too
small in its first steps.

Formula:
  gradient descent:   w ← w − η g   with the gradient g and the learning rate η
  momentum, μ = 0.9:   v ← μ v + g,   w ← w − η v
  RMSProp, β = 0.9:   s ← β s + (1 − β) g^2,   w ← w − η g / √(s + ε)
  Adam, β_1 = 0.9, β_2 = 0.999:   m ← β_1 m + (1 − β_1) g,   s ← β_2 s + (1 − β_2) g^2,
  w ← w − η [m / (1 − β_1^t)] / (√[s / (1 − β_2^t)] + ε)   in step t
  average of a constant c:   a ← β a + (1 − β) c from a = 0 gives a_t = (1 − β^t) c

Measured: A ravine is f(x, y) = (x^2 + 50 y^2) / 2. Each seed draws a starting point at a distance
of 5 from the minimum. Each method runs with nine learning rates, a factor of 2 apart. We count the
steps until f stays below a thousandth of its first value, and show the rate with the fewest steps
in the mean. On the digits, a network with one hidden layer of 32 ReLU units learns with batches of
1, 32 and all 1,437 images, each at the best of three rates. We count the epochs until the loss of
the first 256 training images stays below 0.3. Runs that do not get there count with all their
steps. Last, we average a constant signal with and without bias correction.

Verdict: holds only when learning rates are not tuned, as far as the ravine is concerned. Momentum
and Adam need under 200 steps at more of the nine rates than gradient descent does, so they need
less tuning. But at its best rate, gradient descent is faster from some starting points and slower
from others, and tuned momentum and tuned Adam take about the same number of steps (0.8 to 1.25
times as many). RMSProp is shown for comparison. On the digits, batches of 32 need at most a third
of the epochs of the full batch. The average without correction is too small by the fraction β^t.

Next: Ask for f to fall to 10^{-8} of its first value: which method wins at its best rate now?
Rotate the ravine by 45 degrees: which methods slow down, and why? RMSProp does not settle at a
constant rate: let its rate decay. Count images per second as well as epochs.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxml import optim
from jaxml.reporting.charts import place_legend
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, drawing, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, PyTree

METHODS = {  # optimizers, and a learning rate that is multiplied by each factor
    "gradient descent": (optax.sgd, 0.04),
    "momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 0.04),
    "RMSProp": (lambda rate: optax.rmsprop(rate, decay=0.9), 0.2),
    "Adam": (optax.adam, 0.5),
}
FACTORS = 2.0 ** np.arange(-6, 3)
# Batch size, the middle one of three learning rates, and the number of steps.
SIZES = {"1": (1, 0.02, 1437), "32": (32, 0.2, 135), "all 1,437": (1437, 1.0, 60)}
STEPS = 400


def ravine(w: Array) -> Array:
    """A quadratic function whose curvatures differ by a factor of 50."""
    return (w[0] ** 2 + 50 * w[1] ** 2) / 2


def descend(method: Any, rate: Array, start: Array) -> tuple[Array, Array]:
    """Returns f and the points before each step; `method` makes an optax optimizer of a rate."""
    optimizer = method(rate)

    def step(state: PyTree, _: None) -> tuple[PyTree, tuple[Array, Array]]:
        w, memory = state
        updates, memory = optimizer.update(jax.grad(ravine)(w), memory, w)
        return (w + updates, memory), (ravine(w), w)

    return lax.scan(step, (start, optimizer.init(start)), None, length=STEPS)[1]


def first_below(values: np.ndarray, threshold: float) -> np.ndarray:
    """Returns from which index on the last axis stays below a threshold, or its length."""
    above = ~(values < threshold)  # NaN counts as above
    return np.where(above.any(-1), above.shape[-1] - np.argmax(above[..., ::-1], -1), 0)


def on_the_ravine(settings: Settings) -> Measured:
    """Counts steps on the ravine for all learning rates."""
    angles = [np.random.default_rng(s).uniform(0.3, 1.2) for s in settings.seeds]
    starts = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1) * 5, jnp.float32)
    found = {}
    for name, (method, rate) in METHODS.items():
        rates = jnp.asarray(rate * FACTORS, jnp.float32)
        run = jax.vmap(jax.vmap(lambda r, w: descend(method, r, w), (0, None)), (None, 0))
        values, points = map(np.asarray, jax.jit(run)(rates, starts))  # [seeds, rates, ...]
        values = values / values[..., :1]
        steps = first_below(values, 1e-3)
        best = steps.mean(0).argmin()
        found[f"steps, {name}"] = steps[:, best]
        found[f"usable, {name}"] = (steps < 200).sum(1).astype(float)
        found[f"points, {name}"] = points[:, best, :60]
        found[f"values, {name}"] = np.maximum(values[:, best], 1e-8)
    return found


def on_digits(settings: Settings, sizes: dict) -> Measured:
    """Counts epochs to a loss of 0.3 for all batch sizes, each with the best of three rates."""
    data, found = training.flat_digits(), {}
    params = training.he_params(settings, (64, 32, 10))
    loss = training.mean_loss(training.mlp, data)
    for name, (size, middle, steps) in sizes.items():
        rows = training.batches(settings, 1437, size, settings.steps(steps))
        rates = (middle / 2, middle, 2 * middle)
        _, history = training.descend_at_rates(
            rates, loss, params, rows, record=lambda p: loss(p, jnp.arange(256))
        )
        # The first loss is the one after a step.
        taken = np.minimum(1 + first_below(np.asarray(history), 0.3), history.shape[-1])
        epochs = taken * size / 1437  # [rates, seeds]
        found[f"epochs, batches of {name}"] = epochs[epochs.mean(1).argmin()]
    return found


def constant_signal(settings: Settings) -> Measured:
    """Averages a signal that is always 1, with and without bias correction."""
    averaging, signal = optim.ema_averaging(0.9), jnp.float32(1)
    average, without, corrected = averaging.init(signal), [], []
    for t in range(1, 31):
        average, _ = averaging.update(average, jnp.array(t), signal)
        without.append(average.variables)
        corrected.append(averaging.value(average, signal))
    return {
        "average, with correction": settings.constant(np.stack(corrected)),
        "average, without correction": settings.constant(np.stack(without)),
    }


def measure(settings: Settings, *, sizes: dict = SIZES) -> Measured:
    """Runs all descents; `sizes` are the batch sizes by label."""
    return {**on_the_ravine(settings), **on_digits(settings, sizes), **constant_signal(settings)}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    steps, usable, epochs = (part(found, kind) for kind in ("steps", "usable", "epochs"))
    ratio = epochs["batches of all 1,437"] / epochs["batches of 32"]
    factors = 1 - 0.9 ** np.arange(1, 31)
    bias = np.abs(found["average, without correction"] - factors).max(1)
    error = np.abs(found["average, with correction"] - 1).max(1)
    more = {name: usable[name] - usable["gradient descent"] for name in ("momentum", "Adam")}
    rates = "ravine: number of rates with under 200 steps"
    return [
        Check("digits: epochs, full batch over batches of 32", ratio, at_least=3),
        Check(
            "digits: epochs of batches of 32 (the run ends after 3)",
            epochs["batches of 32"],
            at_most=2.5,
        ),
        Check("ravine: steps, Adam over momentum", steps["Adam"] / steps["momentum"], 0.8, 1.25),
        Check(f"{rates}, momentum minus gradient descent", more["momentum"], at_least=1),
        Check(f"{rates}, Adam minus gradient descent", more["Adam"], at_least=1),
        Check("average without correction: largest distance from 1 − β^t", bias, at_most=1e-5),
        Check("average with correction: largest distance from 1", error, at_most=1e-5),
    ]


def table(found: Measured) -> Table:
    """Steps on the ravine; the figure has the epochs on the digits."""
    usable = part(found, "usable")
    columns = {"steps": part(found, "steps"), "rates, of 9, with under 200 steps": usable}
    return Table.of("method, on the ravine", columns)


def panels(found: Measured) -> list[Panel]:
    """Trajectories, losses and averages."""

    def trajectories(axes: Any) -> None:
        for name, points in part(found, "points").items():
            axes.plot(*points[0].T, marker=".", lw=0.8, ms=3, label=name)
        place_legend(axes)

    path = "Ravine: 60 steps from one starting point, each method at its best rate"
    values, at = part(found, "values"), np.arange(STEPS)
    epochs, average = part(found, "epochs"), part(found, "average")
    return [
        drawing(path, trajectories, x="x (flat)", y="y (steep)"),
        lines(
            "Ravine: f at the best rates, at least 10⁻⁸", values, at=at, y="f / first f", log="y"
        ),
        bars("Digits: epochs to a training loss of 0.3", epochs, x="epochs", log=True),
        lines("Average of a constant signal, β = 0.9", average, y="average / signal"),
    ]


STUDY = Study(measure, checks, table, panels, code=(ravine, descend))
