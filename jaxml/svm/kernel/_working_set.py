"""Compiled steps of the device solver, vectorized over the working sets of dual problems.

A step moves two variables of one constraint, such that the constraint holds. Pairs are taken from a
working set, whose part of the kernel matrix fits the cache of the processor; the scores of all
variables are updated once it is solved, by a matrix product.

Source: Platt, "Sequential minimal optimization", 1998; the choice of the second variable by Fan,
Chen and Lin, "Working set selection using second order information", 2005; working sets solved on
accelerators: Wen et al., "ThunderSVM", 2018.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from jaxml.svm.kernel._problems import Variables
from jaxml.types import Array

# Number of prefetch candidates per problem and direction.
_SPARE = 8


@partial(jax.jit, static_argnames="size")
def survey(
    variables: Variables, linear: Array, old: Array, *, size: int
) -> tuple[Array, Array, Array, Array]:
    """Returns working sets, prefetch candidates, violations and objectives."""
    signed = variables.sign * variables.score - linear
    objective = -(variables.value * signed).sum(1) / 2
    chosen, spare = choose(variables, old, size=size, spare=_SPARE)
    return chosen, spare, variables.violation(), objective


def choose(variables: Variables, old: Array, *, size: int, spare: int) -> tuple[Array, Array]:
    """Selects the variables that violate most in each direction, in addition to `old` ones.

    Returns:
      `[problems, size]` distinct indices, the new ones first; and indices of `spare` prefetch
      candidates, which come next in each direction.
    """
    row = jnp.arange(old.shape[0])[:, None]
    taken = jnp.zeros(variables.value.shape, bool).at[row, old].set(True)
    wanted = [
        jnp.where(member, score, -jnp.inf)
        for member in variables.constraints()
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


@partial(jax.jit, static_argnames="k")
def advance(
    rows: Array,
    variables: Variables,
    chosen: Array,
    starts: Array,
    slots: Array,
    examples: Array,
    goal: Array,
    *,
    k: int,
) -> tuple[Array, Array, Array]:
    """Solves one working set of each problem and updates the scores of all its variables.

    The working sets are the variables `chosen`, whose columns are `examples` and whose rows of the
    kernel matrix are in `slots` of the cache, `[problems, size]` each. There are k variables per
    column of the groups that begin at the columns `starts`. Problems stop at the violation `goal`.

    Returns:
      Values and scores, and the number of steps of the slowest problem.
    """
    here = jax.tree.map(lambda field: jnp.take_along_axis(field, chosen, axis=1), variables)
    kernel = rows[slots[:, :, None], examples[:, None, :]]
    value, steps = solve(kernel, here, goal, max_steps=20 * chosen.shape[1])
    change = here.sign * (value - here.value)
    size = variables.score.shape[1] // k // starts.shape[1]
    moved = jax.lax.map(partial(_weighted_rows, rows, size), (slots, starts, change))
    row = jnp.arange(len(chosen))[:, None]
    return (
        variables.value.at[row, chosen].set(value),
        variables.score - jnp.tile(moved, (1, k)),
        steps,
    )


@partial(jax.jit, static_argnames="max_steps")
def solve(
    kernel: Array, variables: Variables, tolerance: Array, *, max_steps: int
) -> tuple[Array, Array]:
    """Moves pairs of each working set until its violation is within the tolerance `[problems]`.

    Returns:
      The values `[problems, size]`, and the number of steps of the slowest problem.
    """
    diagonal = jnp.diagonal(kernel, axis1=1, axis2=2)

    def step(search: tuple[Array, ...]) -> tuple[Array, ...]:
        value, score, live, steps = search
        now = Variables(value, score, variables.sign, variables.upper, variables.two_constraints)
        first, second, excess = _pair(kernel, diagonal, now)
        live &= excess > tolerance
        return *_move(kernel, diagonal, now, first, second, live), live, steps + 1

    def is_unfinished(search: tuple[Array, ...]) -> Array:
        _, _, live, steps = search
        return live.any() & (steps < max_steps)

    live = jnp.ones(kernel.shape[0], bool)
    start = (variables.value, variables.score, live, jnp.asarray(0))
    value, _, _, steps = jax.lax.while_loop(is_unfinished, step, start)
    return value, steps


def _pair(kernel: Array, diagonal: Array, variables: Variables) -> tuple[Array, Array, Array]:
    """Returns the variables to move, and the violation: `[problems]` each."""
    row = jnp.arange(kernel.shape[0])
    found = []
    for member in variables.constraints():
        up = jnp.where(member, variables.up(), -jnp.inf)
        low = jnp.where(member, variables.low(), jnp.inf)
        first = up.argmax(1)
        highest = up[row, first]
        difference = highest[:, None] - low
        curvature = _curvature(kernel, diagonal, first)
        gain = jnp.where(difference > 0, jnp.square(difference) / curvature, -1.0)
        second = gain.argmax(1)
        found.append((first, second, highest - low.min(1), gain[row, second]))
    first, second, excess, gain = found[0]
    for other in found[1:]:
        better = other[3] > gain
        first, second = jnp.where(better, other[0], first), jnp.where(better, other[1], second)
        excess = jnp.maximum(excess, other[2])
    return first, second, excess


def _curvature(kernel: Array, diagonal: Array, first: Array) -> Array:
    """Returns the second derivatives along each pair with `first`, `[problems, size]`."""
    row = jnp.arange(kernel.shape[0])
    curvature = diagonal[row, first][:, None] + diagonal - 2 * kernel[row, first]
    return jnp.maximum(curvature, 1e-12)  # as in libsvm, for indefinite kernels


def _move(
    kernel: Array, diagonal: Array, now: Variables, first: Array, second: Array, live: Array
) -> tuple[Array, Array]:
    """Returns values and scores after the best move of each live pair within its bounds."""
    row, lane = jnp.arange(kernel.shape[0]), jnp.arange(kernel.shape[1])[None, :]
    up, down = now.sign[row, first] > 0, now.sign[row, second] > 0
    value1, value2 = now.value[row, first], now.value[row, second]
    end1 = jnp.where(up, now.upper[row, first], 0)
    end2 = jnp.where(down, 0, now.upper[row, second])
    curvature = _curvature(kernel, diagonal, first)[row, second]
    best = (now.score[row, first] - now.score[row, second]) / curvature
    room1, room2 = jnp.abs(end1 - value1), jnp.abs(end2 - value2)
    by = jnp.where(live, jnp.minimum(best, jnp.minimum(room1, room2)), 0)
    # Bounds are met exactly, because I_up and I_low compare with them.
    value1 = jnp.where(by == room1, end1, value1 + jnp.where(up, by, -by))
    value2 = jnp.where(by == room2, end2, value2 - jnp.where(down, by, -by))
    is_first = (lane == first[:, None]) & live[:, None]
    is_second = (lane == second[:, None]) & live[:, None]
    value = jnp.where(is_first, value1[:, None], jnp.where(is_second, value2[:, None], now.value))
    return value, now.score - by[:, None] * (kernel[row, first] - kernel[row, second])


def _weighted_rows(rows: Array, size: int, problem: tuple[Array, Array, Array]) -> Array:
    """Returns the weighted sum of rows in the columns of one problem, `[columns]`.

    Most of the time is spent reading rows from memory: rows of weight 0 are skipped, and sixteen at
    a time are added in place, without a copy.
    """
    slots, starts, weight = problem
    chunk = math.gcd(len(slots), 16)
    order = jnp.argsort(weight == 0)
    slots, weight = slots[order].reshape(-1, chunk), weight[order].reshape(-1, chunk)
    count = (weight != 0).any(1).sum()

    def of_group(start: Array) -> Array:
        def add(part: Array, total: Array) -> Array:
            for slot, factor in zip(slots[part], weight[part], strict=True):
                total += factor * jax.lax.dynamic_slice(rows, (slot, start), (1, size))[0]
            return total

        return jax.lax.fori_loop(0, count, add, jnp.zeros(size, rows.dtype))

    return jax.lax.map(of_group, starts).reshape(-1)


@partial(jax.jit, static_argnames="size")
def products(rows: Array, slots: Array, weight: Array, starts: Array, *, size: int) -> Array:
    """Returns weighted sums of rows in the columns of each problem, `[problems, columns]`."""

    def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        slots, weight = part
        return total + jnp.matmul(weight.T, rows[slots], precision="highest"), None

    nothing = jnp.zeros((len(weight), rows.shape[1]), rows.dtype)
    parts = (slots.reshape(-1, 128), weight.T.reshape(-1, 128, len(weight)))
    every, _ = jax.lax.scan(add, nothing, parts)
    covered = starts[:, :, None] + jnp.arange(size, dtype=starts.dtype)[None, None]
    return jnp.take_along_axis(every, covered.reshape(len(starts), -1), axis=1)


@jax.jit
def scores(variables: Variables, linear: Array, products: Array) -> Array:
    """Returns scores `[problems, variables]`, given products `[problems, columns]`."""
    repeated = jnp.tile(products, (1, linear.shape[1] // products.shape[1]))
    return jnp.where(variables.upper > 0, -variables.sign * linear - repeated, 0)


@jax.jit
def gaps(variables: Variables) -> Array:
    """Returns the duality gaps, `[problems]`."""
    return variables.gap(variables.thresholds())
