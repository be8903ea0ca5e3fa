r"""Linear support vector machines with sparse weights: the L1 penalty and the squared hinge loss.

.. math:: \min_{w, b} \; |w|_1 + \rho |b| + \sum_i c_i \max(0, 1 - t_i (w^\top x_i + b))^2

The proximal Newton method minimizes a quadratic model of the loss plus the penalty by coordinate
descent, for all problems together, and halves the step until the objective decreases enough.

With many features, each step moves an active set for each problem: the features whose weights are
not 0, and those that violate optimality most. The set is selected at each step from the
gradients of all features, which also decide convergence. The penalty starts large and decreases,
so that few weights are non-zero throughout.

Source: Yuan, Ho and Lin, "An improved GLMNET for L1-regularized logistic regression", 2012.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._problems import LinearProblems
from jaxml.svm.linear._solution import Limits, LinearProgress, LinearSolution, LinearState, Stall
from jaxml.types import Array

# Up to this many features, every step moves all of them.
_FEW_FEATURES = 4096
# With many features, the penalties start large and are divided by the first factor whenever no
# gradient exceeds them by the second, until they have their final values.
_DECREASE, _SETTLED = 4.0, 2.0
# The sizes of active sets; few, so that few programs are compiled.
_SIZES = (128, 256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# Bytes of the Gram matrices of problems whose directions are computed together.
_GRAM_BYTES = 2**28
# For active sets: sweeps before each joint step, and the maximum number of joint steps.
_SWEEPS, _JOINT_STEPS = 2, 4
_HALVINGS = 12
# The penalty of an intercept that is fixed at 0.
_FIXED = 1e12


def solve_l1(
    problems: LinearProblems, examples: Examples, start: LinearState | None, limits: Limits
) -> LinearSolution:
    """Implements `jaxml.svm.linear.solve` for L1 penalties."""
    with jax.enable_x64(True):
        return _ProximalNewton(problems, examples, start).run(limits)


class _ModelPoint(NamedTuple):
    """A point at which the losses are approximated, and the problems that move.

    `slope` `[problems, examples]` are the second derivatives of the losses, and `sums`
    `[problems, features + 1]`, like the weights and penalties, minus the derivatives.
    """

    slope: np.ndarray
    sums: np.ndarray
    weights: np.ndarray
    penalty: np.ndarray
    unsolved: np.ndarray


class _ProximalNewton:
    def __init__(
        self, problems: LinearProblems, examples: Examples, start: LinearState | None
    ) -> None:
        self.examples, self.losses = examples, problems.losses("squared_hinge")
        count, few = len(self.losses), examples.num_features <= _FEW_FEATURES
        self.weights = np.zeros((count, examples.num_features + 1))
        if start is not None:
            self.weights[:, :-1], self.weights[:, -1] = start.weights, start.intercept
        self.penalty = np.ones_like(self.weights)
        self.penalty[:, -1] = np.minimum(problems.intercept_penalty, _FIXED)
        self.is_fixed = np.isinf(problems.intercept_penalty)
        self.model = _AllFeatures(examples, self.weights) if few else _ActiveSet(examples)
        # The factors of the penalties.
        self.factor = np.full(count, 1.0 if few or start is not None else np.inf)
        self.best = start or self.state(np.zeros(problems.cost.shape))

    def state(self, dual: np.ndarray) -> LinearState:
        intercept = np.where(self.is_fixed, 0, self.weights[:, -1])
        return LinearState(self.weights[:, :-1].copy(), intercept, dual, np.ones(len(dual)))

    def run(self, limits: Limits) -> LinearSolution:
        """Iterates until convergence, stalling, the step limit or an interruption."""
        count = len(self.losses)
        progress = LinearProgress(0, np.full(count, np.inf), np.full(count, -np.inf))
        stall, interrupted, steps = Stall(), False, 0
        try:
            decision = self.decisions(self.weights)
            while True:
                dual, slope = self.update_dual(decision)
                sums = np.c_[self.examples.weighted_sums(dual), dual.sum(1)]
                primal, value, feasible = self.objectives(decision, sums, dual)
                if not (np.isfinite(primal).all() and np.isfinite(value).all()):
                    break
                progress = LinearProgress(steps, primal, value)
                self.best = self.state(feasible)
                limits.notify(progress, feasible)
                solved = limits.solved(progress)
                if solved.all() or steps >= limits.max_steps or stall.update(progress):
                    break
                unsolved = ~solved | (self.factor > 1)
                penalty = self.penalty * self.decrease_factor(sums)[:, None]
                self.step(decision, _ModelPoint(slope, sums, self.weights, penalty, unsolved))
                steps += 1
        except KeyboardInterrupt:
            interrupted = True
        converged = bool(limits.solved(progress).all())
        return LinearSolution(self.best, progress, converged, interrupted)

    def update_dual(self, decision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes dual variables and their slopes, `[problems, examples]`."""
        rows = zip(self.losses, decision, strict=True)
        updates = [loss.update_dual(row, row, 0.0) for loss, row in rows]  # without multipliers
        dual, slope = (np.stack(arrays) for arrays in zip(*updates, strict=True))
        return dual, slope

    def objectives(
        self, decision: np.ndarray, sums: np.ndarray, dual: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Computes the primal, the dual, and the feasible dual variables of the latter."""
        lost = [loss.primal(row) for loss, row in zip(self.losses, decision, strict=True)]
        primal = np.array(lost) + (self.penalty * np.abs(self.weights)).sum(1)
        # Dual variables are feasible if no weighted sum exceeds the penalty of its weight.
        known = self.penalty > 0
        largest = np.where(known, np.abs(sums) / np.where(known, self.penalty, 1), 0).max(1)
        scaled = dual / np.maximum(largest, 1)[:, None]
        value = [loss.dual(row) for loss, row in zip(self.losses, scaled, strict=True)]
        return primal, np.array(value), scaled

    def decrease_factor(self, sums: np.ndarray) -> np.ndarray:
        """Decreases the factors of the penalties that have been met, and returns all."""
        largest = np.abs(sums[:, :-1]).max(1)
        lower = np.maximum(np.minimum(self.factor, largest) / _DECREASE, 1)
        self.factor = np.where(largest <= _SETTLED * self.factor, lower, self.factor)
        return self.factor

    def decisions(self, weights: np.ndarray) -> np.ndarray:
        """Computes the decision values `[problems, examples]`."""
        return np.ascontiguousarray(self.examples.products(weights[:, :-1])) + weights[:, -1:]

    def step(self, decision: np.ndarray, at: _ModelPoint) -> None:
        """Moves the weights and the decision values."""
        direction = self.model.direction(at)
        change = self.decisions(direction)
        for k in range(len(self.losses)):
            step = self.line_search(k, decision[k], change[k], direction[k], at)
            self.weights[k] += step * direction[k]
            decision[k] += step * change[k]

    def line_search(
        self,
        k: int,
        decision: np.ndarray,
        change: np.ndarray,
        direction: np.ndarray,
        at: _ModelPoint,
    ) -> float:
        """Returns the largest halved step with a sufficient decrease; 0 if there is none."""
        loss, weights, penalty = self.losses[k], self.weights[k], at.penalty[k]
        size = float(penalty @ np.abs(weights))
        now = loss.primal(decision) + size
        increase = float(penalty @ np.abs(weights + direction)) - size
        expected = increase - float(at.sums[k] @ direction)
        rounding = 8 * np.finfo(np.float64).eps * now  # near the optimum less than this is left
        for step in 0.5 ** np.arange(_HALVINGS):
            value = loss.primal(decision + step * change)
            value += float(penalty @ np.abs(weights + step * direction))
            if value <= now + 0.01 * step * expected + rounding:
                return float(step)
        return 0.0


class _AllFeatures:
    """Moves all features, with Gram matrices that are updated from step to step."""

    def __init__(self, examples: Examples, weights: np.ndarray) -> None:
        self._examples = examples
        self._gram = [np.zeros((weights.shape[1],) * 2) for _ in weights]
        self._slope = np.zeros((len(weights), examples.num_examples))

    def direction(self, at: _ModelPoint) -> np.ndarray:
        """Returns directions `[problems, features + 1]`."""
        found, part = np.zeros(at.weights.shape), np.flatnonzero(at.unsolved)
        for k in part:
            self._gram[k] = self._examples.add_gram(self._gram[k], at.slope[k] - self._slope[k])
            self._slope[k] = at.slope[k]
        gram = np.stack([self._gram[k] for k in part])
        own = (array[part] for array in (at.sums, at.weights, at.penalty))
        found[part] = np.asarray(_direction(gram, *own))
        return np.where(np.isfinite(found), found, 0)


class _ActiveSet:
    """Moves an active set of many features for each problem."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._is_single = jax.default_backend() == "cpu"

    def direction(self, at: _ModelPoint) -> np.ndarray:
        """Returns directions `[problems, features + 1]`."""
        found = np.zeros(at.weights.shape)
        needed = self._needed(at)
        left = np.argsort(needed, kind="stable")[len(needed) - at.unsolved.sum() :]
        while len(left):
            size = next((size for size in _SIZES if size >= needed[left[-1]]), _SIZES[-1])
            size = min(size, at.weights.shape[1] - 1)
            together = 1 if self._is_single else max(1, _GRAM_BYTES // (8 * size * size))
            left, part = left[:-together], left[-together:]
            active = [_most_active(at.sums[k], at.weights[k], size) for k in part]
            grams = [
                self._examples.feature_gram(index, at.slope[k])
                for k, index in zip(part, active, strict=True)
            ]
            index = np.pad(np.stack(active), ((0, 0), (0, 1)), constant_values=-1)
            own = (array[part[:, None], index] for array in (at.sums, at.weights, at.penalty))
            moved = np.asarray(_active_direction(np.stack(grams), *own))
            found[part[:, None], index] = np.where(np.isfinite(moved), moved, 0)
        return found

    def _needed(self, at: _ModelPoint) -> np.ndarray:
        """`[problems]`: the number of features to move."""
        used = (at.weights[:, :-1] != 0).sum(1)
        wrong = ((at.weights == 0) & (np.abs(at.sums) > at.penalty))[:, :-1].sum(1)
        if ((used >= _SIZES[-1]) & (wrong > 0) & at.unsolved).any():
            raise InputError(
                f"penalty='l1' supports at most {_SIZES[-1]} non-zero weights of "
                f"{self._examples.num_features} features, and the solution has more; decrease C"
            )
        return np.where(at.unsolved, used + np.minimum(wrong, used // 2 + 2 * _SIZES[0]), 0)


def _most_active(sums: np.ndarray, weights: np.ndarray, most: int) -> np.ndarray:
    """Returns `[most]` features with non-zero weights, then those of the largest derivatives."""
    score = np.where(weights != 0, np.inf, np.abs(sums))[:-1]
    if most < len(score):
        largest = np.argpartition(-score, most - 1)[:most]
        return largest[np.argsort(-score[largest], kind="stable")]
    return np.argsort(-score, kind="stable")


class _Step(NamedTuple):
    """A change of the weights, and the derivatives of the losses there, `[problems, n]` each."""

    change: Array
    gradient: Array


class _Model(NamedTuple):
    """Quadratic models: Gram matrices `[problems, n, n]`, else `[problems, n]`."""

    gram: Array
    diagonal: Array
    weights: Array
    penalty: Array
    sums: Array

    def start(self) -> _Step:
        return _Step(jnp.zeros_like(self.weights), -self.sums)


@jax.jit
def _direction(gram: Array, sums: Array, weights: Array, penalty: Array) -> Array:
    """Minimizes the models by coordinate descent."""
    model = _model(gram, sums, weights, penalty)
    return _sweep(model, model.start(), times=60).change


@jax.jit
def _active_direction(gram: Array, sums: Array, weights: Array, penalty: Array) -> Array:
    """Minimizes the models until the decrease is small, by sweeps and joint steps.

    Large active sets are strongly correlated, and coordinate descent alone would be slow.
    """
    model = _model(gram, sums, weights, penalty)

    def improve(at: _Step) -> tuple[_Step, Array]:
        at = _joint_step(model, _sweep(model, at, times=_SWEEPS))
        growth = penalty * (jnp.abs(weights + at.change) - jnp.abs(weights))
        return at, (at.change * (at.gradient - sums) / 2 + growth).sum(1)

    def once(now: tuple[_Step, Array, Array, Array]) -> tuple[_Step, Array, Array, Array]:
        at, times, _, before = now
        at, after = improve(at)
        return at, times + 1, before, after

    def is_decreasing(now: tuple[_Step, Array, Array, Array]) -> Array:
        _, times, before, after = now
        return (before - after > -0.1 * after).any() & (times < _JOINT_STEPS)

    first, value = improve(model.start())
    loop = (first, jnp.asarray(1), jnp.zeros_like(value), value)
    at = jax.lax.while_loop(is_decreasing, once, loop)[0]
    return _sweep(model, at, times=1).change


def _model(gram: Array, sums: Array, weights: Array, penalty: Array) -> _Model:
    """Builds models from the lower triangles of the Gram matrices."""
    gram = jnp.tril(gram) + jnp.tril(gram, -1).swapaxes(1, 2)
    diagonal = jnp.diagonal(gram, axis1=1, axis2=2)
    diagonal = jnp.maximum(diagonal, 1e-6 * diagonal.max(1, keepdims=True) + 1e-12)
    return _Model(gram, diagonal, weights, penalty, sums)


def _sweep(model: _Model, start: _Step, *, times: int) -> _Step:
    """Minimizes over one feature after another."""

    def coordinate(j: Array, at: _Step) -> _Step:
        here = model.weights[:, j] + at.change[:, j]
        target = here - at.gradient[:, j] / model.diagonal[:, j]
        threshold = model.penalty[:, j] / model.diagonal[:, j]
        by = target - jnp.clip(target, -threshold, threshold) - here
        gradient = at.gradient + by[:, None] * model.gram[:, j]
        return _Step(at.change.at[:, j].add(by), gradient)

    def sweep(_: Array, at: _Step) -> _Step:
        return jax.lax.fori_loop(0, model.weights.shape[1], coordinate, at)

    return jax.lax.fori_loop(0, times, sweep, start)


def _joint_step(model: _Model, at: _Step) -> _Step:
    """Minimizes over all non-zero weights jointly; weights that would change sign become 0."""
    here = model.weights + at.change
    free = model.penalty == 0
    used = (here != 0) | free
    scale = jnp.where(used, jax.lax.rsqrt(model.diagonal), 0)
    ridge = 0.1 * jnp.finfo(here.dtype).eps ** 0.5
    system = model.gram * scale[:, :, None] * scale[:, None, :]
    system = system + jax.vmap(jnp.diag)(jnp.where(used, ridge, 1))
    gradient = at.gradient + model.penalty * jnp.sign(here)
    solved = jax.scipy.linalg.cho_solve(
        jax.scipy.linalg.cho_factor(system), (scale * gradient)[..., None]
    )
    whole = -scale * jnp.nan_to_num(solved[..., 0])

    step = 0.5 ** jnp.arange(_HALVINGS, dtype=here.dtype)[:, None, None]
    there = here[None] + step * whole[None]
    stays = (there * here[None] > 0) | free[None]
    change = jnp.where(stays, there, 0) - here[None]
    pushed = jnp.einsum("kde,ske->skd", model.gram, change, precision=jax.lax.Precision.HIGHEST)
    value = (change * (at.gradient[None] + pushed / 2)).sum(2)
    growth = jnp.abs(here[None] + change) - jnp.abs(here)[None]
    value += (model.penalty[None] * growth).sum(2)
    best = value.argmin(0)
    decreases = (value.min(0) < 0)[:, None]
    problem = jnp.arange(len(here))
    return _Step(
        at.change + jnp.where(decreases, change[best, problem], 0),
        at.gradient + jnp.where(decreases, pushed[best, problem], 0),
    )
