r"""Linear support vector machines to a proven optimum, many problems at once.

The squared losses have second derivatives almost everywhere, so they are minimised by Newton's
method with an exact line search, which ends after a finite number of steps. The others are
minimised as a sequence of such problems, by the method of multipliers: see
`jaxml.svm.linear.problems`. The second derivative is a Gram matrix of the examples within the
margin; from step to step few of them change, and only those are added and subtracted. Where there
are too many features for that, the Newton system is turned into one with an unknown for each
example within the margin, and solved by conjugate gradients, or directly where these are slow.

Vectors are in float64. Products with many dense examples are in float32 as long as the gap falls,
and in float64 from there on.

Source: Keerthi and DeCoste, "A modified finite Newton method", 2005; Yan and Li, "An efficient
augmented Lagrangian method for support vector machine", 2022.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.linalg
from threadpoolctl import ThreadpoolController

from jaxml.svm.linear.coordinates import standardize
from jaxml.svm.linear.problems import LinearProblems, is_of_classes, is_squared
from jaxml.svm.linear.proof import balanced, relative_gap
from jaxml.svm.linear.rows import Rows, SparseRows, StreamedRows
from jaxml.svm.threads import blas, for_each

# The most unknowns of a Newton system that is solved as it is: features, or else examples.
MOST_FEATURES = 2048
MOST_EXAMPLES = 4096
# Below this many rows a start from a part of them gains nothing.
LEAST_NESTED = 8192
# Up to so many entries float64 costs little more than float32.
FEW_ENTRIES = 2**23
# Products of a system that is solved by conjugate gradients, and the residual that is small enough.
MOST_PRODUCTS, SMALL_RESIDUAL = 100, 0.1
# Steps without progress after which the dual is evaluated ahead of each step, too.
CAREFUL = 3


class LinearState(NamedTuple):
    """Where the solver stands: all that it needs to resume.

    Attributes:
      weights: `[problems, features]`.
      intercept: `[problems]`.
      dual: `[problems, rows]`: the multipliers.
      penalty: `[problems]`: of the augmented Lagrangian.
    """

    weights: np.ndarray
    intercept: np.ndarray
    dual: np.ndarray
    penalty: np.ndarray


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
        """`[problems]`: primal minus dual, relative to the primal; infinite before it is known."""
        return relative_gap(self.primal, self.dual)

    def with_support(self, dual: np.ndarray) -> "LinearProgress":
        """The same, with the examples counted that these variables `[problems, rows]` use."""
        return replace(self, num_support=int(np.asarray(dual).any(0).sum()))


@dataclass
class Stall:
    """Notices that the gaps no longer get smaller."""

    patience: int = 100
    least: float = math.inf
    waited: int = 0

    def seen(self, progress: LinearProgress) -> bool:
        """Whether more steps are of no use."""
        gap = float(np.minimum(progress.relative_gap, 1e6).sum())
        self.waited = 0 if gap < 0.9 * self.least else self.waited + 1
        self.least = min(self.least, gap)
        return self.waited >= self.patience


@dataclass(frozen=True)
class LinearSolution:
    """What was found.

    Attributes:
      state: from which it could resume.
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
    precise: bool = False,
) -> LinearSolution:
    """Minimises each problem until its relative duality gap is within the tolerance.

    Args:
      problems: over the rows.
      rows: the examples.
      loss: one of `jaxml.svm.linear.problems.LOSSES`.
      start: where to begin; None begins with the solution for a part of the rows.
      tolerance: of primal minus dual, relative to the primal.
      max_steps: of Newton's method, after which it ends unsolved.
      report: called with the progress after each step.
      precise: whether all products are in float64 from the beginning.

    Returns:
      The solution, or how far it came.
    """
    problems, stopped = problems.in_double(), False
    if start is None:
        start, stopped = _start(problems, rows, loss=loss)
    if stopped:
        max_steps = 0
    steps, found = 0, None
    for dtype in working_dtypes(rows)[-1 if precise else 0 :]:
        with _precision(dtype), _threads(many=False):
            newton = _Newton(problems, rows, loss, dtype)
            found = newton.run(start, tolerance, max_steps, report, steps)
        start, steps = found.state, found.progress.steps
        if found.converged or found.interrupted or steps >= max_steps:
            break
    assert found is not None
    return replace(found, interrupted=stopped or found.interrupted)


def working_dtypes(rows: Rows) -> list[Any]:
    """The dtypes of products, in the order in which they are tried."""
    few = rows.num_rows * rows.num_features <= FEW_ENTRIES and jax.default_backend() == "cpu"
    direct = rows.num_features <= MOST_FEATURES
    on_host = isinstance(rows, SparseRows) and (rows.on_host or direct)
    return [np.float64] if few or on_host else [np.float32, np.float64]


@cache
def _blas() -> tuple[ThreadpoolController, int]:
    found = blas()
    counts = [part["num_threads"] for part in found.info() if part["user_api"] == "blas"]
    return found, max(counts, default=1)


def _threads(*, many: bool) -> Any:
    """Threads of BLAS wait for one another longer than products of short vectors take."""
    found, most = _blas()
    return found.limit(limits=most if many else 1, user_api="blas")


def _precision(dtype: Any) -> Any:
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def _start(problems: LinearProblems, rows: Rows, *, loss: str) -> tuple[LinearState, bool]:
    """Zeros, or with many rows the rough solution for some, and whether that was interrupted."""
    count = len(problems.target)
    weights = np.zeros((count, rows.num_features))
    start = _at(problems, weights, _first_intercept(problems, rows, loss), loss)
    if isinstance(rows, StreamedRows) or rows.num_rows < LEAST_NESTED:
        return start, False
    every, softer = 8, 0.1
    part = np.sort(np.random.default_rng(0).permutation(rows.num_rows)[: rows.num_rows // every])
    # A subsample is too easily separable at the full cost.
    cost = softer * problems.cost[:, part]
    some = problems._replace(target=problems.target[:, part], cost=cost)
    rough = solve(some, rows.part(part), loss=loss, tolerance=0.1, max_steps=30)
    state = _at(problems, rough.state.weights, rough.state.intercept, loss)
    return state, rough.interrupted


def _first_intercept(problems: LinearProblems, rows: Rows, loss: str) -> np.ndarray:
    """`[problems]`: that of the larger class where this is better than 0.

    Its examples then lie on the margin with weights of 0, so that the first steps of sparse
    problems only deal with those of the smaller class.
    """
    nothing = np.zeros(len(problems.target))
    if not (is_of_classes(loss) and isinstance(rows, SparseRows)):
        return nothing
    mass = problems.cost * (problems.target > 0), problems.cost * (problems.target < 0)
    positive, negative = (part.sum(1) for part in mass)
    growth = 4.0 if is_squared(loss) else 2.0  # of the loss of an example on the wrong side
    value = growth * np.minimum(positive, negative) + problems.intercept / 2
    side = np.where(positive > negative, 1.0, -1.0)
    return np.where(value < positive + negative, side, nothing)


def _at(
    problems: LinearProblems, weights: np.ndarray, intercept: np.ndarray, loss: str
) -> LinearState:
    """The beginning of the method of multipliers at given weights."""
    penalty = 0.5 * _unit(problems, loss)
    return LinearState(weights, intercept, np.zeros(problems.target.shape), penalty)


def _unit(problems: LinearProblems, loss: str) -> np.ndarray:
    """The penalty `[problems]` that takes a dual variable to its bound by a typical residual."""
    cost = problems.cost.max(1)
    typical = np.ones(len(cost))
    if not is_of_classes(loss):
        counts = problems.cost > 0
        number = np.maximum(counts.sum(1), 1)
        mean = (problems.target * counts).sum(1) / number
        typical = (np.abs(problems.target - mean[:, None]) * counts).sum(1) / number
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = cost / typical
    return np.where(np.isfinite(unit) & (unit > 0), unit, 1)


class _Newton:
    """Newton's method, with what it remembers from step to step."""

    def __init__(self, problems: LinearProblems, rows: Rows, loss: str, dtype: Any) -> None:
        self.problems, self.loss, self.dtype = problems, loss, dtype
        self.losses = problems.losses(loss)
        self.rows, self.coordinates = standardize(rows)
        self.direct = rows.num_features <= MOST_FEATURES
        self.size = rows.num_features + 1
        self.gram: list[np.ndarray | None] = [None] * len(problems.target)
        self.in_gram = np.zeros(problems.target.shape if self.direct else (0, 0))
        own = problems.intercept
        self.priced = np.where(np.isfinite(own), own, 0)  # the weight of the intercept's square
        self.along = self.coordinates.direction
        self.diagonal = np.append(1 / np.square(self.coordinates.scale), 0.0)
        # A free intercept has no curvature of its own; that of one example keeps its steps short.
        one = np.maximum((2 if is_squared(loss) else 1) * problems.cost.max(1), 1e-300)
        if self.coordinates.shifted:
            self.corner = np.where(own > 0, 1e-8 * np.minimum(own, one), one)
        else:
            self.corner = np.where(own > 0, np.minimum(own, 1e200), one)

    def run(
        self,
        state: LinearState,
        tolerance: float,
        max_steps: int,
        report: Callable[[LinearProgress], None] | None,
        steps: int = 0,
    ) -> LinearSolution:
        """Steps until solved, stopped or told to end."""
        count = len(self.losses)
        theta = self.coordinates.enter(state.weights, state.intercept)
        multipliers, penalty = np.array(state.dual), np.array(state.penalty)
        progress = LinearProgress(steps, *(np.full(count, v) for v in (np.inf, -np.inf)))
        best = _Best(
            theta.copy(), np.array(state.dual), progress.primal.copy(), progress.dual.copy()
        )
        stall = Stall(100 if self.dtype == np.float64 else 20)
        interrupted = False
        try:
            products = self.products(theta)
            unsolved = np.arange(count)
            while True:
                now = self.measure(unsolved, theta, products, multipliers, penalty)
                best.take(unsolved, now, theta)
                progress = replace(progress, primal=best.primal.copy(), dual=best.dual.copy())
                if report:
                    report(progress.with_support(best.variables))
                unsolved = np.flatnonzero(~(progress.relative_gap <= tolerance))
                if not len(unsolved) or progress.steps >= max_steps or stall.seen(progress):
                    break
                now = now.only(unsolved)
                if not is_squared(self.loss):
                    now = self.multiply(now, theta, products, multipliers, penalty, progress)
                direction = self.direction(now, penalty)
                moved = self.products(direction)
                if stall.waited >= CAREFUL:
                    best.take(unsolved, self.ahead(now, moved), theta)
                for j, k in enumerate(unsolved):
                    step = self.step(
                        k, theta[k], direction[j], products[k], moved[j], multipliers[k], penalty[k]
                    )
                    theta[k] += step * direction[j]
                    products[k] += step * moved[j]
                progress = replace(progress, steps=progress.steps + 1)
        except KeyboardInterrupt:
            interrupted = True
        weights, intercept = self.coordinates.leave(best.theta)
        intercept = np.where(np.isinf(self.problems.intercept), 0, intercept)
        end = LinearState(weights, intercept, best.variables, penalty)
        converged = bool((progress.relative_gap <= tolerance).all())
        return LinearSolution(end, progress, converged, interrupted)

    def products(self, theta: np.ndarray) -> np.ndarray:
        """`[problems, rows]`, the intercept included."""
        with self.heavy():
            found = self.rows.products(theta[:, :-1].astype(self.dtype))
        return np.ascontiguousarray(found, np.float64) + theta[:, -1:]

    def sums(self, dual: np.ndarray) -> np.ndarray:
        """`[problems, features]`."""
        with self.heavy():
            return self.rows.sums(dual.astype(self.dtype)).astype(np.float64)

    def heavy(self) -> Any:
        """The threads of products with all examples."""
        large = self.rows.num_rows * self.rows.num_features > FEW_ENTRIES
        return _threads(many=True) if large else nullcontext()

    def penalty_of(self, k: Any, theta: np.ndarray) -> np.ndarray:
        """`[features + 1]`: the derivative of the penalty of problem k."""
        return self.diagonal * theta + self.priced[k] * (self.along @ theta) * self.along

    def measure(
        self,
        index: np.ndarray,
        theta: np.ndarray,
        products: np.ndarray,
        multipliers: np.ndarray,
        penalty: np.ndarray,
    ) -> "_Measured":
        """The gradients and both objectives of some problems."""
        responses = [self.losses[k].respond(products[k], multipliers[k], penalty[k]) for k in index]
        dual = np.stack([each.dual for each in responses])
        sums, total = self.sums(dual), dual.sum(1)
        gradient = np.concatenate([-sums, -total[:, None]], axis=1)
        primal = np.empty(len(index))
        for j, k in enumerate(index):
            penal = self.penalty_of(k, theta[k])
            gradient[j] += penal
            primal[j] = self.losses[k].primal(products[k]) + penal @ theta[k] / 2
        dual, value = self.bound(index, dual, (sums, total))
        slope = [each.slope for each in responses]
        return _Measured(index, gradient, primal, value, dual, slope)

    def bound(
        self, index: np.ndarray, dual: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feasible dual variables of some problems, and the dual there.

        Args:
          index: the problems.
          dual: `[len(index), rows]`.
          known: their sums with the examples and alone, or None.
        """
        own = self.problems.intercept[index]
        dual = dual.copy()
        for j, k in enumerate(index):
            low, high = self.losses[k].bounds()
            if own[j] == 0:
                dual[j] = balanced(dual[j], low, high)
            elif known is None:
                np.clip(dual[j], low, high, out=dual[j])
        changed = np.flatnonzero(own == 0) if known is not None else np.arange(len(index))
        sums, total = known or (np.empty((len(index), self.size - 1)), np.empty(len(index)))
        if len(changed):
            sums, total = sums.copy(), total.copy()
            sums[changed], total[changed] = self.sums(dual[changed]), dual[changed].sum(1)
        norm = np.square(self.coordinates.sums(sums, total)).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            norm += np.where(own > 0, np.square(total) / own, 0)
        value = [self.losses[k].dual(line) for k, line in zip(index, dual, strict=True)]
        return dual, np.array(value) - norm / 2

    def ahead(self, now: "_Measured", moved: np.ndarray) -> "_Measured":
        """The dual variables to which Newton's step leads.

        They have the digits that the products near the targets lack, where costs are large.
        """
        dual, value = self.bound(now.which, now.dual - np.stack(now.slope) * moved, None)
        return now._replace(dual=dual, value=value, primal=np.full(len(value), np.inf))

    def multiply(
        self,
        now: "_Measured",
        theta: np.ndarray,
        products: np.ndarray,
        multipliers: np.ndarray,
        penalty: np.ndarray,
        progress: LinearProgress,
    ) -> "_Measured":
        """Takes over the multipliers of problems whose inner problem is solved well enough."""
        left = self.coordinates.sums(now.gradient[:, :-1], now.gradient[:, -1])
        slack = np.square(left).sum(1) / 2
        gap = progress.primal - progress.dual
        ready = np.flatnonzero(~(slack > 0.1 * gap[now.which]))
        if not len(ready):
            return now
        most = 500 if self.dtype == np.float32 else 1e5  # beyond, the curvature loses its digits
        index = now.which[ready]
        for k in index:
            multipliers[k] = self.losses[k].respond(products[k], multipliers[k], penalty[k]).dual
        unit = most * _unit(self.problems, self.loss)[index]
        penalty[index] = np.minimum(3 * penalty[index], np.maximum(unit, penalty[index]))
        return self.measure(now.which, theta, products, multipliers, penalty)

    def direction(self, now: "_Measured", penalty: np.ndarray) -> np.ndarray:
        """`[problems, features + 1]`: Newton's, downhill."""
        solve = self.by_features if self.direct else self.by_examples
        found = -solve(now, now.gradient, penalty)
        if self.coordinates.shifted:
            across = np.broadcast_to(self.along, found.shape)
            other = solve(now, across, penalty)
            with np.errstate(divide="ignore"):
                flat = 1 / self.problems.intercept[now.which]
            share = (found @ self.along) / (flat + other @ self.along)
            found -= share[:, None] * other
        downhill = np.einsum("kd,kd->k", found, now.gradient) < 0
        for j in np.flatnonzero(~(downhill & np.isfinite(found).all(1))):
            curvature = self.curvature(now, j)
            found[j] = -now.gradient[j] / curvature
            if np.isinf(self.problems.intercept[now.which[j]]):  # it stays where it is
                across = self.along / curvature
                found[j] -= (self.along @ found[j]) / (self.along @ across) * across
        return found

    def curvature(self, now: "_Measured", j: Any) -> np.ndarray:
        """`[features + 1]`: an upper bound of the diagonal of the second derivative."""
        k, gram = now.which[j], self.gram[now.which[j]]
        own = self.diagonal + self.priced[k] * np.square(self.along)
        own[-1] += self.corner[k]
        return own + (
            now.slope[j].max() * np.diag(gram) if gram is not None else now.slope[j].sum()
        )

    def by_features(self, now: "_Measured", right: np.ndarray, penalty: np.ndarray) -> np.ndarray:
        """Solves the systems of features, up to the direction of the intercept's penalty."""
        found = np.zeros(right.shape)
        for j, k in enumerate(now.which):
            scale = 1.0 if is_squared(self.loss) else penalty[k]
            system = scale * self.gram_of(k, now.slope[j] / scale).astype(np.float64)
            own = self.diagonal.copy()
            own[-1] = self.corner[k]
            found[j] = solve_positive(system, own, right[j], self.dtype)
        return found

    def gram_of(self, k: Any, slope: np.ndarray) -> np.ndarray:
        """Updated by the examples whose slope has changed, or made new where that is less."""
        gram = self.gram[k]
        change = slope - self.in_gram[k]
        if gram is not None and not change.any():
            return gram
        if gram is None and (same := self.equal(slope)) is not None:
            gram = self.gram[k] = self.gram[same]
            self.in_gram[k] = slope
            assert gram is not None
            return gram
        if gram is None or np.count_nonzero(slope) < np.count_nonzero(change):
            gram, change = np.zeros((self.size, self.size), self.dtype), slope
        with self.heavy():
            self.gram[k] = self.rows.add_gram(gram, change.astype(self.dtype))
        self.in_gram[k] = slope
        return self.gram[k]

    def equal(self, slope: np.ndarray) -> int | None:
        """A problem whose Gram matrix is of the same slopes, as that of all at the beginning."""
        first = next((k for k, gram in enumerate(self.gram) if gram is not None), None)
        return first if first is not None and np.array_equal(self.in_gram[first], slope) else None

    def by_examples(self, now: "_Measured", right: np.ndarray, _: np.ndarray) -> np.ndarray:
        """Solves for an unknown for each example within the margin, by Woodbury's formula."""
        ridge = np.empty(right.shape)
        ridge[:] = self.diagonal
        ridge[:, -1] = corner = self.corner[now.which]
        start = right / ridge
        root = np.sqrt(np.stack(now.slope))
        size = np.einsum("kd,kd->k", start, right)
        pushed = root * self.within(root, root * self.products(start), corner, size)
        start[:, :-1] -= self.sums(pushed)
        start[:, -1] -= pushed.sum(1) / corner
        return start

    def within(
        self, root: np.ndarray, right: np.ndarray, corner: np.ndarray, goal: np.ndarray
    ) -> np.ndarray:
        """Solves the systems of examples, `[problems, rows]`."""
        few = np.count_nonzero(root, axis=1) <= MOST_EXAMPLES
        if isinstance(self.rows, SparseRows) and self.rows.on_host:
            return self.within_sparse(self.rows, root, right, corner, goal)
        if few.all():
            slow, found = np.arange(len(root)), np.zeros(root.shape)
        else:
            found, slow = self.conjugate(root, right, corner, goal)
        for j in slow:
            index = np.flatnonzero(root[j])
            if len(index) and len(index) <= MOST_EXAMPLES:
                gram = self.rows.gram_of_rows(index).astype(np.float64) + 1 / corner[j]
                gram *= root[j, index, None] * root[j, index]
                one = np.ones(len(index))
                found[j, index] = solve_positive(gram, one, right[j, index], np.float64)
        return found

    def within_sparse(
        self,
        rows: SparseRows,
        root: np.ndarray,
        right: np.ndarray,
        corner: np.ndarray,
        goal: np.ndarray,
    ) -> np.ndarray:
        """Solves the systems of sparse examples, each with its own examples only."""
        found = np.zeros(root.shape)

        def solve_one(j: int) -> None:
            index = np.flatnonzero(root[j])
            x, here, wanted = rows.x[index], root[j, index], right[j, index]
            value, solved = conjugate_gradients(x, here, wanted, corner[j], goal[j])
            if not solved and len(index) <= MOST_EXAMPLES:
                gram = (x @ x.T).toarray() + 1 / corner[j]
                gram *= here[:, None] * here
                value = solve_positive(gram, np.ones(len(index)), wanted, np.float64)
            found[j, index] = value

        for_each(solve_one, range(len(root)))
        return found

    def conjugate(
        self, root: np.ndarray, right: np.ndarray, corner: np.ndarray, goal: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Conjugate gradients of all systems at once, and which of them are slow."""
        found, live = np.zeros(root.shape), np.arange(len(root))
        solution, left, line = np.zeros(root.shape), right.copy(), right.copy()
        power = np.einsum("kn,kn->k", left, left)
        before, curved = np.ones(len(root)), np.zeros(root.shape)
        for _ in range(MOST_PRODUCTS):
            pushed = root * line
            product = self.rows.products(self.rows.sums(pushed.astype(self.dtype)))
            now = line + root * (product + (pushed.sum(1) / corner)[:, None])
            # The residual of the features' system, of which `left` is that of the examples'.
            remains = np.einsum("kn,kn->k", left, now - (power / before)[:, None] * curved) - power
            stays = remains > SMALL_RESIDUAL**2 * goal
            found[live[~stays]] = solution[~stays]
            live, root, corner, goal = live[stays], root[stays], corner[stays], goal[stays]
            solution, left, line, curved = solution[stays], left[stays], line[stays], now[stays]
            power = power[stays]
            if not len(live):
                break
            curvature = np.einsum("kn,kn->k", line, curved)
            step = (power / np.where(curvature > 0, curvature, np.inf))[:, None]
            solution += step * line
            left -= step * curved
            before, power = power, np.einsum("kn,kn->k", left, left)
            before = np.where(before > 0, before, 1)
            line *= (power / before)[:, None]
            line += left
        found[live] = solution
        return found, live

    def step(
        self,
        k: Any,
        theta: np.ndarray,
        direction: np.ndarray,
        products: np.ndarray,
        moved: np.ndarray,
        multipliers: np.ndarray,
        penalty: float,
    ) -> float:
        """The step to the least point along a direction."""
        penal = self.penalty_of(k, direction)
        return self.losses[k].search_line(
            products, moved, multipliers, penalty, float(penal @ theta), float(penal @ direction)
        )


def conjugate_gradients(
    x: Any, root: np.ndarray, right: np.ndarray, corner: float, goal: float
) -> tuple[np.ndarray, bool]:
    """Solves the system of the examples within the margin.

    Args:
      x: `[examples, features]` sparse.
      root: `[examples]`: roots of the slopes.
      right: `[examples]`: the right-hand side.
      corner: the weight of the intercept.
      goal: the square of the residual of the features' system to end at, over `SMALL_RESIDUAL`
        squared.

    Returns:
      The solution, and whether it was reached within `MOST_PRODUCTS` products.
    """
    turned = x.T
    found, left, line = np.zeros(len(root)), right.copy(), right.copy()
    curved, before, power = np.zeros(len(root)), 1.0, float(right @ right)
    for _ in range(MOST_PRODUCTS):
        pushed = root * line
        now = line + root * (x @ (turned @ pushed) + pushed.sum() / corner)
        # The residual of the features' system, of which `left` is that of the examples'.
        remains = float(left @ (now - (power / before) * curved)) - power
        if remains <= SMALL_RESIDUAL**2 * goal:
            return found, True
        curved = now
        step = power / float(line @ curved)
        found += step * line
        left -= step * curved
        before, power = power, float(left @ left)
        line = left + (power / before) * line
    return found, False


class _Measured(NamedTuple):
    """Of problems `which`: gradients, objectives, dual variables and their slopes."""

    which: np.ndarray
    gradient: np.ndarray
    primal: np.ndarray
    value: np.ndarray
    dual: np.ndarray
    slope: list[np.ndarray]

    def only(self, index: np.ndarray) -> "_Measured":
        """That of some of the problems."""
        if len(index) == len(self.which):
            return self
        place = np.searchsorted(self.which, index)
        gradient, primal, value, dual = (part[place] for part in self[1:5])
        return _Measured(index, gradient, primal, value, dual, [self.slope[j] for j in place])


@dataclass
class _Best:
    """The best primal and the best dual point of each problem so far."""

    theta: np.ndarray
    variables: np.ndarray
    primal: np.ndarray
    dual: np.ndarray

    def take(self, index: np.ndarray, now: _Measured, theta: np.ndarray) -> None:
        """Keeps what is better."""
        for j in np.flatnonzero(now.primal < self.primal[index]):
            k = index[j]
            self.theta[k], self.primal[k] = theta[k], now.primal[j]
        for j in np.flatnonzero(now.value > self.dual[index]):
            k = index[j]
            self.variables[k], self.dual[k] = now.dual[j], now.value[j]


def solve_positive(
    system: np.ndarray, ridge: np.ndarray, right: np.ndarray, dtype: Any
) -> np.ndarray:
    """Solves a system with a positive definite matrix plus a diagonal.

    The matrix is scaled to a diagonal of 1. Where rounding has made it indefinite, it is factored
    in float64, with as much on its diagonal as it needs.

    Args:
      system: `[n, n]` float64, its lower half; overwritten.
      ridge: `[n]` positive, or 0 where the diagonal of the system is positive.
      right: `[n]`.
      dtype: of the first factorisation.

    Returns:
      `[n]`; NaN where nothing helped.
    """
    n = len(system)
    diagonal = np.diagonal(system) + ridge
    system[np.diag_indices(n)] = diagonal
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(diagonal > 0, 1 / np.sqrt(diagonal), 0)
    system *= scale[:, None]
    system *= scale
    for kind, jitter in [(dtype, 0.0)] + [(np.float64, n * 10.0**-e) for e in (16, 14, 12, 10, 8)]:
        matrix = np.array(system, kind, order="C")
        matrix[np.diag_indices(n)] = 1 + jitter
        try:
            factor = scipy.linalg.cholesky(
                matrix.T, lower=False, overwrite_a=True, check_finite=False
            )
        except np.linalg.LinAlgError:
            continue
        found = scipy.linalg.cho_solve(
            (factor, False), (scale * right).astype(kind), check_finite=False
        )
        if np.isfinite(found).all():
            return scale * found.astype(np.float64)
    return np.full(n, np.nan)
