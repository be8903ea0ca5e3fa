r"""Linear support vector machines with few weights: the L1 penalty and the squared hinge.

.. math:: \min_{w, b} \; |w|_1 [+ |b|] + \sum_i c_i \max(0, 1 - t_i (w^\top x_i + b))^2

By a proximal Newton method: a quadratic model of the loss, with the Gram matrix of the examples
within the margin, is minimised with the penalty by coordinate descent, for all problems at once,
and the step is halved until the objective falls as it should.

Source: Yuan, Ho and Lin, "An improved GLMNET for L1-regularized logistic regression", 2012.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.linear import problems as linear_problems
from jaxml.svm.linear.problems import LinearProblems
from jaxml.svm.linear.rows import Rows
from jaxml.svm.linear.solver import LinearProgress, LinearSolution, LinearState
from jaxml.types import Array

LOSS = "squared_hinge"
MOST_FEATURES = 4096
HALVINGS = 12


def solve(
    problems: LinearProblems,
    rows: Rows,
    *,
    start: LinearState | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 200,
    report: Callable[[LinearProgress], None] | None = None,
) -> LinearSolution:
    """Minimises each problem until its relative duality gap is within the tolerance.

    Args:
      problems: over the rows, with the squared hinge; `intercept` is 1 where the intercept is
        penalised and 0 where it is free.
      rows: the examples, of at most 4096 features.
      start: where to begin; None begins at zero.
      tolerance: of primal minus dual, as a part of the primal.
      max_steps: of Newton's method, after which it ends unsolved.
      report: is told after each step where it stands.

    Returns:
      The solution, or how far it came.

    Raises:
      InputError: there are more features.
    """
    if rows.num_features > MOST_FEATURES:
        raise InputError(
            f"penalty: l1 is not allowed with {rows.num_features} features, "
            f"it takes at most {MOST_FEATURES}"
        )
    count, size = len(problems.target), rows.num_features + 1
    weights = jnp.zeros((count, size), problems.target.dtype)
    if start is not None:
        weights = jnp.concatenate([start.weights, start.intercept[:, None]], axis=1)
    penalty = jnp.ones_like(weights).at[:, -1].set(problems.intercept)
    gram = [jnp.zeros((size, size), weights.dtype) for _ in range(count)]
    in_gram = np.zeros(problems.target.shape, weights.dtype)
    progress = LinearProgress(0, np.full(count, np.inf), np.full(count, -np.inf))
    best, interrupted, steps = start, False, 0
    products = rows.products(weights[:, :-1]) + weights[:, -1:]
    try:
        while True:
            at = _respond(problems, products)
            sums = jnp.concatenate([rows.sums(at.dual), at.dual.sum(1, keepdims=True)], axis=1)
            primal, dual, scaled = _measure(problems, products, weights, penalty, sums, at.dual)
            progress = LinearProgress(
                steps, np.asarray(primal, np.float64), np.asarray(dual, np.float64)
            )
            best = LinearState(weights[:, :-1], weights[:, -1], scaled, jnp.ones(count))
            if report:
                report(progress.with_support(best.dual))
            if (progress.relative_gap <= tolerance).all() or steps >= max_steps:
                break
            slope = np.asarray(at.slope)
            for k in range(count):
                gram[k] = rows.add_gram(gram[k], slope[k] - in_gram[k])
            in_gram = slope
            direction = _direction(jnp.stack(gram), sums, weights, penalty)
            moved = rows.products(direction[:, :-1]) + direction[:, -1:]
            weights, products = _move(problems, products, moved, weights, direction, penalty, sums)
            steps += 1
    except KeyboardInterrupt:
        interrupted = True
    assert best is not None
    converged = bool((progress.relative_gap <= tolerance).all())
    return LinearSolution(best, progress, converged, interrupted)


@jax.jit
def _respond(problems: LinearProblems, products: Array) -> linear_problems.Response:
    return linear_problems.response(problems, products, products, products[:, 0], loss=LOSS)


@jax.jit
def _measure(
    problems: LinearProblems,
    products: Array,
    weights: Array,
    penalty: Array,
    sums: Array,
    dual: Array,
) -> tuple[Array, Array, Array]:
    primal = _objective(problems, products, weights, penalty)
    # Smaller variables are feasible: no weighted sum may exceed the penalty of its weight.
    priced = penalty > 0
    largest = jnp.where(priced, jnp.abs(sums) / jnp.where(priced, penalty, 1), 0).max(1)
    scaled = dual / jnp.maximum(largest, 1)[:, None]
    return primal, linear_problems.dual_sum(problems, scaled, loss=LOSS), scaled


def _objective(problems: LinearProblems, products: Array, weights: Array, penalty: Array) -> Array:
    lost = linear_problems.loss_sum(problems, products, loss=LOSS)
    return lost + (penalty * jnp.abs(weights)).sum(1)


@partial(jax.jit, static_argnames="sweeps")
def _direction(
    gram: Array, sums: Array, weights: Array, penalty: Array, *, sweeps: int = 60
) -> Array:
    """From the weights to where the quadratic model and the penalty are least."""
    diagonal = jnp.diagonal(gram, axis1=1, axis2=2)
    diagonal = jnp.maximum(diagonal, 1e-6 * diagonal.max(1, keepdims=True) + 1e-12)

    def coordinate(j: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        moved, slope = now
        here = weights[:, j] + moved[:, j]
        target = here - slope[:, j] / diagonal[:, j]
        threshold = penalty[:, j] / diagonal[:, j]
        by = target - jnp.clip(target, -threshold, threshold) - here
        return moved.at[:, j].add(by), slope + by[:, None] * gram[:, j]

    def sweep(_: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        return jax.lax.fori_loop(0, weights.shape[1], coordinate, now)

    return jax.lax.fori_loop(0, sweeps, sweep, (jnp.zeros_like(weights), -sums))[0]


@jax.jit
def _move(
    problems: LinearProblems,
    products: Array,
    moved: Array,
    weights: Array,
    direction: Array,
    penalty: Array,
    sums: Array,
) -> tuple[Array, Array]:
    """The longest of the halved steps by which the objective falls enough."""
    now = _objective(problems, products, weights, penalty)
    expected = -(sums * direction).sum(1) + (
        penalty * (jnp.abs(weights + direction) - jnp.abs(weights))
    ).sum(1)

    def at(step: Array) -> Array:
        return _objective(problems, products + step * moved, weights + step * direction, penalty)

    halved = 0.5 ** jnp.arange(HALVINGS, dtype=weights.dtype)
    values = jax.lax.map(at, halved)
    rounding = 8 * jnp.finfo(now.dtype).eps * now  # near the optimum less than this is left
    falls = values <= now[None] + 0.01 * jnp.outer(halved, expected) + rounding[None]
    step = jnp.where(falls.any(0), halved[falls.argmax(0)], 0)[:, None]
    return weights + step * direction, products + step * moved
