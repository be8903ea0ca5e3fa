"""Boxes cut by a plane, `lower <= c <= upper` and `sum c = total`: the domain of dual variables."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxml.types import Array, Float

Scalar = float | Float[Array, ""]
Vector = Float[Array, " n"]


def project(point: Vector, lower: Vector, upper: Vector, total: Scalar = 0.0) -> Vector:
    r"""Returns the nearest point of a box whose entries have a given sum.

    .. math::
      \arg\min_c \tfrac12 |c - p|^2 \text{ with } l \le c \le u, \sum_i c_i = t
      \quad = \quad \operatorname{clip}(p - \mu, l, u)

    Bisection brackets the multiplier mu until its active set is right; then mu is solved for, so
    that gradients are those of the projection.

    The bounds :math:`l \le 0 \le u` may be infinite, and t is between 0 and the sum of u.

    Example:
      >>> ones = jnp.ones(3)
      >>> project(jnp.array([2.0, 0.5, -1.0]), -ones, ones).tolist()
      [1.0, 0.0, -1.0]

    Reference: Shalev-Shwartz and Singer, "Efficient learning of label ranking by soft projections
    onto polyhedra", 2006; here with general bounds.
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


def excess(point: Vector, lower: Vector, upper: Vector) -> Float[Array, ""]:
    """Returns the largest distance of an entry from its bounds; 0 where all are within.

    Example:
      >>> float(excess(jnp.array([2.0, 0.5]), jnp.zeros(2), jnp.ones(2)))
      1.0
    """
    return jnp.maximum(jnp.maximum(lower - point, point - upper).max(initial=0.0), 0.0)


def violation(
    up: Vector, down: Vector, point: Vector, lower: Vector, upper: Vector, *, pairs: bool
) -> Float[Array, ""]:
    r"""Returns the slope of a concave function along the steepest admissible direction.

    .. math::
      \max(0, \max_{c_i < u_i} d_i^+ - \min_{c_i > l_i} d_i^-)
      \quad\text{or}\quad
      \max(0, \max_{c_i < u_i} d_i^+, -\min_{c_i > l_i} d_i^-)

    with `pairs`, where one entry must fall as another rises, or where each moves alone. It is 0 at
    the maximum, and where nothing can move. The derivatives for a rising and for a falling entry,
    `up` and `down`, differ at a kink.

    Example:
      >>> rates = jnp.array([1.0, 3.0])
      >>> float(violation(rates, rates, jnp.zeros(2), -jnp.ones(2), jnp.ones(2), pairs=True))
      2.0

    References: the maximal violating pair of Keerthi et al., "Improvements to Platt's SMO
    algorithm", 2001, and the projected gradient of Hsieh et al., "A dual coordinate descent method
    for large-scale linear SVM", 2008.
    """
    rise = jnp.where(point < upper, up, -jnp.inf).max(initial=-jnp.inf)
    fall = jnp.where(point > lower, down, jnp.inf).min(initial=jnp.inf)
    worst = rise - fall if pairs else jnp.maximum(rise, -fall)
    return jnp.maximum(worst, 0.0)


def quantile(values: Vector, weights: Vector, mass: Scalar) -> Float[Array, ""]:
    r"""Returns the value below which the weights sum to a mass, without gradients.

    .. math:: \arg\min_\rho -m \rho + \sum_i v_i \max(0, \rho - z_i)

    The weights v are non-negative, and the mass m is positive and at most their sum.

    Example:
      >>> round(float(quantile(jnp.array([3.0, 1.0, 2.0]), jnp.array([1.0, 1.0, 5.0]), 1.5)), 5)
      2.0

    Reference: Koenker and Bassett, "Regression quantiles", 1978.
    """
    values = lax.stop_gradient(values)
    counted = weights > 0
    low = jnp.where(counted, values, jnp.inf).min(initial=jnp.inf)
    high = jnp.where(counted, values, -jnp.inf).max(initial=-jnp.inf)

    def below(rho: Array) -> Array:
        return jnp.where(values < rho, weights, 0.0).sum() - mass

    return bisect(below, low, high)


def bisect(increasing: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Returns the root of an increasing function of a scalar, to the precision of the dtype.

    The function is at most 0 at `low`, and at least 0 at `high`. Of an interval of roots, it is the
    upper end.

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
