"""Input normalization and the number of iterations.

Claim: Normalized inputs make gradient descent converge in fewer iterations, because the level sets
of the loss become rounder.

Formula:
  H = X^T X / n (with a column of ones for the bias),   κ = λ_{max} / λ_{min}
  w ← w − ∇ / λ_{max}:   the error along eigenvector i is multiplied by 1 − λ_i / λ_{max}

Measured: Linear regression on the ten raw features of the diabetes set (age in years, blood
pressure in mmHg, ...), on bootstrap samples. For each normalization, gradient descent uses the
largest safe learning rate, 1 / λ_{max}, so that none profits from tuning. We count the iterations
until 99 % of the possible decrease of the loss is reached, up to 20,000, and compute the condition
number κ.

Verdict: holds. Standardized inputs need at least ten times fewer iterations than raw ones, which do
not arrive at all within the limit. Two details matter: scaling to [0, 1] helps less, because it
leaves a mean that couples the weights with the bias; and standardizing removes different units, not
correlations, so that κ stays above 100 here, and only whitening makes it 1.

Next: Tune the learning rate, and see by how much it can exceed 1 / λ_{max}. Replace gradient
descent by Adam, which rescales each weight itself. Normalize the targets as well.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from sklearn.datasets import load_diabetes

from jaxml import layers, losses, normalize
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array

METHODS = {
    "raw": lambda x: x,
    "to [0, 1]": lambda x: normalize.MinMaxScaling.fit(x).apply(jnp.asarray(x)),
    "standardized": lambda x: normalize.ChannelStandardization.fit(x).apply(jnp.asarray(x)),
    "whitened": lambda x: normalize.PCAWhitening.fit(x, epsilon=1e-9).apply(jnp.asarray(x)),
}
LIMIT = 20_000
SHOWN = np.geomspace(1, LIMIT - 1, 80)  # iterations in the figure


def condition(design: np.ndarray) -> tuple[float, float]:
    """Returns the largest eigenvalue of the Hessian, and its condition number."""
    values = np.linalg.eigvalsh(design.T @ design / len(design))
    return values[-1], values[-1] / values[0]


@jax.jit
def excess(design: Array, y: Array, rate: Array, best: Array) -> Array:
    """Returns the loss above its minimum in each iteration, relative to that at the start."""

    def risk(w: Array) -> Array:
        return losses.squared_error(layers.dense(design, w[:, None])[:, 0], y).mean() / 2

    def step(w: Array, _: None) -> tuple[Array, Array]:
        value, gradient = jax.value_and_grad(risk)(w)
        return w - rate * gradient, value - best

    _, values = lax.scan(step, jnp.zeros(design.shape[1], design.dtype), None, length=LIMIT)
    return values / values[0]


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Returns the raw features and the targets."""
    data: Any = load_diabetes(scaled=False)
    return data.data, data.target


def measure(settings: Settings, *, load: Any = diabetes) -> Measured:
    """Counts iterations; `load` returns the features and targets."""
    x, y = load()
    found: dict[str, list[Any]] = {
        f"{kind}, {name}": [] for kind in ("iterations", "condition", "excess") for name in METHODS
    }
    for seed in settings.seeds:
        rows = np.random.default_rng(seed).integers(0, len(x), len(x))  # a bootstrap sample
        target = (y[rows] - y[rows].mean()) / y[rows].std() + 1.0  # the bias has to be learned, too
        for name, method in METHODS.items():
            with jax.enable_x64(True):  # the condition numbers exceed the precision of float32
                inputs = np.asarray(method(x[rows]), np.float64)
                design = np.column_stack([inputs, np.ones(len(x))])
                largest, kappa = condition(design)
                w = np.linalg.lstsq(design, target, rcond=None)[0]
                best = np.square(design @ w - target).mean() / 2
                history = np.asarray(excess(design, target, 1 / largest, best))
            reached = np.flatnonzero(history < 0.01)
            found[f"iterations, {name}"].append(reached[0] if len(reached) else LIMIT)
            found[f"condition, {name}"].append(kappa)
            found[f"excess, {name}"].append(history[SHOWN.astype(int)])
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    its, kappa = part(found, "iterations"), part(found, "condition")
    ratio = kappa["raw"] / kappa["standardized"]
    return [
        Check("iterations, raw over standardized", its["raw"] / its["standardized"], at_least=10),
        Check("iterations, [0, 1] over standardized", its["to [0, 1]"] / its["standardized"], 2),
        Check("iterations, whitened", its["whitened"], at_most=10),
        Check("condition number, raw over standardized", ratio, at_least=100),
        Check("condition number, standardized", kappa["standardized"], at_least=100),
        Check("condition number, whitened", kappa["whitened"], at_most=1.01),
    ]


def table(found: Measured) -> Table:
    """Condition numbers and iterations."""
    columns = {
        "condition number of the Hessian": part(found, "condition"),
        "iterations (at most 20,000)": part(found, "iterations"),
    }
    return Table.of("inputs", columns)


def panels(found: Measured) -> list[Panel]:
    """Loss against iterations, and condition numbers."""
    curves = {name: np.maximum(values, 1e-6) for name, values in part(found, "excess").items()}
    title = "Loss above its minimum, relative to the start"
    return [
        lines(title, curves, at=SHOWN, x="iteration", y="excess loss", log="xy"),
        bars("Condition number of the Hessian", part(found, "condition"), x="κ", log=True),
    ]


STUDY = Study(measure, checks, table, panels, code=(condition, excess))
