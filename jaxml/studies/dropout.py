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

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key, PyTree

MASKS, KEEP = 4000, (1.0, 0.8, 0.5, 0.2, 0.1)


def through_masks(key: Key, divided: bool) -> dict[str, Array]:
    """Returns means over masks, relative to the values without dropout."""
    first, second, third = jax.random.split(key, 3)
    x = jax.random.uniform(first, (256,), minval=0.5, maxval=1.5)
    kernel = jax.random.normal(second, (256, 64)) / 16

    def apply(x: Array, key: Key) -> Array:
        y = layers.dropout(key, x, keep_prob=0.5, train=True)
        return y if divided else 0.5 * y

    def one(key: Key) -> dict[str, Array]:
        y = apply(x, key)
        z = layers.dense(y, kernel)
        gradient = jax.grad(lambda x: apply(x, key).sum())(x)  # 1 for each unit without dropout
        return {
            "units": y,
            "sum": z,
            "ReLU": activations.relu(z),
            "gradient": gradient,
            "square": gradient**2,
        }

    mean = jax.tree.map(lambda v: v.mean(0), jax.vmap(one)(jax.random.split(third, MASKS)))
    plain = layers.dense(x, kernel)
    size = jnp.abs(plain).mean()
    return {
        "units": mean["units"].sum() / x.sum(),
        "sum": (mean["sum"] - plain).mean() / size,
        "ReLU": (mean["ReLU"] - activations.relu(plain)).mean() / activations.relu(plain).mean(),
        "gradient": mean["gradient"].mean(),
        "square": mean["square"].mean(),
    }


def measure(settings: Settings, *, divided: bool = True) -> Measured:
    """Measures means and trains; without `divided`, kept units are not divided by keep_prob."""
    found = training.for_each_seed(lambda key: through_masks(key, divided), settings)
    data, steps = training.flat_digits(200), settings.steps(400)
    params = training.for_each_seed(
        lambda key: training.dense_params(key, (64, 256, 10), initializers.he_normal()), settings
    )
    inputs = (training.batches(settings, 200, 50, steps), training.step_keys(settings, steps))
    (params, inputs), keep = training.repeat((params, inputs), KEEP, steps)

    def loss(p: PyTree, step: tuple[Array, Key, Array]) -> Array:
        rows, key, keep = step
        units = activations.relu(layers.dense(data.train[rows], **p[0]))
        units = layers.dropout(key, units, keep_prob=keep, train=True)
        return training.cross_entropy(layers.dense(units, **p[1]), data.labels[rows])

    optimizer = optax.sgd(0.05, momentum=0.9)
    trained, _ = training.descend(loss, params, (*inputs, keep), optimizer=optimizer)
    predict = jax.vmap(lambda p, x: training.mlp(p, x, activations.relu), (0, None))
    for kind, x, y in (("train", data.train, data.labels), ("test", data.test, data.test_labels)):
        scores = training.accuracy(predict(trained, x), y).reshape(len(KEEP), -1)
        found |= {f"{kind}, {k}": row for k, row in zip(KEEP, scores, strict=True)}
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def gap(found: Measured, keep: float) -> np.ndarray:
    """Returns training minus test accuracy."""
    return found[f"train, {keep}"] - found[f"test, {keep}"]


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    return [
        Check("mean of the units, relative", found["units"], 0.98, 1.02),
        Check("linear layer: shift of the mean, relative", np.abs(found["sum"]), at_most=0.02),
        Check("ReLU: shift of the mean, relative", found["ReLU"], at_least=0.03),
        Check("gradient: mean, relative", found["gradient"], 0.98, 1.02),
        Check("gradient: mean square, relative (1 / keep_prob is 2)", found["square"], 1.9, 2.1),
        Check(
            "gap without dropout minus gap at keep_prob 0.1",
            gap(found, 1.0) - gap(found, 0.1),
            -0.05,
            0.05,
        ),
    ]


def table(found: Measured) -> Table:
    """Accuracies by keep_prob."""
    rows = [
        (f"keep_prob {k}", found[f"train, {k}"], found[f"test, {k}"], gap(found, k)) for k in KEEP
    ]
    return Table(("dropout", "training accuracy", "test accuracy", "gap"), rows)


def panels(found: Measured) -> list[Panel]:
    """Accuracies, and means over masks."""
    curves = {
        kind: np.stack([found[f"{kind}, {k}"] for k in KEEP], 1) for kind in ("train", "test")
    }
    means = {
        "units": found["units"],
        "linear layer": 1 + found["sum"],
        "ReLU": 1 + found["ReLU"],
        "gradient": found["gradient"],
        "gradient squared": found["square"],
    }
    title = "Accuracy by keep_prob, 200 training images"
    return [
        lines(title, curves, at=KEEP, x="keep_prob", y="accuracy", markers=True),
        bars("Mean over masks, relative to no dropout", means, x="ratio (1: unchanged)"),
    ]


STUDY = Study(measure, checks, table, panels, code=(through_masks,))
