r"""Linear support vector machines with few weights: the L1 penalty and the squared hinge.

.. math:: \min_{w, b} \; |w|_1 [+ |b|] + \sum_i c_i \max(0, 1 - t_i (w^\top x_i + b))^2

By a proximal Newton method: a quadratic model of the loss, with the Gram matrix of the examples
within the margin, is minimised with the penalty by coordinate descent, for all problems at once,
and the step is halved until the objective falls as it should. Of many features, each step of each
problem moves those alone whose weights are not 0 or are most wrong to be 0. Which these are is
decided anew with each step, from the gradients of all of them, and so is whether it ends.

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
# Up to so many features all of them are moved; of more, as many as one of the sizes.
FEW_FEATURES = 4096
SIZES = (256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# Bytes of the Gram matrices of the problems whose directions are found together.
GRAM_BYTES = 2**29
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
      rows: the examples.
      start: where to begin; None begins at zero.
      tolerance: of primal minus dual, as a part of the primal.
      max_steps: of Newton's method, after which it ends unsolved.
      report: is told after each step where it stands.

    Returns:
      The solution, or how far it came.

    Raises:
      InputError: of more than 4096 features more than 8192 have weights.
    """
    count = len(problems.target)
    weights = jnp.zeros((count, rows.num_features + 1), problems.target.dtype)
    if start is not None:
        weights = jnp.concatenate([start.weights, start.intercept[:, None]], axis=1)
    penalty = jnp.ones_like(weights).at[:, -1].set(problems.intercept)
    few = rows.num_features <= FEW_FEATURES
    newton = _NewtonOfAll(rows, weights) if few else _NewtonOfSome(rows)
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
            direction = newton.direction(np.asarray(at.slope), sums, weights, penalty)
            moved = rows.products(direction[:, :-1]) + direction[:, -1:]
            weights, products = _move(problems, products, moved, weights, direction, penalty, sums)
            steps += 1
    except KeyboardInterrupt:
        interrupted = True
    assert best is not None
    converged = bool((progress.relative_gap <= tolerance).all())
    return LinearSolution(best, progress, converged, interrupted)


class _NewtonOfAll:
    """Moves all features. The Gram matrices stay, and change by the rows that change."""

    def __init__(self, rows: Rows, weights: Array) -> None:
        self.rows = rows
        self.gram = [jnp.zeros((weights.shape[1],) * 2, weights.dtype) for _ in weights]
        self.slope = np.zeros((len(weights), rows.num_rows), weights.dtype)

    def direction(self, slope: np.ndarray, sums: Array, weights: Array, penalty: Array) -> Array:
        for k, change in enumerate(slope - self.slope):
            self.gram[k] = self.rows.add_gram(self.gram[k], change)
        self.slope = slope
        return _direction(jnp.stack(self.gram), sums, weights, penalty)


class _NewtonOfSome:
    """Moves some of many features."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def direction(self, slope: np.ndarray, sums: Array, weights: Array, penalty: Array) -> Array:
        index = _choose(sums, weights, penalty, size=_size_of_step(sums, weights, penalty))
        size = index.shape[1]
        together = max(1, GRAM_BYTES // (size * size * weights.dtype.itemsize))
        return jnp.concatenate([
            self._part(slice(k, k + together), slope, index, sums, weights, penalty)
            for k in range(0, len(weights), together)
        ])

    def _part(
        self, part: slice, slope: np.ndarray, index: Array, *of_features: Array
    ) -> Array:
        chosen = np.asarray(index[part, :-1])
        gram = jnp.stack([
            self.rows.gram_of_features(*each) for each in zip(chosen, slope[part], strict=True)
        ])
        some = [jnp.take_along_axis(each[part], index[part], axis=1) for each in of_features]
        direction = _direction(gram, *some)
        return _scatter(direction, index[part], size=of_features[0].shape[1])


def _size_of_step(sums: Array, weights: Array, penalty: Array) -> int:
    """How many features a step moves: at most twice as many as have weights, and a few."""
    used = np.asarray((weights[:, :-1] != 0).sum(1))
    wrong = np.asarray(((weights == 0) & (jnp.abs(sums) > penalty))[:, :-1].sum(1))
    if used.max() > SIZES[-1]:
        raise InputError(
            f"penalty: l1 is not allowed where {used.max()} of {weights.shape[1] - 1} features "
            f"have weights, it takes at most {SIZES[-1]}; a smaller C leaves fewer"
        )
    needed = (used + np.minimum(wrong, used + SIZES[0])).max()
    return next((size for size in SIZES if size >= needed), SIZES[-1])


@partial(jax.jit, static_argnames="size")
def _choose(sums: Array, weights: Array, penalty: Array, *, size: int) -> Array:
    """`[problems, size + 1]`: those with weights, then those of the largest slope; the intercept."""
    score = jnp.where(weights != 0, jnp.inf, jnp.abs(sums))[:, :-1]
    index = jax.lax.top_k(score, min(size, score.shape[1]))[1]
    return jnp.pad(index, ((0, 0), (0, 1)), constant_values=score.shape[1])


@partial(jax.jit, static_argnames="size")
def _scatter(direction: Array, index: Array, *, size: int) -> Array:
    whole = jnp.zeros((len(index), size), direction.dtype)
    return whole.at[jnp.arange(len(index))[:, None], index].set(direction)


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
