r"""Linear support vector machines, many at once, as functions of their products with the examples.

Each problem is, for examples $x_i$, targets $t_i$ and costs $c_i$,

.. math:: \tfrac12 \|w\|^2 + \sum_i \ell(t_i, w^\top x_i + b; c_i)

with one of the losses

    hinge                        c max(0, 1 - t f),  t = -1 or 1
    squared_hinge                c max(0, 1 - t f)^2
    epsilon_insensitive          c max(0, |t - f| - epsilon)
    squared_epsilon_insensitive  c max(0, |t - f| - epsilon)^2

With $\beta$ for the dual variables, so that $w = \sum_i \beta_i x_i$ at the optimum, the dual is

.. math:: \max_\beta \; \sum_i t_i \beta_i - \epsilon |\beta_i| - \tfrac12 \|w(\beta)\|^2
          \; \left[ - \sum_i \beta_i^2 / (4 c_i) \text{ where squared} \right]

over $|\beta_i| \le c_i$, unbounded where squared, of the sign of $t_i$ for classes. Since
$t^2 = 1$ for classes, all four losses depend on the residual $t - f$ alone, and one piecewise
linear function of it, `response`, gives what a solver needs: for squared losses minus the loss's
derivative, for the others that of the augmented Lagrangian.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxml.types import Array

LOSSES = ("hinge", "squared_hinge", "epsilon_insensitive", "squared_epsilon_insensitive")


class LinearProblems(NamedTuple):
    """What is asked of the examples.

    Attributes:
      target: `[problems, rows]`: -1 or 1, or real values.
      cost: `[problems, rows]`: C times the weight; 0 leaves an example out.
      epsilon: `[problems]`: half the width of the tube of regression; 0 for classes.
      intercept: `[problems]`: the weight of half its square; 0 leaves the intercept free.
    """

    target: Array
    cost: Array
    epsilon: Array
    intercept: Array


def is_squared(loss: str) -> bool:
    """Whether the loss is smooth."""
    return loss.startswith("squared")


def is_of_classes(loss: str) -> bool:
    """Whether the targets are -1 and 1."""
    return loss.endswith("hinge")


class Response(NamedTuple):
    """Of each example, `[problems, rows]`.

    Attributes:
      dual: the dual variable.
      slope: minus its derivative by the product: the curvature of the problem.
    """

    dual: Array
    slope: Array


def response(
    problems: LinearProblems, products: Array, dual: Array, penalty: Array, *, loss: str
) -> Response:
    r"""The dual variables that products call for.

    .. math:: \beta_i = \mathrm{clip}(\mathrm{shrink}(\beta_i^0 + \sigma (t_i - f_i),
              \sigma \epsilon))

    Args:
      problems: of which it is.
      products: `[problems, rows]`: f, the intercept included.
      dual: `[problems, rows]`: the multipliers of the augmented Lagrangian, without meaning for
        squared losses.
      penalty: `[problems]`: its sigma, without meaning for squared losses, of which it is 2 c.
      loss: one of `LOSSES`.

    Returns:
      The dual variables, feasible but for the equation of a free intercept, and their slope.
    """
    target, cost, epsilon, _ = problems
    if is_squared(loss):
        slope = 2 * cost
        raw = slope * (target - products)
        high = jnp.full_like(cost, jnp.inf)
    else:
        slope = jnp.broadcast_to(penalty[:, None], cost.shape)
        raw = dual + slope * (target - products)
        high = cost
    if is_of_classes(loss):
        low, high = jnp.where(target < 0, -high, 0), jnp.where(target > 0, high, 0)
    else:
        tube = slope * epsilon[:, None]
        raw = raw - jnp.clip(raw, -tube, tube)
        low = -high
    inside = (low < raw) & (raw < high) & (raw != 0)
    return Response(jnp.clip(raw, low, high), jnp.where(inside, slope, 0))


def loss_sum(problems: LinearProblems, products: Array, *, loss: str) -> Array:
    """`[problems]`: the summed loss."""
    residual = problems.target - products
    if is_of_classes(loss):
        excess = residual * problems.target
    else:
        excess = jnp.abs(residual) - problems.epsilon[:, None]
    excess = jnp.maximum(excess, 0)
    return (problems.cost * (jnp.square(excess) if is_squared(loss) else excess)).sum(1)


def dual_sum(problems: LinearProblems, dual: Array, *, loss: str) -> Array:
    """`[problems]`: the dual but for half the squared norm of the weights."""
    value = dual * problems.target - problems.epsilon[:, None] * jnp.abs(dual)
    if is_squared(loss):
        cost = jnp.where(problems.cost > 0, problems.cost, 1)
        value = value - jnp.square(dual) / (4 * cost)
    return value.sum(1)


class LineSearch(NamedTuple):
    """On each line: where it is, what bounds it, and the derivatives there.

    Attributes:
      step: the next point to try.
      low: before the least point, with a derivative of `below`, which is negative.
      high: behind it, with a derivative of `above`.
      first: the derivative at the last point that was tried.
      tries: how many there were.
    """

    step: Array
    low: Array
    below: Array
    high: Array
    above: Array
    first: Array
    tries: Array


@partial(jax.jit, static_argnames=("loss", "most"))
def search_line(
    problems: LinearProblems,
    products: Array,
    moved: Array,
    dual: Array,
    penalty: Array,
    linear: Array,
    square: Array,
    *,
    loss: str,
    most: int = 40,
) -> Array:
    """The steps `[problems]` at which the problems are least along lines.

    The derivative is piecewise linear and rises. Its root is found by Newton's method where that
    stays within the bounds, and by interpolation between them where not.

    Args:
      problems: of which it is.
      products: `[problems, rows]` at the beginning of the lines.
      moved: `[problems, rows]`: products of the directions.
      dual: as in `response`.
      penalty: as in `response`.
      linear: `[problems]`: the derivative of the penalties at the beginning.
      square: `[problems]`: their second derivative.
      loss: one of `LOSSES`.
      most: points that are tried.
    """

    def derivatives(step: Array) -> tuple[Array, Array]:
        at = response(problems, products + step[:, None] * moved, dual, penalty, loss=loss)
        first = linear + step * square - (at.dual * moved).sum(1)
        return first, square + (at.slope * jnp.square(moved)).sum(1)

    zero = jnp.zeros_like(linear)
    slope, _ = derivatives(zero)

    def is_open(first: Array) -> Array:
        return (jnp.abs(first) > 1e-3 * jnp.abs(slope)) & (slope < 0)

    def once(search: LineSearch) -> LineSearch:
        step = search.step
        first, second = derivatives(step)
        before = first < 0
        low, below = jnp.where(before, step, search.low), jnp.where(before, first, search.below)
        high, above = jnp.where(before, search.high, step), jnp.where(before, search.above, first)
        newton = step - first / jnp.where(second > 0, second, 1)
        share = jnp.clip(below / jnp.where(above > below, below - above, 1), 0.01, 0.99)
        between = low + share * (high - low)
        other = jnp.where(jnp.isinf(high), 4 * step, between)
        within = (newton > low) & (newton < high)
        # At the root itself Newton's next point rounds to this one, which is a bound by now.
        following = jnp.where(within, newton, jnp.where(is_open(first), other, step))
        return LineSearch(following, low, below, high, above, first, search.tries + 1)

    def goes_on(search: LineSearch) -> Array:
        return is_open(search.first).any() & (search.tries < most)

    start = LineSearch(zero + 1, zero, slope, zero + jnp.inf, zero, slope, jnp.asarray(0))
    end = jax.lax.while_loop(goes_on, once, start)
    return jnp.where(slope < 0, end.step, 0)
