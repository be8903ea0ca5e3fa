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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.linear.problems import LinearProblems, Loss
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
# The penalty of an intercept that is fixed at 0.
FIXED = 1e12


def solve(
    problems: LinearProblems,
    rows: Rows,
    *,
    start: LinearState | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 200,
    report: Callable[[LinearProgress], None] | None = None,
    precise: bool = True,
) -> LinearSolution:
    """Minimises each problem until its relative duality gap is within the tolerance.

    Args:
      problems: over the rows, with the squared hinge; `intercept` is the weight of the
        intercept's magnitude, 0 where it is free.
      rows: the examples.
      start: where to begin; None begins at zero.
      tolerance: of primal minus dual, relative to the primal.
      max_steps: of Newton's method, after which it ends unsolved.
      report: called with the progress after each step.
      precise: always true, for all products are in float64.

    Returns:
      The solution, or how far it came.

    Raises:
      InputError: more than 8192 of more than 4096 features have weights.
    """
    del precise
    with jax.enable_x64(True):
        return _Run(problems.in_double(), rows, start).run(tolerance, max_steps, report)


class _Run:
    """The proximal Newton method, with what it remembers from step to step."""

    def __init__(self, problems: LinearProblems, rows: Rows, start: LinearState | None) -> None:
        self.rows, self.losses = rows, problems.losses(LOSS)
        count, few = len(self.losses), rows.num_features <= FEW_FEATURES
        self.weights = np.zeros((count, rows.num_features + 1))
        if start is not None:
            self.weights[:, :-1], self.weights[:, -1] = start.weights, start.intercept
        self.penalty = np.ones_like(self.weights)
        self.penalty[:, -1] = np.minimum(problems.intercept, FIXED)
        self.fixed = np.isinf(problems.intercept)
        self.newton = _NewtonOfAll(rows, self.weights) if few else _NewtonOfSome(rows)
        begins = few or start is not None
        self.factor = np.ones(count) if begins else np.full(count, np.inf)
        self.best = start or self.state(np.zeros(problems.cost.shape))

    def state(self, dual: np.ndarray) -> LinearState:
        """The weights as they are, and dual variables."""
        intercept = np.where(self.fixed, 0, self.weights[:, -1])
        return LinearState(self.weights[:, :-1].copy(), intercept, dual, np.ones(len(dual)))

    def run(
        self,
        tolerance: float,
        max_steps: int,
        report: Callable[[LinearProgress], None] | None,
    ) -> LinearSolution:
        """Steps until solved, stopped or told to end."""
        count = len(self.losses)
        progress = LinearProgress(0, np.full(count, np.inf), np.full(count, -np.inf))
        stall, interrupted, steps = Stall(), False, 0
        try:
            products = self.products(self.weights)
            while True:
                dual, slope = _respond(self.losses, products)
                sums = np.c_[self.rows.sums(dual), dual.sum(1)]
                primal, value, scaled = self.measure(products, sums, dual)
                if not (np.isfinite(primal).all() and np.isfinite(value).all()):
                    break
                progress = LinearProgress(steps, primal, value)
                self.best = self.state(scaled)
                if report:
                    report(progress.with_support(scaled))
                open_ = (progress.relative_gap > tolerance) | (self.factor > 1)
                solved = (progress.relative_gap <= tolerance).all()
                if solved or steps >= max_steps or stall.seen(progress):
                    break
                price = self.penalty * self.lowered(sums)[:, None]
                direction = self.newton.direction(slope, sums, self.weights, price, open_)
                moved = self.products(direction)
                for k, loss in enumerate(self.losses):
                    step = _step(loss, products[k], moved[k], self.weights[k], direction[k],
                                 price[k], sums[k])  # fmt: skip
                    self.weights[k] += step * direction[k]
                    products[k] += step * moved[k]
                steps += 1
        except KeyboardInterrupt:
            interrupted = True
        converged = bool((progress.relative_gap <= tolerance).all())
        return LinearSolution(self.best, progress, converged, interrupted)

    def products(self, weights: np.ndarray) -> np.ndarray:
        """`[problems, rows]`, the intercept included."""
        return np.ascontiguousarray(self.rows.products(weights[:, :-1])) + weights[:, -1:]

    def lowered(self, sums: np.ndarray) -> np.ndarray:
        """`[problems]`: the factors of the penalties, lower where the last ones are met."""
        largest = np.abs(sums[:, :-1]).max(1)
        lower = np.maximum(np.minimum(self.factor, largest) / FALL, 1)
        self.factor = np.where(largest <= SETTLED * self.factor, lower, self.factor)
        return self.factor

    def measure(
        self, products: np.ndarray, sums: np.ndarray, dual: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both objectives, and the dual variables of the second."""
        lost = [loss.primal(line) for loss, line in zip(self.losses, products, strict=True)]
        primal = np.array(lost) + (self.penalty * np.abs(self.weights)).sum(1)
        # Smaller variables are feasible: no weighted sum may exceed the penalty of its weight.
        priced = self.penalty > 0
        largest = np.where(priced, np.abs(sums) / np.where(priced, self.penalty, 1), 0).max(1)
        scaled = dual / np.maximum(largest, 1)[:, None]
        value = [loss.dual(line) for loss, line in zip(self.losses, scaled, strict=True)]
        return primal, np.array(value), scaled


def _respond(losses: list[Loss], products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[problems, rows]`: dual variables and their slopes."""
    found = [loss.respond(line, line, 0.0) for loss, line in zip(losses, products, strict=True)]
    return np.stack([each.dual for each in found]), np.stack([each.slope for each in found])


def _step(
    loss: Loss,
    products: np.ndarray,
    moved: np.ndarray,
    weights: np.ndarray,
    direction: np.ndarray,
    penalty: np.ndarray,
    sums: np.ndarray,
) -> float:
    """The longest of the halved steps by which the objective falls enough; 0 where none does."""
    size = float(penalty @ np.abs(weights))
    now = loss.primal(products) + size
    rise = float(penalty @ np.abs(weights + direction)) - size
    expected = rise - float(sums @ direction)
    rounding = 8 * np.finfo(np.float64).eps * now  # near the optimum less than this is left
    for step in 0.5 ** np.arange(HALVINGS):
        value = loss.primal(products + step * moved)
        value += float(penalty @ np.abs(weights + step * direction))
        if value <= now + 0.01 * step * expected + rounding:
            return float(step)
    return 0.0


class _NewtonOfAll:
    """Moves all features. The Gram matrices stay, and change by the rows that change."""

    def __init__(self, rows: Rows, weights: np.ndarray) -> None:
        self.rows = rows
        self.gram = [np.zeros((weights.shape[1],) * 2) for _ in weights]
        self.slope = np.zeros((len(weights), rows.num_rows))

    def direction(
        self,
        slope: np.ndarray,
        sums: np.ndarray,
        weights: np.ndarray,
        penalty: np.ndarray,
        open_: np.ndarray,
    ) -> np.ndarray:
        found, part = np.zeros(weights.shape), np.flatnonzero(open_)
        for k in part:
            self.gram[k] = self.rows.add_gram(self.gram[k], slope[k] - self.slope[k])
            self.slope[k] = slope[k]
        gram = np.stack([self.gram[k] for k in part])
        found[part] = np.asarray(_direction(gram, sums[part], weights[part], penalty[part]))
        return np.where(np.isfinite(found), found, 0)


class _NewtonOfSome:
    """Moves some of many features, of each problem others."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.alone = jax.default_backend() == "cpu"

    def direction(
        self,
        slope: np.ndarray,
        sums: np.ndarray,
        weights: np.ndarray,
        penalty: np.ndarray,
        open_: np.ndarray,
    ) -> np.ndarray:
        used = (weights[:, :-1] != 0).sum(1)
        wrong = ((weights == 0) & (np.abs(sums) > penalty))[:, :-1].sum(1)
        needed = np.where(open_, used + np.minimum(wrong, used // 2 + 2 * SIZES[0]), 0)
        self._check(((used >= SIZES[-1]) & (wrong > 0) & open_).any())
        direction = np.zeros(weights.shape)
        left = np.argsort(needed, kind="stable")[len(needed) - open_.sum() :]
        while len(left):
            size = _size(needed[left[-1]], weights)
            together = 1 if self.alone else max(1, GRAM_BYTES // (8 * size * size))
            left, part = left[:-together], left[-together:]
            ranked = [_rank(sums[k], weights[k], most=size) for k in part]
            grams = [
                self.rows.gram_of_features(index, slope[k])
                for k, index in zip(part, ranked, strict=True)
            ]
            index = np.pad(np.stack(ranked), ((0, 0), (0, 1)), constant_values=-1)
            own = (each[part[:, None], index] for each in (sums, weights, penalty))
            found = np.asarray(_direction_of_some(np.stack(grams), *own))
            direction[part[:, None], index] = np.where(np.isfinite(found), found, 0)
        return direction

    def _check(self, full: Any) -> None:
        if full:
            raise InputError(
                f"penalty: l1 is not allowed where more than {SIZES[-1]} of the "
                f"{self.rows.num_features} features have weights; a smaller C leaves fewer"
            )


def _size(needed: Any, weights: np.ndarray) -> int:
    """Rounds up to one of few sizes, so that few programs are compiled."""
    size = next((size for size in SIZES if size >= needed), SIZES[-1])
    return min(size, weights.shape[1] - 1)


def _rank(sums: np.ndarray, weights: np.ndarray, *, most: int) -> np.ndarray:
    """`[most]`: features with weights, then those of the largest slopes."""
    score = np.where(weights != 0, np.inf, np.abs(sums))[:-1]
    if most < len(score):
        score_of = np.argpartition(-score, most - 1)[:most]
        return score_of[np.argsort(-score[score_of], kind="stable")]
    return np.argsort(-score, kind="stable")


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
def _direction_of_some(gram: Array, sums: Array, weights: Array, penalty: Array) -> Array:
    """As `_direction`, of other features of each problem, as near as a step of many is worth.

    So many features depend on each other, and sweeps alone are slow.
    """
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
