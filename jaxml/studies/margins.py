"""From the logistic loss to the hinge, the margin and the kernel trick.

Claim: A support vector machine is a linear classifier with the hinge loss instead of the logistic
loss: it maximizes the margin, depends on the support vectors alone, and has a dual problem of the
same optimal value. A kernel separates what no line separates.

Formula:
  logistic: log(1 + e^{−m}),   hinge: max(0, 1 − m),   margin m = y (w · x + b), y = ±1
  primal: min |w|^2 / 2 + C Σ max(0, 1 − m_i)
  dual: max Σ α_i − |Σ α_i y_i x_i|^2 / 2  with 0 ≤ α_i ≤ C and Σ α_i y_i = 0
  kernel: replace x_i · x_j by K(x_i, x_j) = exp(−γ |x_i − x_j|^2)

Measured: `SVC` separates two overlapping clouds of 30 points each. It is fitted to all points, and
again to the support vectors alone, and the change of w is measured; logistic regression is fitted
to the same two sets. Projected gradient ascent on the dual gives the values of both problems after
each step. Then three classifiers separate two rings of 100 points each: a linear one, one with the
Gaussian kernel, and a linear one with x_1^2 and x_2^2 as further features.

Verdict: holds. Without the points that are no support vectors, the hinge loss has the same solution
up to the accuracy of the solver, and primal and dual have the same value in the end. The logistic
loss has no support vectors: every point contributes, and without these points its solution changes.
The kernel separates the rings as well as the squares do, although nobody told it to use squares.

Next: Let C grow from 0.01 to 100: how does the number of support vectors change? Replace the rings
by two spirals, and find the γ that separates them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml import layers, losses
from jaxml.reporting.charts import COLORS, MUTED, place_legend
from jaxml.studies._panels import drawing, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.svm import SVC, LinearSVC, objectives
from jaxml.types import Array

C = 1.0
SIDE = np.linspace(-3.5, 3.5, 40)  # of the square in which the kernel's boundary is drawn


def clouds(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns two overlapping clouds of 30 points."""
    rng, y = np.random.default_rng(seed), np.repeat([0, 1], 30)
    return rng.normal(size=(60, 2)) + np.where(y, 1.3, -1.3)[:, None], y


def rings(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a ring of radius 1 and one of radius 2.5."""
    rng, y = np.random.default_rng(seed), np.repeat([0, 1], 100)
    angle, radius = rng.uniform(0, 2 * np.pi, 200), np.where(y, 2.5, 1) + 0.2 * rng.normal(size=200)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), y


@jax.jit
def ascend(x: Array, y: Array) -> tuple[Array, Array]:
    """Returns primal and dual values of projected gradient ascent on the dual, `[4000]`."""
    problem = objectives.Classification(y, C=C, loss="hinge", gram=layers.dense(x, x.T))
    rate = 1 / jnp.linalg.norm(layers.dense(x, x.T), ord=2)

    def step(alpha: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        slope = jax.grad(objectives.dual, 1)(problem, alpha)
        alpha = objectives.project(problem, alpha + rate * slope)
        return alpha, (objectives.kernel_primal(problem, alpha), objectives.dual(problem, alpha))

    return lax.scan(step, jnp.zeros(len(x)), None, length=4000)[1]


@jax.jit
def logistic(x: Array, sign: Array, weight: Array) -> Array:
    """Minimizes the regularized logistic loss by Newton's method; `weight` 0 removes an example."""

    def risk(v: Array) -> Array:
        z = layers.dense(x, v[:2, None])[:, 0] + jnp.broadcast_to(v[2], sign.shape)
        loss = losses.sigmoid_cross_entropy(z, (sign + 1) / 2)
        return jnp.sum(v[:2] ** 2) / 2 + C * jnp.sum(weight * loss)

    def newton(_: int, v: Array) -> Array:
        return v - jnp.linalg.solve(jax.hessian(risk)(v), jax.grad(risk)(v))

    return lax.fori_loop(0, 20, newton, jnp.zeros(3))


def fit_clouds(seed: int, keep: str) -> dict[str, Any]:
    """Fits both losses to all points and to some, and compares the solutions."""
    x, y = clouds(seed)
    full = SVC(kernel="linear", C=C, tol=1e-6).fit(x, y)
    support = np.isin(np.arange(60), full.support_)
    kept = support if keep == "support vectors" else ~support
    part = SVC(kernel="linear", C=C, tol=1e-6).fit(x[kept], y[kept])
    w = np.ravel(full.coef_)
    points, sign = jnp.asarray(x, jnp.float32), jnp.asarray(2 * y - 1, jnp.float32)
    v = logistic(points, sign, jnp.ones(60))
    v_part = logistic(points, sign, jnp.asarray(kept, jnp.float32))
    primal, dual = ascend(points, jnp.asarray(y))
    return {
        "hinge": np.linalg.norm(np.ravel(part.coef_) - w) / np.linalg.norm(w),
        "logistic": jnp.linalg.norm(v_part - v) / jnp.linalg.norm(v),
        "primal": primal,
        "dual": dual,
        "gap": 1 - dual[-1] / primal[-1],
        "points": x,
        "labels": y,
        "support": support,
        "line": [*w, *np.ravel(full.intercept_)],
    }


def fit_rings(seed: int) -> dict[str, Any]:
    """Fits the three classifiers; the kernel is tested on new points."""
    x, y = rings(seed)
    squares = np.concatenate([x, x**2], 1)
    kernel = SVC(C=C, gamma=1.0).fit(x, y)
    plane = np.stack(np.meshgrid(SIDE, SIDE), -1).reshape(-1, 2)
    return {
        "linear": LinearSVC(C=C).fit(x, y).score(x, y),
        "kernel": kernel.score(*rings(seed + 1000)),
        "squares": LinearSVC(C=C).fit(squares, y).score(squares, y),
        "rings": x,
        "ring labels": y,
        "decision": kernel.decision_function(plane).reshape(40, 40),
    }


def measure(settings: Settings, *, keep: str = "support vectors") -> Measured:
    """Fits all models; `keep` names the points that remain for the second fit."""
    fits = [{**fit_clouds(seed, keep), **fit_rings(seed)} for seed in settings.seeds]
    return {name: np.stack([np.asarray(fit[name], np.float64) for fit in fits]) for name in fits[0]}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    return [
        Check("hinge: relative change of w, support vectors alone", found["hinge"], at_most=1e-3),
        Check("logistic: relative change of w and b, same points", found["logistic"], 0.02),
        Check("relative gap of primal and dual after 4,000 steps", found["gap"], at_most=0.01),
        Check("rings: accuracy of the linear classifier", found["linear"], at_most=0.75),
        Check("rings: accuracy of the kernel on new points", found["kernel"], at_least=0.98),
        Check("rings: accuracy of the linear one with squares", found["squares"], at_least=0.98),
    ]


def table(found: Measured) -> Table:
    """Support vectors and objectives; the criteria have the other numbers."""
    rows = [
        ("support vectors of 60 points", found["support"].sum(1)),
        ("primal objective after 4,000 steps", found["primal"][:, -1]),
        ("dual objective after 4,000 steps", found["dual"][:, -1]),
    ]
    return Table(("quantity", "value"), rows)


def panels(found: Measured) -> list[Panel]:
    """Losses, margin, duality and rings of the first seed."""
    m = np.linspace(-3, 3, 121, dtype=np.float32)
    label = jnp.ones(len(m), jnp.int32)
    hinge = losses.hinge(jnp.asarray(m), label)
    logistic = losses.sigmoid_cross_entropy(jnp.asarray(m), label) / np.log(2)
    curves = {"hinge": hinge, "logistic, over log 2": logistic, "0-1 error": m < 0}
    curves = {name: np.asarray(loss, np.float32)[None] for name, loss in curves.items()}

    def scatter(axes: Any, x: np.ndarray, y: np.ndarray) -> None:
        for value in (0, 1):
            style = {"color": COLORS[value], "label": f"y = {2 * value - 1:+d}".replace("-", "−")}
            axes.plot(*x[y == value].T, "os"[value], ms=4, **style)

    def margin(axes: Any) -> None:
        x, kept = found["points"][0], found["support"][0] > 0
        scatter(axes, x, found["labels"][0])
        axes.plot(*x[kept].T, "o", ms=10, mfc="none", color=MUTED, label="support vector")
        w0, w1, b = found["line"][0]
        ends = np.array([-4.0, 4.0])
        for level, style in ((-1, ":"), (0, "-"), (1, ":")):
            axes.plot(ends, (level - b - w0 * ends) / w1, style, color=MUTED)
        axes.set(xlim=(-4, 4), ylim=(-4.5, 4.5))
        place_legend(axes)

    def ring(axes: Any) -> None:
        axes.contour(SIDE, SIDE, found["decision"][0], [0], colors=MUTED)
        scatter(axes, found["rings"][0], found["ring labels"][0])
        axes.set(aspect="equal")
        place_legend(axes)

    values = {"primal": found["primal"][:1], "dual": found["dual"][:1]}
    title = "Boundary of the Gaussian kernel, first seed"
    return [
        lines("Losses", curves, at=m, x="margin m", y="loss"),
        drawing("Boundary and margin (dotted), first seed", margin, x="x₁", y="x₂"),
        lines("Values of primal and dual, first seed", values, y="objective", log="xy"),
        drawing(title, ring, x="x₁", y="x₂"),
    ]


STUDY = Study(measure, checks, table, panels, code=(ascend, logistic))
