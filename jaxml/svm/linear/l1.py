r"""Linear support vector machines with few weights: the L1 penalty and the squared hinge.

.. math:: \min_{w, b} \; |w|_1 [+ |b|] + \sum_i c_i \max(0, 1 - t_i (w^\top x_i + b))^2

By a proximal Newton method: a quadratic model of the loss, with the Gram matrix of the examples
within the margin, is minimised with the penalty by coordinate descent, for all problems at once,
and the step is halved until the objective falls as it should. Of many features, each step of each
problem moves those alone whose weights are not 0 or are most wrong to be 0. Which these are is
decided anew with each step, from the gradients of all of them, and so is whether it ends. The
penalty begins large there, and falls, so that few have weights from beginning to end.

Source: Yuan, Ho and Lin, "An improved GLMNET for L1-regularized logistic regression", 2012.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.linear import problems as linear_problems
from jaxml.svm.linear.problems import LinearProblems
from jaxml.svm.linear.rows import Rows
from jaxml.svm.linear.solver import LinearProgress, LinearSolution, LinearState, Stall
from jaxml.types import Array

LOSS = "squared_hinge"
# Up to so many features all of them are moved; of more, as many as one of the sizes.
FEW_FEATURES = 4096
SIZES = (128, 256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# Bytes of the Gram matrices of the problems whose directions are found together.
GRAM_BYTES = 2**28
HALVINGS = 12
# The penalties of many features begin large and fall by this factor, until they are what they have
# to be, whenever no slope is larger than they are by the other factor.
FALL, SETTLED = 4.0, 2.0
# Of a direction of some of many features: so often sweeps, and after them a leap.
SWEEPS, LEAPS = 2, 4


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
      problems: over the rows, with the squared hinge; `intercept` is the weight of the
        intercept's magnitude, 0 where it is free.
      rows: the examples.
      start: where to begin; None begins at zero.
      tolerance: of primal minus dual, as a part of the primal.
      max_steps: of Newton's method, after which it ends unsolved.
      report: is told after each step where it stands.

    Returns:
      The solution, or how far it came.

    Raises:
      InputError: more than 8192 of more than 4096 features have weights.
    """
    count = len(problems.target)
    weights = jnp.zeros((count, rows.num_features + 1), problems.target.dtype)
    if start is not None:
        weights = jnp.concatenate([start.weights, start.intercept[:, None]], axis=1)
    penalty = jnp.ones_like(weights).at[:, -1].set(problems.intercept)
    few = rows.num_features <= FEW_FEATURES
    newton = _NewtonOfAll(rows, weights) if few else _NewtonOfSome(rows)
    factor = np.ones(count) if few or start is not None else np.full(count, np.inf)
    progress = LinearProgress(0, np.full(count, np.inf), np.full(count, -np.inf))
    intercept, ones = weights[:, -1], jnp.ones(count)
    best = start or LinearState(weights[:, :-1], intercept, jnp.zeros_like(problems.cost), ones)
    stall, interrupted, steps = Stall(), False, 0
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
            if stall.seen(progress):
                break
            open_ = (progress.relative_gap > tolerance) | (factor > 1)
            largest = np.abs(sums[:, :-1]).max(1)
            lower = np.maximum(np.minimum(factor, largest) / FALL, 1)
            factor = np.where(largest <= SETTLED * factor, lower, factor)
            price = penalty * jnp.asarray(factor, penalty.dtype)[:, None]
            direction = newton.direction(np.asarray(at.slope), sums, weights, price, open_)
            moved = rows.products(direction[:, :-1]) + direction[:, -1:]
            weights, products = _move(problems, products, moved, weights, direction, price, sums)
            steps += 1
    except KeyboardInterrupt:
        interrupted = True
    converged = bool((progress.relative_gap <= tolerance).all())
    return LinearSolution(best, progress, converged, interrupted)


class _NewtonOfAll:
    """Moves all features. The Gram matrices stay, and change by the rows that change."""

    def __init__(self, rows: Rows, weights: Array) -> None:
        self.rows = rows
        self.gram = [jnp.zeros((weights.shape[1],) * 2, weights.dtype) for _ in weights]
        self.slope = np.zeros((len(weights), rows.num_rows), weights.dtype)

    def direction(
        self, slope: np.ndarray, sums: Array, weights: Array, penalty: Array, _: np.ndarray
    ) -> Array:
        for k, change in enumerate(slope - self.slope):
            self.gram[k] = self.rows.add_gram(self.gram[k], change)
        self.slope = slope
        return _direction(jnp.stack(self.gram), sums, weights, penalty)


class _NewtonOfSome:
    """Moves some of many features, of each problem others."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.alone = jax.default_backend() == "cpu"

    def direction(
        self, slope: np.ndarray, sums: Array, weights: Array, penalty: Array, open_: np.ndarray
    ) -> Array:
        used, wrong = (np.asarray(each) for each in _count(sums, weights, penalty))
        needed = np.where(open_, used + np.minimum(wrong, used // 2 + 2 * SIZES[0]), 0)
        self._check(((used >= SIZES[-1]) & (wrong > 0) & open_).any())
        every = np.asarray(_rank(sums, weights, most=_size(needed.max(), weights)))
        direction = np.zeros(weights.shape, weights.dtype)
        left = np.argsort(needed, kind="stable")[len(needed) - open_.sum() :]
        while len(left):
            size = _size(needed[left[-1]], weights)
            together = 1 if self.alone else max(1, GRAM_BYTES // (4 * size * size))
            left, part = left[:-together], left[-together:]
            index = np.pad(every[part, :size], ((0, 0), (0, 1)), constant_values=-1)
            grams = [self.rows.gram_of_features(every[k, :size], slope[k]) for k in part]
            found = _direction_of_some(jnp.stack(grams), part, index, sums, weights, penalty)
            direction[part[:, None], index] = np.asarray(found)
        return jnp.asarray(direction)

    def _check(self, full: Any) -> None:
        if full:
            raise InputError(
                f"penalty: l1 is not allowed where more than {SIZES[-1]} of the "
                f"{self.rows.num_features} features have weights; a smaller C leaves fewer"
            )


def _size(needed: Any, weights: Array) -> int:
    """Rounds up to one of few sizes, so that few programs are compiled."""
    size = next((size for size in SIZES if size >= needed), SIZES[-1])
    return min(size, weights.shape[1] - 1)


@jax.jit
def _count(sums: Array, weights: Array, penalty: Array) -> tuple[Array, Array]:
    """`[problems]`: features that have weights, and others that should have some."""
    used = weights[:, :-1] != 0
    wrong = ~used & (jnp.abs(sums) > penalty)[:, :-1]
    return used.sum(1), wrong.sum(1)


@partial(jax.jit, static_argnames="most")
def _rank(sums: Array, weights: Array, *, most: int) -> Array:
    """`[problems, most]`: features with weights, then those of the largest slopes."""
    score = jnp.where(weights != 0, jnp.inf, jnp.abs(sums))[:, :-1]
    return jax.lax.top_k(score, most)[1]


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


class Model(NamedTuple):
    """Quadratic models of the losses around the weights, and the penalties.

    Attributes:
      gram: `[problems, features, features]`: second derivatives.
      diagonal: `[problems, features]`: theirs, above 0.
      weights: `[problems, features]`: where the models are right.
      penalty: `[problems, features]`.
    """

    gram: Array
    diagonal: Array
    weights: Array
    penalty: Array


class Moved(NamedTuple):
    """A point of the models.

    Attributes:
      by: `[problems, features]`: from the weights.
      slope: `[problems, features]`: the derivatives there, without the penalty.
    """

    by: Array
    slope: Array


@jax.jit
def _direction(gram: Array, sums: Array, weights: Array, penalty: Array) -> Array:
    """From the weights to where the quadratic model and the penalty are least."""
    model = _model(gram, weights, penalty)
    return _sweep(model, Moved(jnp.zeros_like(weights), -sums), times=60).by


@jax.jit
def _direction_of_some(
    gram: Array, problem: Array, index: Array, sums: Array, weights: Array, penalty: Array
) -> Array:
    """As `_direction`, of other features of each problem, as near as a step of many is worth.

    So many features depend on each other, and sweeps alone are slow.
    """
    sums, weights, penalty = (each[problem[:, None], index] for each in (sums, weights, penalty))
    model = _model(gram, weights, penalty)

    def value(at: Moved) -> Array:
        priced = penalty * (jnp.abs(weights + at.by) - jnp.abs(weights))
        return (at.by * (at.slope - sums) / 2 + priced).sum(1)

    def once(now: tuple[Moved, Array, Array, Array]) -> tuple[Moved, Array, Array, Array]:
        at, times, _, before = now
        at = _leap(model, _sweep(model, at, times=SWEEPS))
        return at, times + 1, before, value(at)

    def goes_on(now: tuple[Moved, Array, Array, Array]) -> Array:
        _, times, before, after = now
        return (before - after > -0.1 * after).any() & (times < LEAPS)

    start = Moved(jnp.zeros_like(weights), -sums)
    none = jnp.zeros_like(sums[:, 0])
    first = _leap(model, _sweep(model, start, times=SWEEPS))
    at = jax.lax.while_loop(goes_on, once, (first, jnp.asarray(1), none, value(first)))[0]
    return _sweep(model, at, times=1).by


def _model(gram: Array, weights: Array, penalty: Array) -> Model:
    """Of the Gram matrices' lower halves."""
    gram = jnp.tril(gram) + jnp.tril(gram, -1).swapaxes(1, 2)
    diagonal = jnp.diagonal(gram, axis1=1, axis2=2)
    diagonal = jnp.maximum(diagonal, 1e-6 * diagonal.max(1, keepdims=True) + 1e-12)
    return Model(gram, diagonal, weights, penalty)


def _sweep(model: Model, start: Moved, *, times: int) -> Moved:
    """Minimises by one feature after another."""

    def coordinate(j: Array, at: Moved) -> Moved:
        here = model.weights[:, j] + at.by[:, j]
        target = here - at.slope[:, j] / model.diagonal[:, j]
        threshold = model.penalty[:, j] / model.diagonal[:, j]
        by = target - jnp.clip(target, -threshold, threshold) - here
        return Moved(at.by.at[:, j].add(by), at.slope + by[:, None] * model.gram[:, j])

    def sweep(_: Array, at: Moved) -> Moved:
        return jax.lax.fori_loop(0, model.weights.shape[1], coordinate, at)

    return jax.lax.fori_loop(0, times, sweep, start)


def _leap(model: Model, at: Moved) -> Moved:
    """Minimises by all weights that are not 0 at once, as far as their signs stay or they end."""
    here = model.weights + at.by
    free = model.penalty == 0
    used = (here != 0) | free
    scale = jnp.where(used, jax.lax.rsqrt(model.diagonal), 0)
    ridge = 0.1 * jnp.finfo(here.dtype).eps ** 0.5
    system = model.gram * scale[:, :, None] * scale[:, None, :]
    system = system + jax.vmap(jnp.diag)(jnp.where(used, ridge, 1))
    slope = at.slope + model.penalty * jnp.sign(here)
    solved = jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(system), (scale * slope)[..., None]
    )
    whole = -scale * jnp.nan_to_num(solved[..., 0])

    step = 0.5 ** jnp.arange(HALVINGS, dtype=here.dtype)[:, None, None]
    there = here[None] + step * whole[None]
    stays = (there * here[None] > 0) | free[None]
    change = jnp.where(stays, there, 0) - here[None]
    pushed = jnp.einsum("kde,ske->skd", model.gram, change, precision=jax.lax.Precision.HIGHEST)
    value = (change * (at.slope[None] + pushed / 2)).sum(2)
    larger = jnp.abs(here[None] + change) - jnp.abs(here)[None]
    value += (model.penalty[None] * larger).sum(2)
    best = value.argmin(0)
    falls = (value.min(0) < 0)[:, None]
    problem = jnp.arange(len(here))
    return Moved(
        at.by + jnp.where(falls, change[best, problem], 0),
        at.slope + jnp.where(falls, pushed[best, problem], 0),
    )


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
