"""Sigmoid for two classes, softmax for many.

Claim: Two classes need a sigmoid, and more classes need a softmax.

Formula:
  softmax(a, b)_1 = e^a / (e^a + e^b) = 1 / (1 + e^{−(a − b)}) = σ(a − b)
  softmax over K classes: the probabilities sum to 1.   K sigmoids: any subset of the classes

Measured: The largest difference between the softmax over two logits and the sigmoid of their
difference, for values and gradients. On the digits, ten sigmoids and a softmax are trained alike.
Then the task changes: two digits of different classes are overlaid, pixel by pixel the brighter
one, and both are to be named. The softmax is trained with half the probability on each; an image
counts if exactly its two classes have a probability of at least 0.5 (0.25 in a second count).

Verdict: holds only when every example has exactly one class. For two classes, both are the same
function, and one logit suffices. For labels that do not exclude each other, a sigmoid for each
class is right: no two classes can both exceed one half of a softmax, and its threshold depends on
how many classes are present.

Next: Overlay three digits, without changing the thresholds. Train the softmax with two logits and
the sigmoid with one at the same learning rate: why does the softmax learn twice as fast?
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import activations, initializers, losses
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, pictures
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, PyTree


def overlay(x: np.ndarray, y: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of different digits, and the set of their classes as `[count, 10]`."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, len(x), (3 * count, 2))
    pairs = pairs[y[pairs[:, 0]] != y[pairs[:, 1]]][:count]
    return np.maximum(x[pairs[:, 0]], x[pairs[:, 1]]), np.eye(10, dtype=np.float32)[y[pairs]].sum(1)


LOSSES = {  # of the logits, and the set of classes as `[..., 10]`
    "softmax": lambda z, s: losses.softmax_cross_entropy(z, s / s.sum(-1, keepdims=True)),
    "sigmoids": lambda z, s: losses.sigmoid_cross_entropy(z, s).sum(-1),
}
PROBABILITIES = {"softmax": activations.softmax, "sigmoids": activations.sigmoid}


def exact(probabilities: np.ndarray, sets: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the fraction of the examples whose set of classes is predicted exactly."""
    return ((probabilities >= threshold) == (sets > 0)).all(-1).mean(-1)


def identity_error(settings: Settings) -> np.ndarray:
    """Returns the largest difference of softmax and sigmoid, of values and gradients."""
    z = [np.random.default_rng(s).normal(size=(1000, 2)) * 5 for s in settings.seeds]

    def error(z: Array) -> Array:
        pair = (activations.softmax(z)[0], activations.sigmoid(z[0] - z[1]))
        slopes = (
            jax.grad(lambda z: activations.softmax(z)[0])(z),
            jax.grad(lambda z: activations.sigmoid(z[0] - z[1]))(z),
        )
        return jnp.maximum(jnp.abs(pair[0] - pair[1]), jnp.abs(slopes[0] - slopes[1]).max())

    return np.asarray(jax.jit(jax.vmap(jax.vmap(error)))(jnp.asarray(z, jnp.float32))).max(1)


def measure(settings: Settings, *, digits_per_image: int = 2) -> Measured:
    """Trains both outputs on single digits, and on images of several."""
    data, steps = training.flat_digits(), settings.steps(600)
    found = {"error": identity_error(settings)}
    single = [np.eye(10, dtype=np.float32)[np.asarray(y)] for y in (data.labels, data.test_labels)]
    sets = {1: (np.asarray(data.train), single[0], np.asarray(data.test), single[1])}
    pairs = (
        *overlay(sets[1][0], np.asarray(data.labels), 6000, 0),
        *overlay(sets[1][2], np.asarray(data.test_labels), 1000, 1),
    )
    sets[2] = pairs if digits_per_image == 2 else sets[1]
    params = training.for_each_seed(
        lambda key: training.dense_params(key, (64, 128, 10), initializers.he_normal()), settings
    )
    for digits, (x, s, test_x, test_s) in sets.items():
        rows = training.batches(settings, len(x), 64, steps)
        for name, loss in LOSSES.items():

            def risk(p: PyTree, rows: Array, loss: Any = loss, x: Any = x, s: Any = s) -> Array:
                logits = training.mlp(p, jnp.asarray(x)[rows], activations.relu)
                return loss(logits, jnp.asarray(s)[rows]).mean()

            trained, _ = training.descend(risk, params, rows, optimizer=optax.adam(3e-3))
            logits = jax.vmap(lambda p: training.mlp(p, jnp.asarray(test_x), activations.relu))
            p = np.asarray(PROBABILITIES[name](logits(trained)))
            top = np.take_along_axis(test_s[None], p.argsort(-1)[..., -digits:], -1)
            found[f"ranked, {name}, {digits}"] = top.all(-1).mean(-1)
            found[f"exact, {name}, {digits}"] = exact(p, test_s, 0.5)
            found[f"lower, {name}, {digits}"] = exact(p, test_s, 0.25)
    found["images"] = np.stack([sets[2][2][:4].reshape(4, 8, 8)] * len(settings.seeds))
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    gap = found["ranked, softmax, 1"] - found["ranked, sigmoids, 1"]
    return [
        Check("largest difference of softmax (2 logits) and sigmoid", found["error"], at_most=1e-6),
        Check("one digit: accuracy of the softmax minus that of ten sigmoids", gap, -0.03, 0.03),
        Check(
            "two digits, threshold 0.5: sets found by the softmax",
            found["exact, softmax, 2"],
            at_most=0.01,
        ),
        Check(
            "two digits, threshold 0.5: sets found by ten sigmoids",
            found["exact, sigmoids, 2"],
            at_least=0.3,
        ),
    ]


def table(found: Measured) -> Table:
    """Accuracies by output and task."""
    rows = [
        (
            f"{name}, {digits} digit{'s' * (digits > 1)} an image",
            *(found[f"{kind}, {name}, {digits}"] for kind in ("ranked", "exact", "lower")),
        )
        for digits in (1, 2)
        for name in LOSSES
    ]
    header = ("output", "right classes ranked first", "exact set, threshold 0.5", "threshold 0.25")
    return Table(header, rows)


def panels(found: Measured) -> list[Panel]:
    """Examples, and fractions of exact sets."""
    values = {
        f"{name}, {digits} digit{'s' * (digits > 1)}": found[f"exact, {name}, {digits}"]
        for digits in (1, 2)
        for name in LOSSES
    }
    title = "Exact set of classes by a threshold of 0.5"
    return [
        pictures("Two overlaid digits", found["images"][0], [""] * 4, columns=4),
        bars(title, values, x="fraction of test images"),
    ]


STUDY = Study(measure, checks, table, panels, code=(overlay, exact))
