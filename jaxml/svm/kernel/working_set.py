r"""One step of the dual of a support vector machine, for many problems at once.

Each problem is to minimise a quadratic over a box and one equation, as libsvm writes it,

.. math:: \tfrac12 a^\top Q a + p^\top a, \quad 0 \le a \le u, \quad y^\top a = \text{const},
          \quad Q_{ij} = y_i y_j K_{ij},

by moving a pair of variables at a time so that the equation holds. What tells the pairs is the
score `-y * gradient`: at the optimum no variable that may still move in the direction of `y` has a
greater score than one that may move against it, and the excess is how far away the optimum is.

In the place of all variables the pairs are taken from a working set, whose part of the kernel is
small enough to stay in the cache of the processor; the scores of all are updated after it is
solved, by one product of matrices. Where a problem has two equations, as the nu forms have, the two
variables of a pair must be of the same family, that of `y`.

Source: Platt, "Sequential minimal optimization", 1998; the choice of the second variable by Fan,
Chen and Lin, "Working set selection using second order information", 2005; working sets solved on
accelerators: Wen et al., "ThunderSVM", 2018.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxml.types import Array


class Variables(NamedTuple):
    """The variables of problems, or of their working sets.

    Attributes:
      value: `[problems, variables]`, from 0 to the upper bound.
      score: `[problems, variables]`: minus the sign times the gradient.
      sign: `[problems, variables]`: -1 or 1.
      upper: `[problems, variables]`: the upper bounds; 0 for what is no variable.
    """

    value: Array
    score: Array
    sign: Array
    upper: Array

    def rising(self) -> Array:
        """Scores of what may move in the direction of its sign; minus infinity for others."""
        room = jnp.where(self.sign > 0, self.value < self.upper, self.value > 0)
        return jnp.where(room, self.score, -jnp.inf)

    def falling(self) -> Array:
        """Scores of what may move against its sign; infinity for others."""
        room = jnp.where(self.sign > 0, self.value > 0, self.value < self.upper)
        return jnp.where(room, self.score, jnp.inf)

    def families(self, two: bool) -> list[Array]:
        """Which variables pair with one another: all, or those of either sign."""
        return [self.sign > 0, self.sign < 0] if two else [self.sign != 0]


def violation(variables: Variables, *, two_families: bool = False) -> Array:
    """How far each problem is from its optimum, `[problems]`: at most 0 when it is there."""
    rising, falling = variables.rising(), variables.falling()
    excess = [
        jnp.where(family, rising, -jnp.inf).max(1) - jnp.where(family, falling, jnp.inf).min(1)
        for family in variables.families(two_families)
    ]
    return jnp.stack(excess).max(0)


@partial(jax.jit, static_argnames="two_families")
def thresholds(variables: Variables, *, two_families: bool = False) -> Array:
    """The score that parts rising from falling variables at the optimum, `[families, problems]`.

    It is the mean of the scores strictly within their bounds; where there are none, the middle
    between the others, or the nearer end where all are on one side.
    """
    rising, falling = variables.rising(), variables.falling()
    free = (variables.value > 0) & (variables.value < variables.upper)
    found = []
    for family in variables.families(two_families):
        low = jnp.where(family, rising, -jnp.inf).max(1)
        high = jnp.where(family, falling, jnp.inf).min(1)
        low, high = jnp.where(jnp.isinf(low), high, low), jnp.where(jnp.isinf(high), low, high)
        middle = (low + high) / 2
        inside = free & family
        # The free ones are all close to the middle: the sum of the distances keeps its digits.
        excess = jnp.where(inside, variables.score - middle[:, None], 0).sum(1)
        found.append(middle + excess / jnp.maximum(inside.sum(1), 1).astype(excess.dtype))
    return jnp.stack(found)


def choose(
    variables: Variables, old: Array, *, size: int, spare: int = 0, two_families: bool = False
) -> tuple[Array, Array]:
    """The working set: those that violate most in either direction, beside some of the last one.

    Args:
      variables: of the problems.
      old: `[problems, kept]` indices of variables that stay in it.
      size: how many it has, at most as many as there are variables.
      spare: how many more of each direction are told.
      two_families: whether pairs must have one sign.

    Returns:
      `[problems, size]` indices, all different, the new ones first; and indices of those that come
      next in each direction, which may be chosen, too.
    """
    row = jnp.arange(old.shape[0])[:, None]
    taken = jnp.zeros(variables.value.shape, bool).at[row, old].set(True)
    families = variables.families(two_families)
    wanted = [
        (jnp.where(family, score, -jnp.inf))
        for family in families
        for score in (variables.rising(), -variables.falling())
    ]
    counts = _split(size - old.shape[1], len(wanted))
    chosen, next_ones = [], []
    for score, count in zip(wanted, counts, strict=True):
        least = jnp.finfo(score.dtype).min  # above what is taken, so that nothing is chosen twice
        most = min(count + spare, score.shape[1])
        _, index = jax.lax.top_k(jnp.where(taken, -jnp.inf, jnp.maximum(score, least)), most)
        index = jax.lax.optimization_barrier(index)  # slices make a full sort of it
        taken = taken.at[row, index[:, :count]].set(True)
        chosen.append(index[:, :count])
        next_ones.append(index[:, count:])
    return jnp.concatenate([*chosen, old], axis=1), jnp.concatenate(next_ones, axis=1)


def _split(total: int, parts: int) -> list[int]:
    """Almost equal integers of a given sum."""
    return [total // parts + (part < total % parts) for part in range(parts)]


class _Search(NamedTuple):
    value: Array
    score: Array
    live: Array
    steps: Array


@partial(jax.jit, static_argnames=("max_steps", "two_families"))
def solve(
    kernel: Array,
    variables: Variables,
    tolerance: Array,
    *,
    max_steps: int,
    two_families: bool = False,
) -> tuple[Array, Array]:
    """Moves pairs of each working set until none of its violates by more than the tolerance.

    Args:
      kernel: `[problems, size, size]` products of the variables' examples.
      variables: of the working sets.
      tolerance: `[problems]`.
      max_steps: pairs a problem at most.
      two_families: whether pairs must have one sign.

    Returns:
      The values `[problems, size]`, and how many steps the longest took.
    """
    diagonal = jnp.diagonal(kernel, axis1=1, axis2=2)

    def step(search: _Search) -> _Search:
        now = variables._replace(value=search.value, score=search.score)
        first, second, excess = _pair(kernel, diagonal, now, two_families)
        live = search.live & (excess > tolerance)
        value, score = _move(kernel, diagonal, now, first, second, live)
        return _Search(value, score, live, search.steps + 1)

    start = _Search(
        variables.value, variables.score, jnp.ones(kernel.shape[0], bool), jnp.asarray(0)
    )
    end = jax.lax.while_loop(lambda s: s.live.any() & (s.steps < max_steps), step, start)
    return end.value, end.steps


def _pair(
    kernel: Array, diagonal: Array, variables: Variables, two_families: bool
) -> tuple[Array, Array, Array]:
    """The variables to move, `[problems]` each, and the largest violation of all families."""
    row = jnp.arange(kernel.shape[0])
    best = None
    for family in variables.families(two_families):
        rising = jnp.where(family, variables.rising(), -jnp.inf)
        falling = jnp.where(family, variables.falling(), jnp.inf)
        first = rising.argmax(1)
        highest = rising[row, first]
        difference = highest[:, None] - falling
        curvature = _curvature(kernel, diagonal, first)
        gain = jnp.where(difference > 0, jnp.square(difference) / curvature, -1.0)
        second = gain.argmax(1)
        found = (first, second, highest - falling.min(1), gain[row, second])
        if best is None:
            best = found
        else:
            better = found[3] > best[3]
            violation = jnp.maximum(best[2], found[2])
            best = tuple(jnp.where(better, b, a) for a, b in zip(best, found, strict=True))
            best = (*best[:2], violation, best[3])
    assert best is not None
    return best[0], best[1], best[2]


def _curvature(kernel: Array, diagonal: Array, first: Array) -> Array:
    """Of the objective along each pair with `first`, `[problems, size]`."""
    row = jnp.arange(kernel.shape[0])
    curvature = diagonal[row, first][:, None] + diagonal - 2 * kernel[row, first]
    return jnp.maximum(curvature, 1e-12)  # as libsvm's, for kernels that are none


def _move(
    kernel: Array,
    diagonal: Array,
    variables: Variables,
    first: Array,
    second: Array,
    live: Array,
) -> tuple[Array, Array]:
    """Values and scores after the best move of each pair within its bounds."""
    value, score, sign, upper = variables
    row, lane = jnp.arange(kernel.shape[0]), jnp.arange(kernel.shape[1])[None, :]
    up, down = sign[row, first] > 0, sign[row, second] > 0
    value1, value2 = value[row, first], value[row, second]
    end1 = jnp.where(up, upper[row, first], 0)
    end2 = jnp.where(down, 0, upper[row, second])
    best = (score[row, first] - score[row, second]) / _curvature(kernel, diagonal, first)[
        row, second
    ]
    room1, room2 = jnp.abs(end1 - value1), jnp.abs(end2 - value2)
    by = jnp.where(live, jnp.minimum(best, jnp.minimum(room1, room2)), 0)
    # A bound that is reached is met exactly, for what is at a bound is told by equality.
    value1 = jnp.where(by == room1, end1, value1 + jnp.where(up, by, -by))
    value2 = jnp.where(by == room2, end2, value2 - jnp.where(down, by, -by))
    is_first = (lane == first[:, None]) & live[:, None]
    is_second = (lane == second[:, None]) & live[:, None]
    value = jnp.where(is_first, value1[:, None], jnp.where(is_second, value2[:, None], value))
    score = score - by[:, None] * (kernel[row, first] - kernel[row, second])
    return value, score
