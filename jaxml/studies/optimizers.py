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

from jaxml import layers, optim
from jaxml.reporting.charts import place_legend
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, drawing, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, PyTree

METHODS = {  # with a learning rate, the seventh of nine that are tried
    "gradient descent": (optax.sgd, 0.04),
    "momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 0.04),
    "RMSProp": (lambda rate: optax.rmsprop(rate, decay=0.9), 0.2),
    "Adam": (optax.adam, 0.5),
}
FACTORS = 2.0 ** np.arange(-6, 3)
# Images of a batch, the middle one of three learning rates, and the number of steps.
SIZES = {"1": (1, 0.02, 1437), "32": (32, 0.2, 135), "all 1,437": (1437, 1.0, 60)}
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


def steps_below(values: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the number of steps after which all values of the last axis are below a threshold."""
    above = ~(values < threshold)  # NaN counts as above
    last_above = above.shape[-1] - np.argmax(above[..., ::-1], -1)
    return np.where(above.any(-1), last_above, 0)


def on_the_ravine(settings: Settings) -> Measured:
    """Counts steps on the ravine for all learning rates."""
    angles = [np.random.default_rng(s).uniform(0.3, 1.2) for s in settings.seeds]
    starts = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1) * 5, jnp.float32)
    found = {}
    for name, (method, rate) in METHODS.items():
        rates = jnp.asarray(rate * FACTORS, jnp.float32)
        run = jax.vmap(jax.vmap(lambda r, w: descend(method, r, w), (0, None)), (None, 0))
        values, points = map(np.asarray, jax.jit(run)(rates, starts))  # [seeds, rates, ...]
        values = values / np.asarray(jax.vmap(ravine)(starts))[:, None, None]
        steps = steps_below(values, 1e-3)
        best = steps.mean(0).argmin()
        found[f"steps, {name}"] = steps[:, best]
        found[f"usable, {name}"] = (steps < 200).sum(1).astype(float)
        found[f"points, {name}"] = points[:, best, :60]
        found[f"values, {name}"] = np.maximum(values[:, best], 1e-8)
    return found


def on_digits(settings: Settings, sizes: dict) -> Measured:
    """Counts epochs to a loss of 0.3 for all batch sizes, each with the best of three rates."""
    data, found = training.flat_digits(), {}
    params, loss = (
        training.he_params(settings, (64, 32, 10)),
        training.mean_loss(training.mlp, data),
    )
    for name, (size, middle, steps) in sizes.items():
        rows = training.batches(settings, 1437, size, settings.steps(steps))
        _, history = training.descend_at_rates(
            (middle / 2, middle, 2 * middle),
            loss,
            params,
            rows,
            record=lambda p: loss(p, jnp.arange(256)),
        )
        epochs = steps_below(np.asarray(history), 0.3) * size / 1437  # [rates, seeds]
        found[f"epochs, batches of {name}"] = min(epochs, key=np.mean)
    return found


def constant_signal(settings: Settings) -> Measured:
    """Averages a constant signal 30 times, with and without bias correction, relative to it."""
    signal = jnp.stack([jnp.float32(1 + s) for s in settings.seeds])
    average = optim.ema_averaging(0.9)
    state, plain, averages = average.init(signal), jnp.zeros_like(signal), []
    for t in range(1, 31):
        state, _ = average.update(state, jnp.array(t), signal)
        plain = layers.update_running_average(plain, signal, momentum=0.9)
        averages.append((plain / signal, average.value(state, signal) / signal))
    plain, corrected = (np.asarray(jnp.stack(a, 1)) for a in zip(*averages, strict=True))
    return {"average, with correction": corrected, "average, without": plain}


def measure(settings: Settings, *, sizes: dict = SIZES) -> Measured:
    """Runs all descents; `sizes` are the batch sizes by label."""
    return {
        **on_the_ravine(settings),
        **on_digits(settings, sizes),
        **constant_signal(settings),
    }


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    steps, usable, epochs = (part(found, kind) for kind in ("steps", "usable", "epochs"))
    ratio = epochs["batches of all 1,437"] / epochs["batches of 32"]
    bias = np.abs(found["average, without"] - (1 - 0.9 ** np.arange(1, 31))).max(1)
    error = np.abs(found["average, with correction"] - 1).max(1)
    rates, descent = "ravine: usable learning rates of 9", usable["gradient descent"]
    return [
        Check("epochs, full batch over batches of 32", ratio, at_least=3),
        Check("ravine: steps, Adam over momentum", steps["Adam"] / steps["momentum"], 0.8, 1.25),
        Check(f"{rates}, momentum minus gradient descent", usable["momentum"] - descent, 1),
        Check(f"{rates}, Adam minus gradient descent", usable["Adam"] - descent, at_least=1),
        Check("average: largest error of 1 − β^t without correction", bias, at_most=1e-5),
        Check("average: largest error with correction", error, at_most=1e-5),
    ]


def table(found: Measured) -> Table:
    """Steps on the ravine and epochs on the digits."""
    usable = part(found, "usable")
    rows = [(f"ravine, {n}", steps, usable[n]) for n, steps in part(found, "steps").items()]
    rows += [(f"digits, {name}", epochs, "-") for name, epochs in part(found, "epochs").items()]
    return Table(("method", "steps or epochs", "learning rates of 9 with under 200 steps"), rows)


def panels(found: Measured) -> list[Panel]:
    """Trajectories, losses and averages."""

    def trajectories(axes: Any) -> None:
        for name, points in part(found, "points").items():
            axes.plot(*points[0].T, marker=".", lw=0.8, ms=3, label=name)
        place_legend(axes)

    title = "The first 60 steps of one seed; the minimum is at 0, 0"
    losses, epochs = part(found, "values"), part(found, "epochs")
    signal, average = "Average of a constant signal, β = 0.9", part(found, "average")
    return [
        drawing(title, trajectories, x="x (flat)", y="y (steep)"),
        lines("Value on the ravine, relative to the start", losses, y="value", log="y"),
        bars("Epochs to a training loss of 0.3 on the digits", epochs, x="epochs", log=True),
        lines(signal, average, y="average over signal"),
    ]


STUDY = Study(measure, checks, table, panels, code=(ravine, descend))
