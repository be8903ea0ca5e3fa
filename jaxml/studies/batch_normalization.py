"""Batch normalization.

Claim: Batch normalization allows larger learning rates. In training it uses the statistics of the
batch, in the test running averages of them. Small batches hurt. Several functions compute it.

Formula:
  y = γ (x − μ_B) / √(σ_B^2 + ε) + β   with the mean μ_B and the variance σ_B^2 of the batch
  running average with momentum m:   μ ← m μ + (1 − m) μ_B,   and so for the variance
  a batch of x_1 and x_2:   (x_1 − μ_B) / σ_B = ((x_1 − x_2) / 2) / (|x_1 − x_2| / 2) = ±1

Measured: Networks of 5 hidden layers of 64 ReLU units, with and without batch normalization, learn
the digits for 100 steps of 64 images at six learning rates. Their training accuracies use the
statistics of all training images. The network trained with batch normalization at learning rate 0.1
is tested with running averages over 30 or 500 training batches, with momentum 0.9 and with 0.99
(the default of Keras), and also with the statistics of test batches of 2 images. For batches of 2,
we also measure how far normalized random values are from ±1, and the training accuracy after as
many images in batches of 2. Last, `batch_norm_with_global_normalization` and `batch_normalization`
get the same inputs.

Verdict: holds. At learning rates 1 and 3, the network with batch normalization learns, and the one
without stays at chance. Both functions return the same values, bit for bit, but the momentum
matters: after 30 batches, a running average with momentum 0.99 still consists of its initial value
to three quarters (0.99^{30} = 0.74), and the test accuracy is low. After 500 batches, it is as high
as with 0.9. A batch of 2 keeps only the sign of a difference: training and test suffer.

Next: Normalize over the channels of one example instead (`layers.layer_norm`), and repeat the batch
of 2. Set the momentum to 0, and explain the result. Omit γ, which the next layer can replace.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key, PyTree

RATES, SIZES, EPSILON = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), (64, *[64] * 5, 10), 1e-3
Moments = tuple[Array, Array]


def network(
    params: PyTree, x: Array, normalized: bool, running: list | None = None
) -> tuple[Array, list]:
    """Returns logits and the statistics of each layer; `running` statistics replace the batch's."""
    found: list[Moments] = []
    for number, layer in enumerate(params[:-1]):
        x = layers.dense(x, layer["kernel"], layer["bias"])
        if normalized:
            found.append(layers.moments(x, [0]))
            mean, variance = found[-1] if running is None else running[number]
            x = layers.batch_normalization(x, mean, variance, None, layer["scale"], EPSILON)
        x = activations.relu(x)
    return layers.dense(x, **params[-1]), found


def average(params: PyTree, x: Array, rows: Array, momentum: float) -> list[Moments]:
    """Returns running averages, in the form of Keras, over batches of some rows."""

    def update(running: list[Moments], rows: Array) -> tuple[list[Moments], None]:
        _, batch = network(params, x[rows], True)
        return [
            layers.running_statistics_keras(r, b, momentum=momentum)
            for r, b in zip(running, batch, strict=True)
        ], None

    start = [(jnp.zeros(size), jnp.ones(size)) for size in SIZES[1:-1]]
    return lax.scan(update, start, rows)[0]


def start(key: Key) -> PyTree:
    """Draws the parameters, with a scale for each layer."""
    params = training.dense_params(key, SIZES, initializers.he_normal())
    return [{**p, "scale": jnp.ones(64)} for p in params[:-1]] + params[-1:]


def measure(settings: Settings, *, normalized: bool = True) -> Measured:
    """Trains all networks; without `normalized`, none has batch normalization."""
    data, steps, found = training.flat_digits(), settings.steps(100), {}
    params = training.for_each_seed(start, settings)
    rows = training.batches(settings, len(data.train), 64, steps)

    def train(with_norm: bool, rates: Sequence[float], rows: Array) -> PyTree:
        def loss(p: PyTree, step: tuple[Array, Array]) -> Array:
            rows, rate = step  # a factor of the loss is a factor of the learning rate
            logits, _ = network(p, data.train[rows], with_norm)
            return rate * training.cross_entropy(logits, data.labels[rows])

        (start, inputs), rate = training.repeat((params, rows), rates, rows.shape[1])
        return training.descend(loss, start, (inputs, rate), optimizer=optax.sgd(1.0))[0]

    def score(p: PyTree, with_norm: bool) -> np.ndarray:
        logits = jax.vmap(lambda p: network(p, data.train, with_norm)[0])(p)
        scores = training.accuracy(jnp.nan_to_num(logits), data.labels)
        return scores.reshape(-1, len(settings.seeds)).T

    found["accuracy, without"] = score(train(False, RATES, rows), False)
    trained = train(normalized, RATES, rows)
    found["accuracy, with"] = score(trained, normalized)
    pairs = training.batches(settings, len(data.train), 2, 32 * steps)
    found["batch of 2"] = score(train(normalized, (0.1,), pairs), normalized)[:, 0]
    seeds = len(settings.seeds)
    p = jax.tree.map(lambda leaf: leaf[2 * seeds : 3 * seeds], trained)  # learning rate 0.1
    two = data.test.reshape(-1, 2, 64)
    logits = jax.jit(jax.vmap(lambda p: jax.vmap(lambda x: network(p, x, True)[0])(two)))(p)
    found["test, batch of 2"] = training.accuracy(
        logits.reshape(-1, len(data.test), 10), data.test_labels
    )
    for momentum in (0.9, 0.99):
        for count in (30, 500):
            order = training.batches(settings, len(data.train), 64, count)
            test = jax.jit(
                jax.vmap(
                    lambda p, r: network(p, data.test, True, average(p, data.train, r, momentum))[0]
                )
            )(p, order)
            found[f"test, {momentum}, {count}"] = training.accuracy(test, data.test_labels)
    x = np.stack([np.random.default_rng(s).normal(size=(2, 64)) for s in settings.seeds])

    def forms(x: Array) -> tuple[Array, Array]:
        mean, variance = layers.moments(x, [0])
        ours = layers.batch_normalization(x, mean, variance, None, None, 1e-7)
        other = layers.batch_norm_with_global_normalization(
            x, mean, variance, None, None, 1e-7, True
        )
        return jnp.median(jnp.abs(jnp.abs(ours) - 1)), jnp.abs(ours - other).max()

    found["sign"], found["forms"] = jax.vmap(forms)(jnp.asarray(x, jnp.float32))
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    usable = {n: (found[f"accuracy, {n}"] > 0.9).sum(1) for n in ("with", "without")}
    top = found["accuracy, with"] - found["accuracy, without"]
    return [
        Check(
            "number of the 6 learning rates with over 90 % training accuracy, with minus without",
            usable["with"] - usable["without"],
            at_least=1,
        ),
        Check("training accuracy at learning rate 1, with minus without", top[:, 4], at_least=0.1),
        Check(
            "batch of 2: median distance of normalized values from ±1", found["sign"], at_most=1e-3
        ),
        Check(
            "training accuracy, batches of 64 minus batches of 2",
            found["accuracy, with"][:, 2] - found["batch of 2"],
            at_least=0.05,
        ),
        Check(
            "test accuracy, running averages minus statistics of batches of 2",
            found["test, 0.9, 500"] - found["test, batch of 2"],
            at_least=0.05,
        ),
        Check(
            "test accuracy, averages over 30 batches, momentum 0.9 minus 0.99",
            found["test, 0.9, 30"] - found["test, 0.99, 30"],
            at_least=0.01,
        ),
        Check(
            "test accuracy, averages over 500 batches, momentum 0.9 minus 0.99",
            found["test, 0.9, 500"] - found["test, 0.99, 500"],
            -0.02,
            0.02,
        ),
        Check("largest difference between the outputs of both functions", found["forms"], 0, 0),
    ]


def table(found: Measured) -> Table:
    """Accuracies by learning rate, and of the test."""
    rows = [
        (
            f"training, learning rate {r}",
            found["accuracy, with"][:, i],
            found["accuracy, without"][:, i],
        )
        for i, r in enumerate(RATES)
    ]
    names = {
        "training with batches of 2, learning rate 0.1": "batch of 2",
        "test, statistics of test batches of 2": "test, batch of 2",
        **{
            f"test, running averages, momentum {m}, {c} batches": f"test, {m}, {c}"
            for m in (0.9, 0.99)
            for c in (30, 500)
        },
    }
    rows += [(label, found[name], "-") for label, name in names.items()]
    return Table(("accuracy", "with batch normalization", "without"), rows)


def panels(found: Measured) -> list[Panel]:
    """Accuracies."""
    names = {"with batch normalization": "with", "without": "without"}
    curves = {label: found[f"accuracy, {name}"] for label, name in names.items()}
    source = {
        f"m = {m}, {c} batches": found[f"test, {m}, {c}"] for c in (30, 500) for m in (0.9, 0.99)
    }
    source["test batches of 2"] = found["test, batch of 2"]
    axes: Any = {"at": RATES, "x": "learning rate", "log": "x", "markers": True}
    return [
        lines("Training accuracy after 100 steps", curves, y="accuracy", **axes),
        bars("Test accuracy with running averages (momentum m)", source, x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(network, average))
