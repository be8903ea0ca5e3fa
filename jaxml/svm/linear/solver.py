r"""Linear support vector machines to a proven optimum, many problems at once.

The squared losses have second derivatives almost everywhere, so they are minimised by Newton's
method with an exact line search, which ends after a finite number of steps. The others are
minimised as a sequence of such problems, by the method of multipliers: see
`jaxml.svm.linear.problems`. The second derivative is a Gram matrix of the examples within the
margin; from step to step few of them change, and only those are added and subtracted. Where there
are too many features for that, the Newton system is turned into one with an unknown for each
example within the margin, and where there are too many of these as well it is solved by conjugate
gradients.

Source: Keerthi and DeCoste, "A modified finite Newton method", 2005; Yan and Li, "An efficient
augmented Lagrangian method for support vector machine", 2022.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import ThreadpoolController

from jaxml.svm.linear import problems as linear_problems
from jaxml.svm.linear.problems import LinearProblems, Response, is_of_classes, is_squared
from jaxml.svm.linear.rows import Rows, StreamedRows
from jaxml.types import Array

# The most unknowns of a Newton system that is solved as it is: features, or else examples.
MOST_FEATURES = 2048
MOST_EXAMPLES = 4096
# Below this many rows a start from a part of them gains nothing.
LEAST_NESTED = 8192


class LinearState(NamedTuple):
    """Where the solver stands: all that it needs to go on.

    Attributes:
      weights: `[problems, features]`.
      intercept: `[problems]`.
      dual: `[problems, rows]`: the multipliers.
      penalty: `[problems]`: of the augmented Lagrangian.
    """

    weights: Array
    intercept: Array
    dual: Array
    penalty: Array


@dataclass(frozen=True)
class LinearProgress:
    """Where the solver stands, for people.

    Attributes:
      steps: of Newton's method, on all rows.
      primal: `[problems]` in float64.
      dual: `[problems]` in float64; minus infinity where no feasible point is at hand.
      num_support: examples that count in a solution, in what is reported.
    """

    steps: int
    primal: np.ndarray
    dual: np.ndarray
    num_support: int = field(default=0, kw_only=True)

    @property
    def relative_gap(self) -> np.ndarray:
        """`[problems]`: primal minus dual, as a part of the primal; NaN before any is known."""
        with np.errstate(invalid="ignore"):
            return (self.primal - self.dual) / np.maximum(np.abs(self.primal), 1e-300)

    def with_support(self, dual: Array) -> "LinearProgress":
        """The same, with the examples counted that these variables `[problems, rows]` use."""
        return replace(self, num_support=int(np.asarray(dual).any(0).sum()))


@dataclass
class Stall:
    """Notices numbers beyond the dtype, and that no gap gets smaller any more."""

    patience: int = 100
    least: float = math.inf
    waited: int = 0

    def seen(self, progress: LinearProgress) -> bool:
        """Whether going on is of no use."""
        gap = float(progress.relative_gap.sum())
        self.waited = 0 if gap < 0.9 * self.least else self.waited + 1
        self.least = min(self.least, gap)
        return not np.isfinite(progress.primal).all() or self.waited >= self.patience


@dataclass(frozen=True)
class LinearSolution:
    """What was found.

    Attributes:
      state: from which it could go on.
      progress: in the working precision.
      converged: whether each relative gap is within the tolerance.
      interrupted: whether the run was stopped by the keyboard.
    """

    state: LinearState
    progress: LinearProgress
    converged: bool
    interrupted: bool


def solve(
    problems: LinearProblems,
    rows: Rows,
    *,
    loss: str,
    start: LinearState | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 1000,
    report: Callable[[LinearProgress], None] | None = None,
) -> LinearSolution:
    """Minimises each problem until its relative duality gap is within the tolerance.

    Args:
      problems: over the rows.
      rows: the examples.
      loss: one of `jaxml.svm.linear.problems.LOSSES`.
      start: where to begin; None begins with the solution for a part of the rows.
      tolerance: of primal minus dual, as a part of the primal.
      max_steps: of Newton's method, after which it ends unsolved.
      report: is told after each step where it stands.

    Returns:
      The solution, or how far it came.
    """
    stopped = False
    if start is None:
        start, stopped = _start(problems, rows, loss=loss)
    found = _Newton(problems, rows, loss).run(start, tolerance, 0 if stopped else max_steps, report)
    return replace(found, interrupted=stopped or found.interrupted)


def _start(problems: LinearProblems, rows: Rows, *, loss: str) -> tuple[LinearState, bool]:
    """Zeros, or with many rows the rough solution for some, and whether that was interrupted."""
    count = len(problems.target)
    weights = jnp.zeros((count, rows.num_features), problems.target.dtype)
    start = _at(problems, weights, jnp.zeros(count, weights.dtype), loss)
    if isinstance(rows, StreamedRows) or rows.num_rows < LEAST_NESTED:
        return start, False
    every, softer = 8, 0.1
    part = np.sort(np.random.default_rng(0).permutation(rows.num_rows)[: rows.num_rows // every])
    # Few rows are told apart too well at their own cost, which helps little with all of them.
    cost = softer * problems.cost[:, part]
    some = problems._replace(target=problems.target[:, part], cost=cost)
    rough = solve(some, rows.part(part), loss=loss, tolerance=0.1, max_steps=30)
    state = _at(problems, rough.state.weights, rough.state.intercept, loss)
    return state, rough.interrupted


def _at(problems: LinearProblems, weights: Array, intercept: Array, loss: str) -> LinearState:
    """The beginning of the method of multipliers at given weights."""
    penalty = 0.5 * _unit(problems, loss)
    return LinearState(weights, intercept, jnp.zeros_like(problems.target), penalty)


def _unit(problems: LinearProblems, loss: str) -> Array:
    """The penalty `[problems]` that takes a dual variable to its bound by a typical residual."""
    cost = problems.cost.max(1)
    typical = jnp.ones_like(cost)
    if not is_of_classes(loss):
        takes_part = problems.cost > 0
        mean = jnp.mean(problems.target, 1, keepdims=True, where=takes_part)
        typical = jnp.mean(jnp.abs(problems.target - mean), 1, where=takes_part)
    unit = cost / typical
    return jnp.where(jnp.isfinite(unit) & (unit > 0), unit, 1)


class _Measured(NamedTuple):
    gradient: Array
    primal: Array
    dual: Array
    response: Response


class _Newton:
    """Newton's method, with what it remembers from step to step."""

    def __init__(self, problems: LinearProblems, rows: Rows, loss: str) -> None:
        self.problems, self.rows, self.loss = problems, rows, loss
        self.blas = ThreadpoolController()
        self.direct = rows.num_features <= MOST_FEATURES
        size = rows.num_features + 1
        count = len(problems.target)
        dtype = problems.target.dtype
        self.gram = [jnp.zeros((size, size), dtype) for _ in range(count)] if self.direct else []
        self.in_gram = np.zeros(problems.target.shape, dtype)
        # A free intercept has no curvature of its own; that of one example keeps its steps short.
        one = 2 * problems.cost.max(1) if is_squared(loss) else problems.cost.max(1)
        free = jnp.where(problems.intercept > 0, problems.intercept, one)
        self.ridge = np.ones((count, size), dtype)
        self.ridge[:, -1] = free

    def run(
        self,
        state: LinearState,
        tolerance: float,
        max_steps: int,
        report: Callable[[LinearProgress], None] | None,
    ) -> LinearSolution:
        """Steps until solved, stopped or told to end."""
        products = self.products(state.weights, state.intercept)
        progress = LinearProgress(0, *(np.full(len(products), v) for v in (np.inf, -np.inf)))
        best, stall, interrupted = state, Stall(), False
        try:
            while True:
                now = self.measure(state, products)
                progress = replace(
                    progress,
                    primal=np.asarray(now.primal, np.float64),
                    dual=np.asarray(now.dual, np.float64),
                )
                best = state._replace(dual=now.response.dual)
                if report:
                    report(progress.with_support(best.dual))
                unsolved = ~(progress.relative_gap <= tolerance)
                if not unsolved.any() or progress.steps >= max_steps or stall.seen(progress):
                    break
                if not is_squared(self.loss):
                    state, now = self.multiply(state, products, now, progress, unsolved)
                direction = self.direction(state, now, unsolved)
                state, products = self.move(state, products, direction, unsolved)
                progress = replace(progress, steps=progress.steps + 1)
        except KeyboardInterrupt:
            interrupted = True
        converged = bool((progress.relative_gap <= tolerance).all())
        return LinearSolution(best, progress, converged, interrupted)

    def products(self, weights: Array, intercept: Array) -> Array:
        """`[problems, rows]`, the intercept included."""
        return self.rows.products(weights) + intercept[:, None]

    def measure(self, state: LinearState, products: Array) -> _Measured:
        """The gradient, `[problems, features + 1]`, and both objectives."""
        at = _respond(self.problems, products, state.dual, state.penalty, loss=self.loss)
        sums = self.rows.sums(at.dual)
        return _measure(self.problems, products, state, sums, at, loss=self.loss)

    def multiply(
        self,
        state: LinearState,
        products: Array,
        now: _Measured,
        progress: LinearProgress,
        unsolved: np.ndarray,
    ) -> tuple[LinearState, _Measured]:
        """Takes over the multipliers of problems whose inner problem is solved well enough."""
        slack = np.square(np.asarray(now.gradient, np.float64)).sum(1) / 2
        ready = unsolved & (slack <= 0.1 * (progress.primal - progress.dual))
        if not ready.any():
            return state, now
        most = 500 * _unit(self.problems, self.loss)  # beyond, float32 loses the curvature
        state = state._replace(
            dual=jnp.where(ready[:, None], now.response.dual, state.dual),
            penalty=jnp.where(ready, jnp.minimum(3 * state.penalty, most), state.penalty),
        )
        return state, self.measure(state, products)

    def direction(self, state: LinearState, now: _Measured, unsolved: np.ndarray) -> Array:
        """`[problems, features + 1]`: Newton's, 0 for problems that are solved."""
        if not self.direct:
            return self.by_examples(now, unsolved)
        # NumPy's indexing and arithmetic, for JAX compiles a program for each.
        scale = np.asarray(state.penalty)
        if is_squared(self.loss):
            scale = np.ones_like(scale)
        slope = np.asarray(now.response.slope) / scale[:, None]
        gradient = np.asarray(now.gradient)
        found = np.zeros_like(gradient)
        if not self.in_gram.any() and (slope == slope[0]).all():  # at the very beginning
            first = self.rows.add_gram(self.gram[0], slope[0])
            self.gram = [jnp.copy(first) for _ in slope]
            self.in_gram = np.array(slope)
        for k in np.flatnonzero(unsolved):
            self._update_gram(k, slope[k])
            # LAPACK's threads and those of XLA wait for one another: one Cholesky decomposition of
            # 785 features takes 29 ms with two threads of LAPACK's on two busy cores, 6 with one.
            with self.blas.limit(limits=1, user_api="blas"):
                found[k] = _direct(self.gram[k], scale[k], self.ridge[k], gradient[k])
        return jnp.asarray(found)

    def _update_gram(self, k: Any, slope: np.ndarray) -> None:
        """By the examples whose slope has changed, or from nothing where that is less."""
        change = slope - self.in_gram[k]
        if np.count_nonzero(slope) < np.count_nonzero(change):
            self.gram[k], change = jnp.zeros_like(self.gram[k]), slope
        self.gram[k] = self.rows.add_gram(self.gram[k], change)
        self.in_gram[k] = slope

    def by_examples(self, now: _Measured, unsolved: np.ndarray) -> Array:
        """With an unknown for each example within the margin, by Woodbury's formula."""
        slope = np.asarray(now.response.slope)
        within = [np.flatnonzero(line) for line in slope]
        if max(len(index) for index in within) > MOST_EXAMPLES:
            return self.conjugate(now)
        start = -now.gradient / self.ridge
        moved = np.asarray(self.products(start[:, :-1], start[:, -1]))
        pushed = np.zeros_like(slope)
        for k in np.flatnonzero(unsolved):
            index = _padded(within[k])
            root = np.sqrt(slope[k, index]) * (np.arange(len(index)) < len(within[k]))
            gram = self.rows.gram_of_rows(index)
            found = _direct_by_examples(gram, self.ridge[k, -1], root, moved[k, index])
            pushed[k, within[k]] = np.asarray(found)[: len(within[k])]
        pushed = jnp.asarray(pushed)
        sums = jnp.concatenate([self.rows.sums(pushed), pushed.sum(1, keepdims=True)], axis=1)
        return jnp.where(jnp.asarray(unsolved)[:, None], start - sums / self.ridge, 0)

    def conjugate(self, now: _Measured, *, most: int = 50) -> Array:
        """Conjugate gradients, preconditioned by the diagonal of the curvature."""
        slope = now.response.slope
        diagonal = jnp.concatenate([self.rows.squares(slope), slope.sum(1, keepdims=True)], axis=1)
        search = _begin(now.gradient, self.ridge + diagonal)
        goal = 0.01 * np.asarray(search.power)
        for _ in range(most):
            moved = self.products(search.line[:, :-1], search.line[:, -1])
            curved = slope * moved
            sums = jnp.concatenate([self.rows.sums(curved), curved.sum(1, keepdims=True)], axis=1)
            search = _continue(search, sums + self.ridge * search.line, self.ridge + diagonal)
            if (np.asarray(search.power) <= goal).all():
                break
        return search.found

    def move(
        self, state: LinearState, products: Array, direction: Array, unsolved: np.ndarray
    ) -> tuple[LinearState, Array]:
        """The least point along each direction."""
        moved = self.products(direction[:, :-1], direction[:, -1])
        return _move(
            self.problems, state, products, direction, moved, jnp.asarray(unsolved), loss=self.loss
        )


_respond = jax.jit(linear_problems.response, static_argnames="loss")


@partial(jax.jit, static_argnames="loss")
def _measure(
    problems: LinearProblems,
    products: Array,
    state: LinearState,
    sums: Array,
    at: Response,
    *,
    loss: str,
) -> _Measured:
    sums = jnp.concatenate([sums, at.dual.sum(1, keepdims=True)], axis=1)
    gradient = jnp.concatenate(
        [state.weights, (problems.intercept * state.intercept)[:, None]], axis=1
    )
    primal = _square(state.weights, state.intercept, problems)
    primal += linear_problems.loss_sum(problems, products, loss=loss)
    dual = linear_problems.dual_sum(problems, at.dual, loss=loss)
    free = problems.intercept == 0
    norm = jnp.square(sums[:, :-1]).sum(1)
    own = jnp.where(free, 0, jnp.square(sums[:, -1]) / jnp.where(free, 1, problems.intercept))
    # Where the equation of a free intercept does not hold yet, making it hold costs about this.
    missing = jnp.where(free, jnp.abs(sums[:, -1]) * (1 + jnp.abs(state.intercept)), 0)
    return _Measured(gradient - sums, primal, dual - (norm + own) / 2 - missing, at)


def _square(weights: Array, intercept: Array, problems: LinearProblems) -> Array:
    return (jnp.square(weights).sum(1) + problems.intercept * jnp.square(intercept)) / 2


@jax.jit
def _direct(gram: Array, scale: Array, ridge: Array, gradient: Array) -> Array:
    factor = jax.scipy.linalg.cho_factor(scale * gram + jnp.diag(ridge), lower=True)
    return -jax.scipy.linalg.cho_solve(factor, gradient)


@jax.jit
def _direct_by_examples(gram: Array, ridge: Array, root: Array, moved: Array) -> Array:
    system = root[:, None] * (gram + 1 / ridge) * root[None, :] + jnp.eye(len(root))
    return root * jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(system), root * moved)


def _padded(index: np.ndarray) -> np.ndarray:
    """As many as a multiple of 256, so that few programs are compiled."""
    return np.concatenate([index, np.zeros(-len(index) % 256, index.dtype)])


@partial(jax.jit, static_argnames="loss")
def _move(
    problems: LinearProblems,
    state: LinearState,
    products: Array,
    direction: Array,
    moved: Array,
    unsolved: Array,
    *,
    loss: str,
) -> tuple[LinearState, Array]:
    along, intercept = direction[:, :-1], direction[:, -1]
    own = problems.intercept * intercept
    step = linear_problems.search_line(
        problems,
        products,
        moved,
        state.dual,
        state.penalty,
        (state.weights * along).sum(1) + state.intercept * own,
        jnp.square(along).sum(1) + intercept * own,
        loss=loss,
    )
    step = jnp.where(unsolved & jnp.isfinite(step), step, 0)[:, None]
    weights = state.weights + step * along
    return state._replace(
        weights=weights, intercept=state.intercept + step[:, 0] * intercept
    ), products + step * moved


class _Conjugate(NamedTuple):
    found: Array
    left: Array
    line: Array
    power: Array


@jax.jit
def _begin(gradient: Array, diagonal: Array) -> _Conjugate:
    line = -gradient / diagonal
    return _Conjugate(jnp.zeros_like(line), -gradient, line, -(gradient * line).sum(1))


@jax.jit
def _continue(search: _Conjugate, curved: Array, diagonal: Array) -> _Conjugate:
    curvature = (search.line * curved).sum(1)
    live = (curvature > 0) & (search.power > 0)
    step = jnp.where(live, search.power / jnp.where(live, curvature, 1), 0)[:, None]
    left = search.left - step * curved
    power = (left * left / diagonal).sum(1)
    again = jnp.where(live, power / jnp.where(live, search.power, 1), 0)[:, None]
    return _Conjugate(
        search.found + step * search.line, left, left / diagonal + again * search.line, power
    )
