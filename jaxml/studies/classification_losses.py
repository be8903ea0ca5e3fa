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
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array

Z = np.linspace(-12, 12, 97, dtype=np.float32)


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
    data, draws = {}, settings.steps(200)

    def risk(name: str, w: Array) -> Array:
        return LOSSES[name](layers.dense(x, w[:, None])[:, 0], y).mean()

    def hidden(w: Array) -> Array:
        units = activations.tanh(layers.dense(x, w[:40].reshape(10, 4)))
        return losses.sigmoid_cross_entropy(layers.dense(units, w[40:, None])[:, 0], y).mean()

    rng = [np.random.default_rng(seed) for seed in settings.seeds]
    norms = np.geomspace(0.1, 30, draws)[None, :, None]
    draw = np.stack([r.normal(size=(draws, 44)) for r in rng])
    draw = (norms * draw / np.linalg.norm(draw, axis=-1, keepdims=True)).astype(np.float32)
    risks = {
        "convex": lambda w: risk(convex, w[:10]),
        "squared": lambda w: risk("squared error", w[:10]),
        "hidden": hidden,
    }
    for name, function in risks.items():
        sizes = draw if name == "hidden" else draw[..., :10]
        curvature = jax.jit(jax.vmap(lambda w: smallest_curvature(function, w)))
        data[f"curvature, {name}"] = np.stack([np.asarray(curvature(w)) for w in sizes])
    good = -np.ones(10, np.float32)  # all ten features are larger in malignant samples
    wrong = -3 * good + np.stack([0.3 * r.normal(size=10) for r in rng])
    steps = jnp.zeros((len(rng), settings.steps(200)))
    for name in LOSSES:
        start = jnp.asarray(wrong, jnp.float32)
        _, data[f"descent, {name}"] = training.descend(
            lambda w, _: risk(name, w),
            start,
            steps,
            optimizer=optax.sgd(0.5),
            record=lambda w: ((layers.dense(x, w[:, None])[:, 0] > 0) == (y > 0)).mean(
                dtype=x.dtype
            ),
        )
    for name, loss in LOSSES.items():
        slope = jax.jit(jax.vmap(jax.grad(lambda z: loss(z, jnp.float32(1)))))(Z)
        data[f"slope, {name}"] = np.tile(np.asarray(slope), (len(rng), 1))
    return jax.tree.map(np.asarray, data)


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    ratio = found["slope, cross-entropy"][:, 8] / found["slope, squared error"][:, 8]
    gain = found["descent, cross-entropy"][:, -1] - found["descent, squared error"][:, -1]
    low = "smallest eigenvalue of the Hessian, relative to the largest magnitude"
    return [
        Check("slope of the cross-entropy over that of the squared error at z = −10", ratio, 1000),
        Check(f"{low}: cross-entropy", found["curvature, convex"].min(1), at_least=-1e-4),
        Check(f"{low}: squared error", found["curvature, squared"].min(1), at_most=-0.1),
        Check(
            f"{low}: hidden layer, cross-entropy", found["curvature, hidden"].min(1), at_most=-0.01
        ),
        Check("accuracy gained by the cross-entropy from a wrong start", gain, at_least=0.1),
    ]


def table(found: Measured) -> Table:
    """Curvatures and accuracies."""
    names = {"cross-entropy": "convex", "squared error": "squared"}
    return Table(
        (
            "loss of a sigmoid",
            "derivative at z = −10, y = 1",
            "smallest relative curvature",
            "fraction of weights with negative curvature",
            "accuracy from a wrong start",
        ),
        [
            (
                name,
                found[f"slope, {name}"][:, 8],
                found[f"curvature, {key}"].min(1),
                (found[f"curvature, {key}"] < -1e-4).mean(1),
                found[f"descent, {name}"][:, -1],
            )
            for name, key in names.items()
        ],
    )


def smallest_of_ten(curvature: np.ndarray) -> np.ndarray:
    """Returns the smallest of every ten values of the last axis."""
    return np.minimum.reduceat(curvature, range(0, curvature.shape[1], 10), axis=1)


def panels(found: Measured) -> list[Panel]:
    """Derivatives, curvatures and descents."""
    norms = np.geomspace(0.1, 30, found["curvature, squared"].shape[1])[::10]
    slopes = {name: found[f"slope, {name}"] for name in LOSSES}
    curves = {
        "cross-entropy": smallest_of_ten(found["curvature, convex"]),
        "squared error": smallest_of_ten(found["curvature, squared"]),
        "cross-entropy, hidden layer": smallest_of_ten(found["curvature, hidden"]),
    }
    descents = {name: found[f"descent, {name}"] for name in LOSSES}
    least = "Smallest eigenvalue of the Hessian, the least of 10 weights"
    axes: Any = {"x": "norm of the weights", "y": "relative to the largest", "log": "x"}
    return [
        lines("Derivative of the loss for the label 1", slopes, at=Z, x="logit z", y="slope"),
        lines(least, curves, at=norms, **axes),
        lines("Descent from confidently wrong weights", descents, y="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(squared, smallest_curvature))
