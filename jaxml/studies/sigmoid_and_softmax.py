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

from jaxml import activations, losses
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, pictures
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
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


def ranked(probabilities: np.ndarray, sets: np.ndarray, digits: int) -> np.ndarray:
    """Returns the fraction of the examples whose most probable classes are the right ones."""
    most_probable = probabilities.argsort(-1)[..., -digits:]
    return np.take_along_axis(sets[None], most_probable, -1).all(-1).mean(-1)


def identity_error(settings: Settings) -> np.ndarray:
    """Returns the largest difference of softmax and sigmoid, of values and gradients."""
    z = [np.random.default_rng(s).normal(size=(1000, 2)) * 5 for s in settings.seeds]

    def error(z: Array) -> Array:
        first, slope = jax.value_and_grad(lambda z: activations.softmax(z)[0])(z)
        other, other_slope = jax.value_and_grad(lambda z: activations.sigmoid(z[0] - z[1]))(z)
        return jnp.maximum(jnp.abs(first - other), jnp.abs(slope - other_slope).max())

    return np.asarray(jax.jit(jax.vmap(jax.vmap(error)))(jnp.asarray(z, jnp.float32))).max(1)


def train(settings: Settings, name: str, x: np.ndarray, sets: np.ndarray, test: Any) -> np.ndarray:
    """Trains a network with an output, and returns its probabilities for the test images."""
    inputs, targets = jnp.asarray(x), jnp.asarray(sets)

    def risk(p: PyTree, rows: Array) -> Array:
        return LOSSES[name](training.mlp(p, inputs[rows]), targets[rows]).mean()

    params = training.he_params(settings, (64, 128, 10))
    rows = training.batches(settings, len(x), 64, settings.steps(600))
    trained, _ = training.descend(risk, params, rows, optimizer=optax.adam(3e-3))
    logits = jax.vmap(lambda p: training.mlp(p, jnp.asarray(test)))(trained)
    return np.asarray(PROBABILITIES[name](logits))


def measure(settings: Settings, *, digits_per_image: int = 2) -> Measured:
    """Trains both outputs on single digits, and on images of several."""
    x, y, test, test_y = (np.asarray(a) for a in training.flat_digits())
    eye = np.eye(10, dtype=np.float32)
    single = (x, eye[y], test, eye[test_y])
    double = (*overlay(x, y, 6000, seed=0), *overlay(test, test_y, 1000, seed=1))
    tasks = {1: single, 2: double if digits_per_image == 2 else single}
    found = {"error": identity_error(settings)}
    for digits, (images, sets, test_images, test_sets) in tasks.items():
        for output in LOSSES:
            name = f"{output}, {digits} digit{'s' * (digits > 1)}"
            p = train(settings, output, images, sets, test_images)
            found[f"ranked, {name}"] = ranked(p, test_sets, digits)
            found[f"exact, {name}"] = exact(p, test_sets, 0.5)
            found[f"lower, {name}"] = exact(p, test_sets, 0.25)
    found["images"] = settings.constant(tasks[2][2][:4].reshape(4, 8, 8))
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    gap = found["ranked, softmax, 1 digit"] - found["ranked, sigmoids, 1 digit"]
    sets, two = part(found, "exact"), "two digits, threshold 0.5: sets found by"
    return [
        Check("largest difference of softmax (2 logits) and sigmoid", found["error"], at_most=1e-6),
        Check("one digit: accuracy of the softmax minus that of ten sigmoids", gap, -0.03, 0.03),
        Check(f"{two} the softmax", sets["softmax, 2 digits"], at_most=0.01),
        Check(f"{two} ten sigmoids", sets["sigmoids, 2 digits"], at_least=0.3),
    ]


def table(found: Measured) -> Table:
    """Accuracies by output and task."""
    columns = {
        "right classes ranked first": part(found, "ranked"),
        "exact set, threshold 0.5": part(found, "exact"),
        "threshold 0.25": part(found, "lower"),
    }
    return Table.of("output, digits an image", columns)


def panels(found: Measured) -> list[Panel]:
    """Examples, and fractions of exact sets."""
    title = "Exact set of classes by a threshold of 0.5"
    return [
        pictures("Two overlaid digits", found["images"][0], [""] * 4, columns=4),
        bars(title, part(found, "exact"), x="fraction of test images"),
    ]


STUDY = Study(measure, checks, table, panels, code=(overlay, exact))
