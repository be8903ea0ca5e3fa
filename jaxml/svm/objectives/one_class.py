r"""The one-class support vector machine: what is far from the rows is on the other side.

In libsvm's scale, with weights of rows v_i (1 unless told), their sum V and outputs
:math:`f_i = \langle w, \phi(x_i) \rangle`,

.. math::
  P(w, \rho) = \tfrac12 |w|^2 - \nu V \rho + \sum_i v_i \max(0, \rho - f_i), \qquad
  D(\alpha) = -\tfrac12 \sum_{ij} \alpha_i K_{ij} \alpha_j

and :math:`D(\alpha) \le P(w, \rho)` for every alpha with :math:`0 \le \alpha_i \le v_i` and
:math:`\sum \alpha_i = \nu V`. Rows with :math:`f_i < \rho` are outliers: at most a share nu of the
weight. Schoelkopf et al. write :math:`\tfrac12 |w|^2 - \rho + \frac{1}{\nu n} \sum_i \max(0, \rho -
f_i)` with alphas that sum to 1: their w, rho and alpha are these divided by :math:`\nu n`, their
values by its square. Of scikit-learn's attributes, `dual_coef_` is alpha and `intercept_` is -rho.
"""

import jax.numpy as jnp
from jax import lax

from jaxml import regularizers
from jaxml.losses import _inputs as inputs
from jaxml.svm.objectives import box, problem
from jaxml.svm.objectives.gram import Gram, LinearGram
from jaxml.svm.objectives.problem import Scalar
from jaxml.types import Array, Float


def primal(
    weights: Float[Array, " features"],
    rho: Scalar,
    x: Float[Array, "rows features"],
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""What a linear machine minimises.

    .. math::
      P(w, \rho) = \tfrac12 |w|^2 - \nu V \rho + \sum_i v_i \max(0, \rho - w \cdot x_i)

    Args:
      weights: `[features]`, w.
      rho: the threshold.
      x: `[rows, features]`.
      nu: in (0, 1], the largest share of outliers.
      sample_weight: `[rows]`, v, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least.

    Raises:
      TypeError: arrays that are not floating point.
      ValueError: shapes that do not fit; where values are known, nu outside (0, 1], NaN, negative
        weights.

    Example:
      >>> x = jnp.array([[1.0], [3.0]])
      >>> float(primal(jnp.array([1.0]), 2.0, x, nu=0.5))
      -0.5

    Source: Schoelkopf et al., "Estimating the support of a high-dimensional distribution", 2001,
    in the scale of libsvm.
    """
    problem.check_array("x", x, ("rows", "features"))
    problem.check_array("weights", weights, x.shape[1:])
    weights, x = inputs.at_least_float32(weights, x)
    return regularizers.l2(weights, strength=0.5) + _cost(x @ weights, rho, nu, sample_weight)


def dual(alpha: Float[Array, " rows"], gram: Gram) -> Float[Array, ""]:
    r"""The lower bound of the primal that a feasible alpha gives.

    .. math:: D(\alpha) = -\tfrac12 \sum_{ij} \alpha_i K_{ij} \alpha_j

    Args:
      alpha: `[rows]`, float32 or float64.
      gram: K, of alpha's dtype: an array `[rows, rows]`, or `LinearGram(x)`, which never makes it.

    Returns:
      A scalar of alpha's dtype.

    Raises:
      TypeError: alpha and the Gram matrix are not of one such dtype.
      ValueError: shapes that do not fit, a Gram matrix that is not square among them; NaN where
        values are known.

    Example:
      >>> float(dual(jnp.array([1.0, 0.0]), LinearGram(jnp.array([[1.0], [3.0]]))))
      -0.5

    Source: as `primal`; minus what libsvm minimises.
    """
    problem.check_dual(alpha, gram)
    return -jnp.vdot(alpha, gram @ alpha) / 2


def kernel_primal(
    alpha: Float[Array, " rows"],
    gram: Gram,
    *,
    nu: Scalar,
    rho: Scalar | None = None,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The primal at the weights that alpha stands for, of whatever kernel.

    .. math::
      w = \sum_i \alpha_i \phi(x_i): \qquad
      P = \tfrac12 \sum_{ij} \alpha_i K_{ij} \alpha_j - \nu V \rho
      + \sum_i v_i \max\Bigl(0, \rho - \textstyle\sum_j K_{ij} \alpha_j\Bigr)

    Args:
      alpha: `[rows]`, float32 or float64; not necessarily feasible.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      nu: in (0, 1].
      rho: the threshold; None is the best one, see `best_rho`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual` and `primal`.

    Example:
      >>> gram = LinearGram(jnp.array([[1.0], [3.0]]))
      >>> float(kernel_primal(jnp.array([1.0, 0.0]), gram, nu=0.5, rho=1.0))
      -0.5

    Source: as `primal`.
    """
    problem.check_dual(alpha, gram)
    outputs = gram @ alpha
    if rho is None:
        rho = best_rho(outputs, nu=nu, sample_weight=sample_weight)
    return jnp.vdot(alpha, outputs) / 2 + _cost(outputs, rho, nu, sample_weight)


def duality_gap(
    weights: Float[Array, " features"],
    rho: Scalar,
    alpha: Float[Array, " rows"],
    x: Float[Array, "rows features"],
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far a linear machine can be from the optimum, at most.

    .. math:: P(w, \rho) - D(\alpha)

    Args:
      weights: `[features]`, float32 or float64.
      rho: the threshold.
      alpha: `[rows]`, of the same dtype, feasible.
      x: `[rows, features]`, of the same dtype.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of their dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual` and `primal`.

    Example:
      >>> x, alpha = jnp.array([[1.0], [3.0]]), jnp.array([1.0, 0.0])
      >>> float(duality_gap(jnp.array([1.0]), 1.0, alpha, x, nu=0.5))
      0.0

    Source: Boyd and Vandenberghe, "Convex optimization", 2004, chapter 5.
    """
    problem.check_certain(weights=weights, alpha=alpha, x=x)
    upper = primal(weights, rho, x, nu=nu, sample_weight=sample_weight)
    return upper - dual(alpha, LinearGram(x))


def kernel_duality_gap(
    alpha: Float[Array, " rows"],
    gram: Gram,
    *,
    nu: Scalar,
    rho: Scalar | None = None,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far the machine that alpha stands for can be from the optimum, at most.

    .. math:: P(w(\alpha), \rho) - D(\alpha)

    Args:
      alpha: `[rows]`, float32 or float64, feasible.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      nu: in (0, 1].
      rho: the threshold; None is the best one.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual` and `primal`.

    Example:
      >>> gram = LinearGram(jnp.array([[1.0], [3.0]]))
      >>> float(kernel_duality_gap(jnp.array([1.0, 0.0]), gram, nu=0.5))
      0.0

    Source: as `duality_gap`.
    """
    upper = kernel_primal(alpha, gram, nu=nu, rho=rho, sample_weight=sample_weight)
    return upper - dual(alpha, gram)


def kkt_residual(
    alpha: Float[Array, " rows"],
    gram: Gram,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far a feasible alpha is from meeting the conditions of Karush, Kuhn and Tucker.

    .. math::
      \max_{\alpha_i > 0} f_i - \min_{\alpha_i < v_i} f_i, \qquad
      f_i = \textstyle\sum_j K_{ij} \alpha_j

    Args:
      alpha: `[rows]`, float32 or float64, within its bounds.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype, 0 or more, in the unit of the outputs; 0 at the optimum.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual` and `primal`.

    Example:
      >>> gram = LinearGram(jnp.array([[1.0], [3.0]]))
      >>> float(kkt_residual(jnp.array([0.5, 0.5]), gram, nu=0.5))
      4.0

    Source: what libsvm compares with its tolerance (scikit-learn's `tol`).
    """
    problem.check_dual(alpha, gram)
    weights, _ = masses(alpha, nu, sample_weight)
    rates = -(gram @ alpha)
    return box.violation(rates, rates, alpha, jnp.zeros_like(weights), weights, pairs=True)


def infeasibility(
    alpha: Float[Array, " rows"],
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far alpha is out of its bounds, or its sum from what it has to be.

    .. math:: \max(0, \max_i -\alpha_i, \max_i \alpha_i - v_i, |\textstyle\sum_i \alpha_i - \nu V|)

    Args:
      alpha: `[rows]`, floating point.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, 0 or more; 0 where alpha is feasible.

    Raises:
      TypeError: as `dual`.
      ValueError: as `primal`.

    Example:
      >>> float(infeasibility(jnp.array([1.0, 0.5]), nu=0.5))
      0.5

    Source: as `primal`.
    """
    problem.check_array("alpha", alpha, ("rows",))
    weights, mass = masses(alpha, nu, sample_weight)
    outside = box.excess(alpha, jnp.zeros_like(weights), weights)
    return jnp.maximum(outside, jnp.abs(alpha.sum() - mass))


def project(
    alpha: Float[Array, " rows"],
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, " rows"]:
    r"""The nearest feasible alpha.

    .. math::
      \arg\min_a \tfrac12 |a - \alpha|^2 \text{ with } 0 \le a_i \le v_i, \;
      \textstyle\sum_i a_i = \nu V

    Args:
      alpha: `[rows]`, floating point, anywhere.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      `[rows]` in alpha's dtype: within the bounds, and with the sum but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `primal`.

    Example:
      >>> (4 * project(jnp.array([3.0, 0.5, 0.0, -2.0]), nu=0.5)).round().tolist()
      [4.0, 3.0, 1.0, 0.0]

    Source: `jaxml.svm.objectives.box.project`.
    """
    problem.check_array("alpha", alpha, ("rows",))
    weights, mass = masses(alpha, nu, sample_weight)
    return box.project(alpha, jnp.zeros_like(weights), weights, mass)


def best_rho(
    outputs: Float[Array, " rows"],
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The threshold of least cost for given outputs: the quantile nu of them.

    .. math:: \arg\min_\rho -\nu V \rho + \sum_i v_i \max(0, \rho - f_i)

    Args:
      outputs: `[rows]`, f, floating point.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least. It passes no gradients on: by the envelope theorem the cost at
      this threshold has the right ones without.

    Raises:
      TypeError: outputs that are not floating point.
      ValueError: as `primal`.

    Example:
      >>> round(float(best_rho(jnp.array([3.0, 1.0, 2.0, 4.0]), nu=0.3)), 5)
      2.0

    Source: the optimality of rho in the primal. libsvm's is the mean over the rows strictly within
    their bounds, which is the same at the optimum.
    """
    problem.check_array("outputs", outputs, ("rows",))
    (outputs,) = inputs.at_least_float32(outputs)
    return quantile(outputs, *masses(outputs, nu, sample_weight))


def quantile(
    values: Float[Array, " rows"], weights: Float[Array, " rows"], mass: Scalar
) -> Float[Array, ""]:
    r"""Where the weight of the values below reaches a mass.

    .. math:: \arg\min_\rho -m \rho + \sum_i v_i \max(0, \rho - z_i)

    Args:
      values: `[rows]`, z.
      weights: `[rows]`, v, of their dtype, 0 or more.
      mass: m, above 0 and at most the sum of the weights.

    Returns:
      A scalar of the values' dtype, without gradients.

    Example:
      >>> round(float(quantile(jnp.array([3.0, 1.0, 2.0]), jnp.array([1.0, 1.0, 5.0]), 1.5)), 5)
      2.0

    Source: Koenker and Bassett, "Regression quantiles", 1978.
    """
    values = lax.stop_gradient(values)
    counted = weights > 0
    low = jnp.where(counted, values, jnp.inf).min(initial=jnp.inf)
    high = jnp.where(counted, values, -jnp.inf).max(initial=-jnp.inf)

    def below(rho: Array) -> Array:
        return jnp.where(values < rho, weights, 0.0).sum() - mass

    return box.bisect(below, low, high)


def shortfall(margins: Array, rho: Scalar) -> Array:
    """`max(0, rho - m)`: the hinge of a margin of rho instead of 1."""
    return jnp.maximum(jnp.asarray(rho).astype(margins.dtype) - margins, 0.0)


def _cost(outputs: Array, rho: Scalar, nu: Scalar, sample_weight: Array | None) -> Array:
    """What the primal has beside half the squared norm."""
    weights, mass = masses(outputs, nu, sample_weight)
    return jnp.vdot(weights, shortfall(outputs, rho)) - mass * jnp.asarray(rho).astype(mass.dtype)


def masses(rows: Array, nu: Scalar, sample_weight: Array | None) -> tuple[Array, Array]:
    """The weights `[rows]`, and how much of them alpha has to sum to."""
    problem.check_scalar("nu", nu, largest=1.0)
    weights = problem.row_costs(
        None, rows.dtype, rows=len(rows), C=1.0, sample_weight=sample_weight
    )
    return weights, jnp.asarray(nu).astype(rows.dtype) * weights.sum()
