"""Dropout and the division by keep_prob.

Claim: Dividing the kept units by keep_prob keeps the mean, so that nothing has to be rescaled for
the test. Dropout reduces the gap between training and test accuracy.

Formula:
  y_i = x_i m_i / p,   m_i ~ Bernoulli(p):   E y_i = x_i,   Var y_i = x_i^2 (1 − p) / p
  ∂L/∂x_i = (m_i / p) ∂L/∂y_i:   the mean is ∂L/∂y_i, the mean square (∂L/∂y_i)^2 / p

Measured: The mean over 4,000 masks of one vector of 256 units with keep_prob 0.5: of the units, of
a sum of them (a linear layer), of the ReLU of 64 such sums, and of the gradient and its square.
Then a network with 256 hidden units learns 200 digits with dropout on the units, and is tested on
360.

Verdict: holds only when the next function is linear. The mean is kept, as the mean of a linear
layer and of the gradient; behind a ReLU, the mean with dropout is larger than the value without
(Jensen's inequality), so that the network of the test is an approximation of the mean over all
masks. The second half of the claim is not supported here: between no dropout and a keep_prob of
0.1, the gap changes by less than 5 points, and five seeds do not tell in which direction.

Next: Average the predictions over 100 masks at test time, and compare with the usual test. Add
batch normalization behind dropout: its running variance contains the variance of the masks.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import activations, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, Key, PyTree

MASKS, KEEP = 4000, (1.0, 0.8, 0.5, 0.2, 0.1)


def through_masks(key: Key, divided: bool) -> dict[str, Array]:
    """Returns means over masks with keep_prob 0.5, relative to the values without dropout."""
    first, second, third = jax.random.split(key, 3)
    x = jax.random.uniform(first, (256,), minval=0.5, maxval=1.5)
    kernel = jax.random.normal(second, (256, 64)) / 16

    def drop(x: Array, key: Key) -> Array:
        y = layers.dropout(key, x, keep_prob=0.5, train=True)
        return y if divided else 0.5 * y

    def one_mask(key: Key) -> dict[str, Array]:
        y = drop(x, key)
        z = layers.dense(y, kernel)
        gradient = jax.grad(lambda x: drop(x, key).sum())(x)  # 1 for each unit without dropout
        squared = gradient**2
        return {
            "units": y,
            "linear": z,
            "ReLU": activations.relu(z),
            "gradient": gradient,
            "gradient squared": squared,
        }

    values = jax.vmap(one_mask)(jax.random.split(third, MASKS))
    mean = {name: value.mean(0) for name, value in values.items()}
    plain = layers.dense(x, kernel)
    relu = activations.relu(plain)
    return {
        "mean, units": mean["units"].sum() / x.sum(),
        "mean, linear layer": 1 + (mean["linear"] - plain).mean() / jnp.abs(plain).mean(),
        "mean, ReLU": 1 + (mean["ReLU"] - relu).mean() / relu.mean(),
        "mean, gradient": mean["gradient"].mean(),
        "mean, gradient squared": mean["gradient squared"].mean(),
    }


def measure(settings: Settings, *, divided: bool = True) -> Measured:
    """Measures means and trains; without `divided`, kept units are not divided by keep_prob."""
    found = training.for_each_seed(lambda key: through_masks(key, divided), settings)
    data, steps = training.flat_digits(200), settings.steps(400)
    params = training.he_params(settings, (64, 256, 10))
    inputs = (training.batches(settings, 200, 50, steps), training.step_keys(settings, steps))

    def loss(p: PyTree, step: tuple[Array, Key], keep: Array) -> Array:
        rows, key = step
        units = activations.relu(layers.dense(data.train[rows], **p[0]))
        units = layers.dropout(key, units, keep_prob=keep, train=True)
        return training.cross_entropy(layers.dense(units, **p[1]), data.labels[rows])

    optimizer = optax.sgd(0.05, momentum=0.9)
    trained, _ = training.descend_with_each(KEEP, loss, params, inputs, optimizer=optimizer)
    logits = jax.vmap(jax.vmap(training.mlp, (0, None)), (0, None))  # [keep_probs, seeds]
    train = training.accuracy(logits(trained, data.train), data.labels)
    test = training.accuracy(logits(trained, data.test), data.test_labels)
    for i, keep in enumerate(KEEP):
        name = f"keep_prob {keep}"
        found |= {f"train, {name}": train[i], f"test, {name}": test[i]}
        found[f"gap, {name}"] = train[i] - test[i]
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    mean, gap = part(found, "mean"), part(found, "gap")
    linear, square = np.abs(mean["linear layer"] - 1), mean["gradient squared"]
    closed = gap["keep_prob 1.0"] - gap["keep_prob 0.1"]
    return [
        Check("mean of the units, relative", mean["units"], 0.98, 1.02),
        Check("linear layer: shift of the mean, relative", linear, at_most=0.02),
        Check("ReLU: shift of the mean, relative", mean["ReLU"] - 1, at_least=0.03),
        Check("gradient: mean, relative", mean["gradient"], 0.98, 1.02),
        Check("gradient: mean square, relative (1 / keep_prob is 2)", square, 1.9, 2.1),
        Check("gap without dropout minus gap at keep_prob 0.1", closed, -0.05, 0.05),
    ]


def table(found: Measured) -> Table:
    """Accuracies by keep_prob."""
    columns = {
        "training accuracy": part(found, "train"),
        "test accuracy": part(found, "test"),
        "gap": part(found, "gap"),
    }
    return Table.of("dropout", columns)


def panels(found: Measured) -> list[Panel]:
    """Accuracies, and means over masks."""
    curves = {kind: np.stack([*part(found, kind).values()], 1) for kind in ("train", "test")}
    title = "Accuracy by keep_prob, 200 training images"
    return [
        lines(title, curves, at=KEEP, x="keep_prob", y="accuracy", markers=True),
        bars("Mean over masks, relative to no dropout", part(found, "mean"), x="ratio"),
    ]


STUDY = Study(measure, checks, table, panels, code=(through_masks,))
