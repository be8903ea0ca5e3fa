"""Squared error and cross-entropy for classification.

Claim: Classification uses the cross-entropy, because the gradient of the squared error vanishes at
a saturated sigmoid. With a sigmoid, the cross-entropy of logistic regression is not convex.

Formula:
  p = σ(z),   z = w · x,   label y in {0, 1}
  squared error (p − y)^2:   its derivative in z is 2 (p − y) p (1 − p), nearly 0 for p near 0 or 1
  cross-entropy:   its derivative in z is p − y, its second derivative p (1 − p) ≥ 0
  Hessian of the cross-entropy in w:   X^T diag(p (1 − p)) X / n, positive semidefinite for every w

Measured: The derivatives at logits from −12 to 12 for the label 1. The Hessian of both losses on
the standardized breast-cancer set, at 200 random weights of norms from 0.1 to 30: a negative
eigenvalue anywhere proves that a loss is not convex, and none can occur if it is convex. The
Hessian of the cross-entropy of a network with a hidden layer. Gradient descent from weights that
are confidently wrong: minus 3 times a vector that classifies well.

Verdict: does not hold: the first half is right, the second is the wrong way round. The
cross-entropy of a sigmoid is convex in the weights of logistic regression, and it is the squared
error of a sigmoid that is not convex. The cross-entropy becomes non-convex with a hidden layer. The
squared error without a sigmoid is convex, too.

Next: Replace the sigmoid by a softmax over ten digits. Start the descent at other wrong weights.
Plot the smallest eigenvalue of the hidden-layer network during training.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

from jaxml import activations, layers, losses
from jaxml.studies import _training as training
from jaxml.studies._panels import lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array

Z = np.linspace(-12, 12, 97, dtype=np.float32)
MINUS_TEN = 8  # its position


def squared(logits: Array, labels: Array) -> Array:
    """Squared error of the probabilities."""
    return losses.squared_error(activations.sigmoid(logits), labels)


LOSSES = {"cross-entropy": losses.sigmoid_cross_entropy, "squared error": squared}


def smallest_curvature(risk: Callable[[Array], Array], weights: Array) -> Array:
    """Returns the smallest eigenvalue of the Hessian, relative to the largest magnitude."""
    eigenvalues = jnp.linalg.eigvalsh(jax.hessian(risk)(weights))
    return eigenvalues[0] / jnp.abs(eigenvalues).max()


def load() -> tuple[Array, Array]:
    """Returns the first ten features of the breast-cancer set, standardized, and the labels."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x[:, :10] - x[:, :10].mean(0)) / x[:, :10].std(0)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def measure(settings: Settings, *, convex: str = "cross-entropy") -> Measured:
    """Measures curvatures; `convex` names the loss that is to be convex."""
    x, y = load()

    def logits(w: Array) -> Array:
        return layers.dense(x, w[:, None])[:, 0]

    def risk(name: str, w: Array) -> Array:
        return LOSSES[name](logits(w), y).mean()

    def hidden(w: Array) -> Array:
        """Computes the cross-entropy of a network of 4 hidden units with 44 weights."""
        units = activations.tanh(layers.dense(x, w[:40].reshape(10, 4)))
        return losses.sigmoid_cross_entropy(layers.dense(units, w[40:, None])[:, 0], y).mean()

    def accuracy(w: Array) -> Array:
        return ((logits(w) > 0) == (y > 0)).mean(dtype=x.dtype)

    risks = {
        "cross-entropy": lambda w: risk(convex, w[:10]),
        "squared error": lambda w: risk("squared error", w[:10]),
        "cross-entropy, hidden layer": hidden,
    }
    draws, rngs = settings.steps(200), [np.random.default_rng(seed) for seed in settings.seeds]
    norms = np.geomspace(0.1, 30, draws)[None, :, None]
    draw = np.stack([rng.normal(size=(draws, 44)) for rng in rngs])
    draw = (norms * draw / np.linalg.norm(draw, axis=-1, keepdims=True)).astype(np.float32)
    good = -np.ones(10, np.float32)  # all ten features are larger in malignant samples
    wrong = -3 * good + np.stack([0.3 * rng.normal(size=10) for rng in rngs])
    start, steps = jnp.asarray(wrong, jnp.float32), jnp.zeros((len(rngs), settings.steps(200)))
    found = {}
    for name, function in risks.items():
        weights = draw if function is hidden else draw[..., :10]
        curvature = jax.jit(jax.vmap(lambda w: smallest_curvature(function, w)))
        found[f"curvature, {name}"] = np.stack([np.asarray(curvature(w)) for w in weights])
    for name, loss in LOSSES.items():
        _, history = training.descend(
            lambda w, _: risk(name, w), start, steps, optimizer=optax.sgd(0.5), record=accuracy
        )
        slope = jax.jit(jax.vmap(jax.grad(lambda z: loss(z, jnp.float32(1)))))(Z)
        found[f"accuracy, {name}"] = np.asarray(history)
        found[f"slope, {name}"] = settings.constant(slope)
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    slope, least = part(found, "slope"), smallest(found)
    ratio = slope["cross-entropy"][:, MINUS_TEN] / slope["squared error"][:, MINUS_TEN]
    last = {name: history[:, -1] for name, history in part(found, "accuracy").items()}
    gain = last["cross-entropy"] - last["squared error"]
    low = "smallest eigenvalue of the Hessian, relative to the largest magnitude"
    hidden = least["cross-entropy, hidden layer"]
    return [
        Check("slope of the cross-entropy over that of the squared error at z = −10", ratio, 1000),
        Check(f"{low}: cross-entropy", least["cross-entropy"], at_least=-1e-4),
        Check(f"{low}: squared error", least["squared error"], at_most=-0.1),
        Check(f"{low}: hidden layer, cross-entropy", hidden, at_most=-0.01),
        Check("accuracy gained by the cross-entropy from a wrong start", gain, at_least=0.1),
    ]


def smallest(found: Measured) -> dict[str, np.ndarray]:
    """Returns the smallest curvature at any weights."""
    return {name: values.min(1) for name, values in part(found, "curvature").items()}


def table(found: Measured) -> Table:
    """Curvatures and accuracies."""
    negative = {n: (values < -1e-4).mean(1) for n, values in part(found, "curvature").items()}
    columns = {
        "derivative at z = −10, y = 1": {
            name: slope[:, MINUS_TEN] for name, slope in part(found, "slope").items()
        },
        "smallest relative curvature": smallest(found),
        "fraction of weights with negative curvature": negative,
        "accuracy from a wrong start": {
            name: history[:, -1] for name, history in part(found, "accuracy").items()
        },
    }
    return Table.of("loss of a sigmoid", columns)


def panels(found: Measured) -> list[Panel]:
    """Derivatives, curvatures and descents."""
    curvature = part(found, "curvature")
    starts = range(0, curvature["squared error"].shape[1], 10)
    norms = np.geomspace(0.1, 30, curvature["squared error"].shape[1])[::10]
    curves = {n: np.minimum.reduceat(x, starts, axis=1) for n, x in curvature.items()}
    derivative = "Derivative of the loss for the label 1"
    least = "Smallest eigenvalue of the Hessian, the least of 10 weights"
    axes: Any = {"x": "norm of the weights", "y": "relative to the largest", "log": "x"}
    return [
        lines(derivative, part(found, "slope"), at=Z, x="logit z", y="slope"),
        lines(least, curves, at=norms, **axes),
        lines("Descent from confidently wrong weights", part(found, "accuracy"), y="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(squared, smallest_curvature))
