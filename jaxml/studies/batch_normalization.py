"""Batch normalization.

Claim: Batch normalization allows larger learning rates. In training it uses the statistics of the
batch, in the test running averages of them. Small batches hurt. Several functions compute it.

Formula:
  y = γ (x − μ_B) / √(σ_B^2 + ε) + β   with the mean μ_B and the variance σ_B^2 of the batch
  running average with momentum m:   μ ← m μ + (1 − m) μ_B,   and so for the variance
  a batch of x_1 and x_2:   (x_1 − μ_B) / σ_B = ((x_1 − x_2) / 2) / (|x_1 − x_2| / 2) = ±1

Measured: Networks of 5 hidden layers of 64 ReLU units, with and without batch normalization (here
with γ and without β), learn the digits for 100 steps of 64 images at six learning rates. Their
training accuracies use the statistics of all training images as one batch. The network that was
trained at learning rate 0.1 is tested with running averages over 30 or 500 training batches, with
momentum 0.9 and with 0.99 (the default of Keras), and with the statistics of test batches of 2
images. A network trained on equally many images, but in batches of 2, shows the effect on training;
normalized pairs of random values show its cause. Last, `batch_norm_with_global_normalization` and
`batch_normalization` get the same inputs.

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
from jax import lax

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, Key, PyTree

RATES, SIZES, EPSILON = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), (64, *[64] * 5, 10), 1e-3
Moments = tuple[Array, Array]  # mean and variance


def network(
    params: PyTree, x: Array, normalized: bool, running: Sequence[Moments] | None = None
) -> tuple[Array, list[Moments]]:
    """Returns the logits and the batch statistics of each layer.

    The layers normalize by the statistics of the batch, or by `running` averages where these are
    given. Normalization cancels the bias of the dense layer, and has no offset.
    """
    batch: list[Moments] = []
    for number, layer in enumerate(params[:-1]):
        x = layers.dense(x, layer["kernel"], layer["bias"])
        if normalized:
            batch.append(layers.moments(x, [0]))
            mean, variance = batch[-1] if running is None else running[number]
            x = layers.batch_normalization(x, mean, variance, None, layer["scale"], EPSILON)
        x = activations.relu(x)
    return layers.dense(x, **params[-1]), batch


def running_averages(params: PyTree, x: Array, rows: Array, momentum: float) -> list[Moments]:
    """Returns running averages over batches, from mean 0 and variance 1, as Keras computes them."""

    def update(running: list[Moments], rows: Array) -> tuple[list[Moments], None]:
        _, batch = network(params, x[rows], True)
        return [
            layers.running_statistics_keras(r, b, momentum=momentum)
            for r, b in zip(running, batch, strict=True)
        ], None

    start = [(jnp.zeros(size), jnp.ones(size)) for size in SIZES[1:-1]]
    return lax.scan(update, start, rows)[0]


def start(key: Key) -> PyTree:
    """Draws the parameters, with a scale for each hidden layer."""
    params = training.dense_params(key, SIZES, initializers.he_normal())
    return [{**p, "scale": jnp.ones(64)} for p in params[:-1]] + params[-1:]


def normalize_pair(x: Array) -> tuple[Array, Array]:
    """Normalizes a batch of 2: the median distance from ±1, and the difference of two functions."""
    mean, variance = layers.moments(x, [0])
    inputs = (x, mean, variance, None, None, 1e-7)  # no offset, no scale, ε
    one = layers.batch_normalization(*inputs)
    other = layers.batch_norm_with_global_normalization(*inputs, True)
    return jnp.median(jnp.abs(jnp.abs(one) - 1)), jnp.abs(one - other).max()


def measure_tests(settings: Settings, data: training.Images, params: PyTree) -> Measured:
    """Tests trained networks with running averages, and with the statistics of batches of 2."""

    def with_averages(momentum: float, count: int) -> np.ndarray:
        def logits(p: PyTree, rows: Array) -> Array:
            running = running_averages(p, data.train, rows, momentum)
            return network(p, data.test, True, running)[0]

        rows = training.batches(settings, len(data.train), 64, count)
        return training.accuracy(jax.jit(jax.vmap(logits))(params, rows), data.test_labels)

    def logits_in_pairs(p: PyTree) -> Array:
        pairs = data.test.reshape(-1, 2, 64)
        return jax.vmap(lambda x: network(p, x, True)[0])(pairs).reshape(-1, 10)

    found = {
        f"test, m = {momentum}, {count} batches": with_averages(momentum, count)
        for count in (30, 500)
        for momentum in (0.9, 0.99)
    }
    outputs = jax.jit(jax.vmap(logits_in_pairs))(params)
    return {**found, "test, batches of 2": training.accuracy(outputs, data.test_labels)}


def measure(settings: Settings, *, normalized: bool = True) -> Measured:
    """Trains all networks; without `normalized`, none has batch normalization."""
    data, steps = training.flat_digits(), settings.steps(100)
    params = training.for_each_seed(start, settings)

    def train(norm: bool, rates: Sequence[float], rows: Array) -> tuple[PyTree, np.ndarray]:
        def logits(p: PyTree, x: Array) -> Array:
            return network(p, x, norm)[0]

        loss = training.mean_loss(logits, data)
        trained, _ = training.descend_at_rates(rates, loss, params, rows)
        outputs = jax.vmap(jax.vmap(logits, (0, None)), (0, None))(trained, data.train)
        outputs = jnp.nan_to_num(outputs)  # of networks that diverged
        return trained, training.accuracy(outputs, data.labels).T  # [seeds, rates]

    rows = training.batches(settings, len(data.train), 64, steps)
    trained, with_norm = train(normalized, RATES, rows)
    _, without = train(False, RATES, rows)
    pairs = training.batches(settings, len(data.train), 2, 32 * steps)  # as many images
    _, of_two = train(normalized, (0.1,), pairs)
    at_tenth = jax.tree.map(lambda leaf: leaf[RATES.index(0.1)], trained)
    x = [np.random.default_rng(s).normal(size=(2, 64)) for s in settings.seeds]
    distance, difference = jax.vmap(normalize_pair)(jnp.asarray(np.stack(x), jnp.float32))
    return {
        "rates, with batch normalization": with_norm,
        "rates, without": without,
        "batch of 2": of_two[:, 0],
        **measure_tests(settings, data, at_tenth),
        "distance": np.asarray(distance),
        "difference": np.asarray(difference),
    }


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    with_norm, without = part(found, "rates").values()
    usable = (with_norm > 0.9).sum(1) - (without > 0.9).sum(1)
    at_one = (with_norm - without)[:, RATES.index(1.0)]
    lost = with_norm[:, RATES.index(0.1)] - found["batch of 2"]
    test, distance = part(found, "test"), found["distance"]
    lost_test = test["m = 0.9, 500 batches"] - test["batches of 2"]
    early = test["m = 0.9, 30 batches"] - test["m = 0.99, 30 batches"]
    late = test["m = 0.9, 500 batches"] - test["m = 0.99, 500 batches"]
    equal = "largest difference between the outputs of both functions"
    return [
        Check(
            "number of the 6 learning rates with over 90 % training accuracy, with minus without",
            usable,
            at_least=1,
        ),
        Check("training accuracy at learning rate 1, with minus without", at_one, at_least=0.1),
        Check("batch of 2: median distance of normalized values from ±1", distance, at_most=1e-3),
        Check("training accuracy, batches of 64 minus batches of 2", lost, at_least=0.05),
        Check(
            "test accuracy, running averages minus statistics of batches of 2",
            lost_test,
            at_least=0.05,
        ),
        Check("test accuracy, averages over 30 batches, momentum 0.9 minus 0.99", early, 0.01),
        Check(
            "test accuracy, averages over 500 batches, momentum 0.9 minus 0.99", late, -0.02, 0.02
        ),
        Check(equal, found["difference"], 0, 0),
    ]


def table(found: Measured) -> Table:
    """Accuracies by learning rate, and of the test."""
    with_norm, without = part(found, "rates").values()
    rows: list[tuple[Any, ...]] = [
        (f"training, learning rate {rate}", with_norm[:, i], without[:, i])
        for i, rate in enumerate(RATES)
    ]
    rows.append(("training with batches of 2, learning rate 0.1", found["batch of 2"], "-"))
    rows += [(f"test, {source}", values, "-") for source, values in part(found, "test").items()]
    return Table(("accuracy", "with batch normalization", "without"), rows)


def panels(found: Measured) -> list[Panel]:
    """Accuracies."""
    axes: Any = {"at": RATES, "x": "learning rate", "log": "x", "markers": True}
    tests = "Test accuracy with running averages (momentum m)"
    return [
        lines("Training accuracy after 100 steps", part(found, "rates"), y="accuracy", **axes),
        bars(tests, part(found, "test"), x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(network, running_averages))
