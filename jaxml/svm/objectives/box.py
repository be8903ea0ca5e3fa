"""Boxes cut by a plane: `lower <= c <= upper` and `sum c = total`, where dual variables live."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxml.types import Array, Float

Scalar = float | Float[Array, ""]


def project(
    point: Float[Array, " n"],
    lower: Float[Array, " n"],
    upper: Float[Array, " n"],
    total: Scalar = 0.0,
) -> Float[Array, " n"]:
    r"""The nearest point of a box whose entries have a given sum.

    .. math::
      \arg\min_c \tfrac12 |c - p|^2 \text{ with } l \le c \le u, \sum_i c_i = t
      \quad = \quad \operatorname{clip}(p - \mu, l, u)

    The multiplier mu is bracketed by bisection until its active set is right, then solved for.

    Args:
      point: `[n]`, p.
      lower: `[n]`, at most 0, may be -inf.
      upper: `[n]`, at least 0, may be inf.
      total: t, at least 0 and at most the sum of the upper bounds.

    Returns:
      `[n]` in the dtype of the point. Gradients are those of the projection.

    Example:
      >>> ones = jnp.ones(3)
      >>> project(jnp.array([2.0, 0.5, -1.0]), -ones, ones).tolist()
      [1.0, 0.0, -1.0]

    Source: the projection of Shalev-Shwartz and Singer, "Efficient learning of label ranking by
    soft projections onto polyhedra", 2006, with general bounds.
    """
    total = jnp.asarray(total).astype(point.dtype)
    # Beyond these shifts every entry is at most 0, or at least min(upper, total).
    low = jnp.min(point - jnp.minimum(upper, total))
    high = jnp.max(point - jnp.maximum(lower, -total))

    def missing(shift: Array) -> Array:
        return total - jnp.clip(point - shift, lower, upper).sum()

    shift = lax.stop_gradient(bisect(missing, low, high))
    free = (point - shift > lower) & (point - shift < upper)
    shift -= missing(shift) / jnp.maximum(free.sum(), 1).astype(point.dtype)
    return jnp.clip(point - shift, lower, upper)


def excess(
    point: Float[Array, " n"], lower: Float[Array, " n"], upper: Float[Array, " n"]
) -> Float[Array, ""]:
    """How far the furthest entry is outside of its bounds; 0 where none is.

    Args:
      point: `[n]`.
      lower: `[n]`.
      upper: `[n]`.

    Returns:
      A scalar of 0 or more.

    Example:
      >>> float(excess(jnp.array([2.0, 0.5]), jnp.zeros(2), jnp.ones(2)))
      1.0
    """
    return jnp.maximum(jnp.maximum(lower - point, point - upper).max(initial=0.0), 0.0)


def violation(
    up: Float[Array, " n"],
    down: Float[Array, " n"],
    point: Float[Array, " n"],
    lower: Float[Array, " n"],
    upper: Float[Array, " n"],
    *,
    pairs: bool,
) -> Float[Array, ""]:
    r"""How fast a concave function still grows along the best admissible direction.

    .. math::
      \max(0, \max_{c_i < u_i} d_i^+ - \min_{c_i > l_i} d_i^-)
      \quad\text{or}\quad
      \max(0, \max_{c_i < u_i} d_i^+, -\min_{c_i > l_i} d_i^-)

    where one entry must fall as another rises (pairs), or where each moves alone. It is 0 at the
    maximum and only there.

    Args:
      up: `[n]`, the derivative for a rising entry, d+.
      down: `[n]`, the derivative for a falling entry, d-; the same where there is no kink.
      point: `[n]`, c, within its bounds.
      lower: `[n]`.
      upper: `[n]`.
      pairs: whether the sum of the entries is fixed.

    Returns:
      A scalar of 0 or more; 0 too where nothing can move.

    Example:
      >>> rates = jnp.array([1.0, 3.0])
      >>> float(violation(rates, rates, jnp.zeros(2), -jnp.ones(2), jnp.ones(2), pairs=True))
      2.0

    Source: the maximal violating pair of Keerthi et al., "Improvements to Platt's SMO algorithm",
    2001, and the projected gradient of Hsieh et al., "A dual coordinate descent method for
    large-scale linear SVM", 2008.
    """
    rise = jnp.where(point < upper, up, -jnp.inf).max(initial=-jnp.inf)
    fall = jnp.where(point > lower, down, jnp.inf).min(initial=jnp.inf)
    worst = rise - fall if pairs else jnp.maximum(rise, -fall)
    return jnp.maximum(worst, 0.0)


def bisect(increasing: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where an increasing function of a scalar crosses 0, to the digits of the dtype.

    Args:
      increasing: a scalar to a scalar.
      low: where it is at most 0.
      high: where it is at least 0.

    Returns:
      A scalar in the dtype of the ends; of a flat piece at 0 its upper end.

    Example:
      >>> round(float(bisect(lambda x: x**3 - 8, jnp.array(0.0), jnp.array(5.0))), 5)
      2.0
    """

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = increasing(middle) > 0
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    halvings = jnp.finfo(low.dtype).nmant + 12  # more than its digits, for roots near 0
    low, high = lax.fori_loop(0, halvings, halve, (low, high))
    return (low + high) / 2
