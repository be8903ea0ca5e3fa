"""L1 makes zeros, L2 shrinks.

Claim: A penalty on the absolute values of the weights (L1) sets weights to exactly zero, and a
penalty on their squares (L2) makes all of them smaller and none zero.

Formula:
  L1:   min_w |X w − y|^2 / 2 n + λ Σ|w_i|,   w_i ← sign(u_i) max(|u_i| − η λ, 0),   u = w − η ∇
  L2:   min_w |X w − y|^2 / 2 n + λ Σ w_i^2 / 2,   (X^T X / n + λ) w = X^T y / n

Measured: Linear regression on the ten standardized features of the diabetes set, for 25 values of
λ, on bootstrap samples. The L1 problem is solved in two ways: by proximal gradient descent, which
applies the formula above, and by plain gradient descent on the sum of loss and penalty, as a
training loop that adds `regularizers.l1` to its loss does. Zeros are counted exactly: w_i = 0.

Verdict: holds only when the optimizer applies the soft threshold. The minimum of the L1 problem has
exact zeros, and proximal descent reaches them. Plain gradient descent on the same penalty steps
back and forth across zero, and never lands on it: its weights are small, but not zero. L2 has no
zeros.

Next: Round the weights of plain gradient descent to 0 below a threshold, and see how far the result
depends on it. Combine both penalties (`regularizers.elastic_net`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from sklearn.datasets import load_diabetes

from jaxml import layers, losses, regularizers
from jaxml.studies._panels import lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array

STRENGTHS = np.geomspace(0.003, 1.0, 25, dtype=np.float32)
MIDDLE = 16  # a penalty of about 0.144


def risk(w: Array, x: Array, y: Array) -> Array:
    """Half the mean squared error."""
    return losses.squared_error(layers.dense(x, w[:, None])[:, 0], y).mean() / 2


def soft_threshold(w: Array, threshold: Array) -> Array:
    """Moves every weight towards 0 by the threshold, and stops there."""
    return jnp.sign(w) * jnp.maximum(jnp.abs(w) - threshold, 0.0)


def proximal_descent(x: Array, y: Array, strength: Array, rate: Array, steps: int) -> Array:
    """Minimizes the risk with an L1 penalty: a gradient step on the risk, then the threshold."""

    def step(_: int, w: Array) -> Array:
        return soft_threshold(w - rate * jax.grad(risk)(w, x, y), rate * strength)

    return lax.fori_loop(0, steps, step, jnp.zeros(x.shape[1]))


def plain_descent(x: Array, y: Array, strength: Array, rate: Array, steps: int) -> Array:
    """Minimizes the same sum by its gradient."""

    def total(w: Array) -> Array:
        return risk(w, x, y) + regularizers.l1(w, strength=strength)

    def step(_: int, w: Array) -> Array:
        return w - rate * jax.grad(total)(w)

    return lax.fori_loop(0, steps, step, jnp.zeros(x.shape[1]))


def ridge(x: Array, y: Array, strength: Array) -> Array:
    """Solves the L2 problem."""
    eye = jnp.eye(x.shape[1])
    return jnp.linalg.solve(x.T @ x / len(x) + strength * eye, x.T @ y / len(x))


def measure(settings: Settings, *, solver: Any = proximal_descent) -> Measured:
    """Computes weights `[seeds, strengths, 10]`; `solver` is to reach the zeros of L1."""
    data: Any = load_diabetes()
    x, y = data.data, data.target
    x, y, steps = x / x.std(0), (y - y.mean()) / y.std(), settings.steps(2000)

    @jax.jit
    def run(x: Array, y: Array) -> dict[str, Array]:
        rate = 1.0 / jnp.linalg.norm(x.T @ x / len(x), ord=2)
        path = jnp.asarray(STRENGTHS)
        return {
            "L1, proximal": jax.vmap(lambda s: solver(x, y, s, rate, steps))(path),
            "L1, plain": jax.vmap(lambda s: plain_descent(x, y, s, rate, steps))(path),
            "L2": jax.vmap(lambda s: ridge(x, y, s))(path),
        }

    found = []
    for seed in settings.seeds:
        rows = np.random.default_rng(seed).integers(0, len(x), len(x))  # a bootstrap sample
        found.append(run(jnp.asarray(x[rows], jnp.float32), jnp.asarray(y[rows], jnp.float32)))
    return jax.tree.map(lambda *paths: np.stack(paths), *found)


def zeros(found: Measured) -> dict[str, np.ndarray]:
    """Counts exact zeros, `[seeds, strengths]`."""
    return {name: (w == 0).sum(-1).astype(np.float64) for name, w in found.items()}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    count, size = zeros(found), np.abs(found["L2"]).sum(-1)
    shrunk = size[:, -1] / size[:, 0]
    return [
        Check("zeros of 10, L1, proximal, λ = 0.144", count["L1, proximal"][:, MIDDLE], at_least=3),
        Check("zeros of 10, L1, plain descent, all λ", count["L1, plain"].max(1), 0, 0),
        Check("zeros of 10, L2, all λ", count["L2"].max(1), 0, 0),
        Check("L2: sum of magnitudes at λ = 1 over that at 0.003", shrunk, at_most=0.8),
    ]


def table(found: Measured) -> Table:
    """Zeros by strength."""
    shown = (0, 8, MIDDLE, 20, 24)
    columns = {
        f"exact zeros of 10, {name}": {f"λ = {STRENGTHS[i]:.3g}": count[:, i] for i in shown}
        for name, count in zeros(found).items()
    }
    return Table.of("strength", columns)


def panels(found: Measured) -> list[Panel]:
    """Coefficient paths, and counts of zeros."""
    axis: Any = {"at": STRENGTHS, "x": "λ", "log": "x"}
    paths = [
        lines(
            f"Ten coefficients, {name}",
            {str(i): weights[:, :, i] for i in range(10)},
            y="coefficient",
            legend=False,
            **axis,
        )
        for name, weights in found.items()
    ]
    return [*paths, lines("Exact zeros of 10", zeros(found), y="zeros", **axis)]


STUDY = Study(
    measure, checks, table, panels, code=(soft_threshold, proximal_descent, plain_descent)
)
