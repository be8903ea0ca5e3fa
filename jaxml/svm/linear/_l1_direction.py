"""Directions of the proximal Newton method, by coordinate descent on quadratic models."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.linear._examples import Examples
from jaxml.types import Array

# The sizes of active sets; few, so that few programs are compiled.
_SIZES = (128, 256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# Bytes of the Gram matrices of problems whose directions are computed together.
_GRAM_BYTES = 2**28
# For active sets: sweeps before each joint step, and the maximum number of joint steps.
_SWEEPS, _JOINT_STEPS = 2, 4
_HALVINGS = 12


class ModelPoint(NamedTuple):
    """A point at which the losses are approximated, and the problems that move.

    `slope` `[problems, examples]` are the second derivatives of the losses, and `sums`
    `[problems, features + 1]`, like the weights and penalties, minus the derivatives.
    """

    slope: np.ndarray
    sums: np.ndarray
    weights: np.ndarray
    penalty: np.ndarray
    unsolved: np.ndarray


class AllFeatures:
    """Moves all features, with Gram matrices that are updated from step to step."""

    def __init__(self, examples: Examples, weights: np.ndarray) -> None:
        self._examples = examples
        self._gram = [np.zeros((weights.shape[1],) * 2) for _ in weights]
        self._slope = np.zeros((len(weights), examples.num_examples))

    def direction(self, at: ModelPoint) -> np.ndarray:
        """Returns directions `[problems, features + 1]`."""
        found, part = np.zeros(at.weights.shape), np.flatnonzero(at.unsolved)
        for k in part:
            self._gram[k] = self._examples.add_gram(self._gram[k], at.slope[k] - self._slope[k])
            self._slope[k] = at.slope[k]
        gram = np.stack([self._gram[k] for k in part])
        own = (array[part] for array in (at.sums, at.weights, at.penalty))
        found[part] = np.asarray(_direction(gram, *own))
        return np.where(np.isfinite(found), found, 0)


class ActiveSet:
    """Moves an active set of many features for each problem."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._is_single = jax.default_backend() == "cpu"

    def direction(self, at: ModelPoint) -> np.ndarray:
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

    def _needed(self, at: ModelPoint) -> np.ndarray:
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
