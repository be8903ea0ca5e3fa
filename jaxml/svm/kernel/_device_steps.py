"""Compiled steps of the device solver."""

import math
from functools import partial

import jax
import jax.numpy as jnp

from jaxml.svm.kernel import _working_set
from jaxml.svm.kernel._optimality import Variables
from jaxml.types import Array

# Number of prefetch candidates per problem and direction.
_SPARE = 8


@partial(jax.jit, static_argnames=("size", "two_constraints"))
def choose(
    state: Variables, linear: Array, old: Array, *, size: int, two_constraints: bool
) -> tuple[Array, Array, Array, Array]:
    """Returns working sets, prefetch candidates, violations and objectives."""
    objective = -(state.value * (state.sign * state.score - linear)).sum(1) / 2
    return (
        *_working_set.choose(state, old, size=size, spare=_SPARE, two_constraints=two_constraints),
        _working_set.violation(state, two_constraints=two_constraints),
        objective,
    )


@partial(jax.jit, static_argnames=("num_groups", "group_size", "two_constraints"))
def count_support(
    state: Variables, groups: Array, *, num_groups: int, group_size: int, two_constraints: bool
) -> tuple[Array, Array]:
    """Returns the duality gaps, and the number of examples with a non-zero variable."""
    thresholds = _working_set.thresholds(state, two_constraints=two_constraints)
    level = jnp.where(state.sign > 0, thresholds[0][:, None], thresholds[-1][:, None])
    slope = state.sign * (level - state.score)  # of the Lagrangian
    gap = state.value * jnp.maximum(slope, 0)
    gap += (state.upper - state.value) * jnp.maximum(-slope, 0)
    used = (state.value > 0).reshape(len(groups), -1, groups.shape[1], group_size).any(1)
    examples = jnp.zeros((num_groups, group_size), bool).at[groups].max(used)
    return gap.sum(1), examples.sum()


@partial(jax.jit, static_argnames=("k", "two_constraints"))
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
    two_constraints: bool,
) -> tuple[Array, Array, Array]:
    """Solves one working set of each problem and updates the scores of all its variables.

    Args:
      rows: The rows of the cache.
      variables: `[problems, variables]`.
      chosen: `[problems, size]`: the variables of the working sets.
      starts: `[problems, groups of each]`: the first columns of the groups.
      slots: `[problems, size]`: the slots of the rows of `chosen`.
      examples: `[problems, size]`: the columns of `chosen`.
      goal: `[problems]`: the violations at which to stop.
      k: Number of variables per column.
      two_constraints: See `DualProblems`.

    Returns:
      Values and scores, and the number of steps of the slowest problem.
    """
    here = Variables(*(jnp.take_along_axis(field, chosen, axis=1) for field in variables))
    kernel = rows[slots[:, :, None], examples[:, None, :]]
    value, steps = _working_set.solve(
        kernel, here, goal, max_steps=20 * chosen.shape[1], two_constraints=two_constraints
    )
    change = here.sign * (value - here.value)
    size = variables.score.shape[1] // k // starts.shape[1]
    moved = jax.lax.map(partial(_weighted_rows, rows, size), (slots, starts, change))
    row = jnp.arange(len(chosen))[:, None]
    return (
        variables.value.at[row, chosen].set(value),
        variables.score - jnp.tile(moved, (1, k)),
        steps,
    )


def _weighted_rows(rows: Array, size: int, problem: tuple[Array, Array, Array]) -> Array:
    """`[columns]`: the weighted sum of rows in the columns of one problem.

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
def scores(sign: Array, linear: Array, upper: Array, products: Array) -> Array:
    """Returns scores `[problems, variables]`, given products `[problems, columns]`."""
    repeated = jnp.tile(products, (1, sign.shape[1] // products.shape[1]))
    return jnp.where(upper > 0, -sign * linear - repeated, 0)
