"""Working sets of dual problems, solved by pairs of variables: many problems at once, in JAX.

A step moves two variables of one constraint, such that the constraint holds. Pairs are taken from a
working set, whose part of the kernel matrix fits the cache of the processor; the scores of all
variables are updated once it is solved, by a matrix product.

Source: Platt, "Sequential minimal optimization", 1998; the choice of the second variable by Fan,
Chen and Lin, "Working set selection using second order information", 2005; working sets solved on
accelerators: Wen et al., "ThunderSVM", 2018.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxml.svm.kernel._optimality import Variables, extremes, threshold
from jaxml.types import Array


def violation(variables: Variables, *, two_constraints: bool = False) -> Array:
    """Returns the violation of each problem, at most 0 at the optimum: `[problems]`."""
    found = [extremes(variables, member) for member in variables.constraints(two_constraints)]
    return jnp.stack([high - low for high, low in found]).max(0)


def thresholds(variables: Variables, *, two_constraints: bool = False) -> Array:
    """Returns the thresholds of the equality constraints, `[constraints, problems]`."""
    members = variables.constraints(two_constraints)
    return jnp.stack([threshold(variables, member) for member in members])


def choose(
    variables: Variables, old: Array, *, size: int, spare: int = 0, two_constraints: bool = False
) -> tuple[Array, Array]:
    """Selects the variables that violate most in each direction, in addition to `old` ones.

    Returns:
      `[problems, size]` distinct indices, the new ones first; and indices of `spare` prefetch
      candidates, which come next in each direction.
    """
    row = jnp.arange(old.shape[0])[:, None]
    taken = jnp.zeros(variables.value.shape, bool).at[row, old].set(True)
    wanted = [
        jnp.where(member, score, -jnp.inf)
        for member in variables.constraints(two_constraints)
        for score in (variables.up(), -variables.low())
    ]
    total, parts = size - old.shape[1], len(wanted)
    chosen, candidates = [], []
    for number, score in enumerate(wanted):
        count = total // parts + (number < total % parts)
        least = jnp.finfo(score.dtype).min  # above the taken ones, so that all are distinct
        most = min(count + spare, score.shape[1])
        _, index = jax.lax.top_k(jnp.where(taken, -jnp.inf, jnp.maximum(score, least)), most)
        index = jax.lax.optimization_barrier(index)  # slices would turn it into a full sort
        taken = taken.at[row, index[:, :count]].set(True)
        chosen.append(index[:, :count])
        candidates.append(index[:, count:])
    return jnp.concatenate([*chosen, old], axis=1), jnp.concatenate(candidates, axis=1)


class _Search(NamedTuple):
    value: Array
    score: Array
    live: Array
    steps: Array


@partial(jax.jit, static_argnames=("max_steps", "two_constraints"))
def solve(
    kernel: Array,
    variables: Variables,
    tolerance: Array,
    *,
    max_steps: int,
    two_constraints: bool = False,
) -> tuple[Array, Array]:
    """Moves pairs of each working set until its violation is within the tolerance `[problems]`.

    Returns:
      The values `[problems, size]`, and the number of steps of the slowest problem.
    """
    diagonal = jnp.diagonal(kernel, axis1=1, axis2=2)

    def step(search: _Search) -> _Search:
        now = variables._replace(value=search.value, score=search.score)
        first, second, excess = _pair(kernel, diagonal, now, two_constraints)
        live = search.live & (excess > tolerance)
        value, score = _move(kernel, diagonal, now, first, second, live)
        return _Search(value, score, live, search.steps + 1)

    live = jnp.ones(kernel.shape[0], bool)
    start = _Search(variables.value, variables.score, live, jnp.asarray(0))
    end = jax.lax.while_loop(lambda s: s.live.any() & (s.steps < max_steps), step, start)
    return end.value, end.steps


def _pair(
    kernel: Array, diagonal: Array, variables: Variables, two_constraints: bool
) -> tuple[Array, Array, Array]:
    """The variables to move, and the violation: `[problems]` each."""
    row = jnp.arange(kernel.shape[0])
    best = None
    for member in variables.constraints(two_constraints):
        up = jnp.where(member, variables.up(), -jnp.inf)
        low = jnp.where(member, variables.low(), jnp.inf)
        first = up.argmax(1)
        highest = up[row, first]
        difference = highest[:, None] - low
        curvature = _curvature(kernel, diagonal, first)
        gain = jnp.where(difference > 0, jnp.square(difference) / curvature, -1.0)
        second = gain.argmax(1)
        found = (first, second, highest - low.min(1), gain[row, second])
        if best is None:
            best = found
        else:
            better = found[3] > best[3]
            excess = jnp.maximum(best[2], found[2])
            first, second, _, gain = (
                jnp.where(better, b, a) for a, b in zip(best, found, strict=True)
            )
            best = (first, second, excess, gain)
    assert best is not None
    return best[:3]


def _curvature(kernel: Array, diagonal: Array, first: Array) -> Array:
    """The second derivatives along each pair with `first`, `[problems, size]`."""
    row = jnp.arange(kernel.shape[0])
    curvature = diagonal[row, first][:, None] + diagonal - 2 * kernel[row, first]
    return jnp.maximum(curvature, 1e-12)  # as in libsvm, for indefinite kernels


def _move(
    kernel: Array,
    diagonal: Array,
    variables: Variables,
    first: Array,
    second: Array,
    live: Array,
) -> tuple[Array, Array]:
    """Values and scores after the best move of each live pair within its bounds."""
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
    # Bounds are met exactly, because I_up and I_low compare with them.
    value1 = jnp.where(by == room1, end1, value1 + jnp.where(up, by, -by))
    value2 = jnp.where(by == room2, end2, value2 - jnp.where(down, by, -by))
    is_first = (lane == first[:, None]) & live[:, None]
    is_second = (lane == second[:, None]) & live[:, None]
    value = jnp.where(is_first, value1[:, None], jnp.where(is_second, value2[:, None], value))
    score = score - by[:, None] * (kernel[row, first] - kernel[row, second])
    return value, score
