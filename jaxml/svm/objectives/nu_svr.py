r"""The nu form of support vector regression: the tube is as wide as a share of rows allows.

With targets y_i, costs :math:`c_i = C v_i`, their sum :math:`\Sigma`, and outputs
:math:`f_i = \langle w, \phi(x_i) \rangle + b`,

.. math::
  P(w, b, \epsilon) = \tfrac12 |w|^2 + \nu \Sigma \epsilon
  + \sum_i c_i \max(0, |f_i - y_i| - \epsilon), \quad \epsilon \ge 0, \qquad
  D(\beta) = \sum_i y_i \beta_i - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j

and :math:`D(\beta) \le P(w, b, \epsilon)` for every beta with :math:`|\beta_i| \le c_i`,
:math:`\sum \beta_i = 0` and :math:`\sum |\beta_i| \le \nu \Sigma`. Given the tube that comes out,
it is the machine of `jaxml.svm.objectives.regression`, which has the residual. The scale is
libsvm's, and scikit-learn's `dual_coef_` is beta.
"""

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.svm.objectives import one_class, problem, regression
from jaxml.svm.objectives.gram import Gram
from jaxml.svm.objectives.problem import Scalar
from jaxml.types import Array, Float


def primal(
    weights: Float[Array, " features"],
    intercept: Scalar,
    epsilon: Scalar,
    x: Float[Array, "rows features"],
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""What a linear machine minimises.

    .. math::
      P = \tfrac12 |w|^2 + \nu \Sigma \epsilon
      + \sum_i c_i \max(0, |w \cdot x_i + b - y_i| - \epsilon)

    Args:
      weights: `[features]`, w.
      intercept: b.
      epsilon: half of the width of the tube, 0 or more, in the unit of the targets.
      x: `[rows, features]`.
      targets: `[rows]`, floating point.
      C: above 0.
      nu: in (0, 1], the largest share of rows out of the tube.
      sample_weight: `[rows]`, v, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least.

    Raises:
      TypeError: arrays that are not floating point.
      ValueError: shapes that do not fit; where values are known, C that is not above 0, nu outside
        (0, 1], epsilon below 0, NaN, negative weights.

    Example:
      >>> x, targets = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 3.0])
      >>> float(primal(jnp.array([1.0]), 0.0, 0.5, x, targets, C=2.0, nu=0.25))
      2.0

    Source: Schoelkopf, Smola, Williamson and Bartlett, "New support vector algorithms", 2000, in
    the scale of libsvm.
    """
    problem.check_scalar("nu", nu, largest=1.0)
    value = regression.primal(
        weights, intercept, x, targets, C=C, epsilon=epsilon, sample_weight=sample_weight
    )
    costs = problem.row_costs(None, value.dtype, rows=len(x), C=C, sample_weight=sample_weight)
    return value + (jnp.asarray(nu) * jnp.asarray(epsilon)).astype(value.dtype) * costs.sum()


def dual(
    beta: Float[Array, " rows"], gram: Gram, targets: Float[Array, " rows"]
) -> Float[Array, ""]:
    r"""The lower bound of the primal that a feasible beta gives.

    .. math:: D(\beta) = \sum_i y_i \beta_i - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j

    Args:
      beta: `[rows]`, float32 or float64.
      gram: K, of beta's dtype: an array `[rows, rows]`, or `LinearGram(x)`, which never makes it.
      targets: `[rows]`, of beta's dtype.

    Returns:
      A scalar of beta's dtype.

    Raises:
      TypeError: arrays that are not of one such dtype.
      ValueError: shapes that do not fit, a Gram matrix that is not square among them; NaN where
        values are known.

    Example:
      >>> float(dual(jnp.array([0.5, -0.5]), jnp.eye(2), jnp.array([2.0, -2.0])))
      1.75

    Source: Schoelkopf, Smola, Williamson and Bartlett, "New support vector algorithms", 2000;
    minus what libsvm minimises.
    """
    return regression.dual(beta, gram, targets, C=1.0, epsilon=0.0)  # C has no part in the value


def kernel_primal(
    beta: Float[Array, " rows"],
    gram: Gram,
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The primal at the weights that beta stands for, with the best intercept and tube.

    .. math::
      \min_{b, \epsilon \ge 0} P\Bigl(\textstyle\sum_i \beta_i \phi(x_i), b, \epsilon\Bigr)

    Args:
      beta: `[rows]`, float32 or float64; not necessarily feasible.
      gram: K, of beta's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      targets: `[rows]`, of beta's dtype.
      C: above 0.
      nu: in (0, 1], the largest share of rows out of the tube.
      sample_weight: `[rows]`, v, 0 or more; None is 1.

    Returns:
      A scalar of beta's dtype.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`; C that is not above 0, nu outside (0, 1], negative weights.

    Example:
      >>> beta, targets = jnp.array([0.5, -0.5]), jnp.array([2.0, -2.0])
      >>> round(float(kernel_primal(beta, jnp.eye(2), targets, C=1.0, nu=0.5)), 5)
      1.75

    Source: as `dual`.
    """
    problem.check_dual(beta, gram, name="beta")
    outputs = gram @ beta
    b, epsilon = best_tube(outputs, targets, nu=nu, sample_weight=sample_weight)
    costs = problem.row_costs(None, beta.dtype, rows=len(beta), C=C, sample_weight=sample_weight)
    tube = jnp.asarray(nu).astype(beta.dtype) * costs.sum() * epsilon
    errors = regression.epsilon_insensitive(outputs + b, targets, epsilon=epsilon)
    return jnp.vdot(beta, outputs) / 2 + tube + jnp.vdot(costs, errors)


def kernel_duality_gap(
    beta: Float[Array, " rows"],
    gram: Gram,
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far the machine that beta stands for can be from the optimum, at most.

    .. math:: \min_{b, \epsilon} P(w(\beta), b, \epsilon) - D(\beta)

    Args:
      beta: `[rows]`, float32 or float64, feasible.
      gram: K, of beta's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      targets: `[rows]`, of beta's dtype.
      C: above 0.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of beta's dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `kernel_primal`.

    Example:
      >>> beta, targets = jnp.array([0.5, -0.5]), jnp.array([2.0, -2.0])
      >>> abs(float(kernel_duality_gap(beta, jnp.eye(2), targets, C=1.0, nu=0.5))) < 1e-6
      True

    Source: Boyd and Vandenberghe, "Convex optimization", 2004, chapter 5.
    """
    upper = kernel_primal(beta, gram, targets, C=C, nu=nu, sample_weight=sample_weight)
    return upper - dual(beta, gram, targets)


def infeasibility(
    beta: Float[Array, " rows"],
    *,
    C: Scalar,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far beta is out of its bounds, or a sum from what it may be.

    .. math::
      \max(0, \max_i |\beta_i| - c_i, |\textstyle\sum_i \beta_i|,
      \textstyle\sum_i |\beta_i| - \nu \Sigma)

    Args:
      beta: `[rows]`, floating point.
      C: above 0.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, 0 or more; 0 where beta is feasible.

    Raises:
      TypeError: as `dual`.
      ValueError: as `kernel_primal`.

    Example:
      >>> float(infeasibility(jnp.array([1.0, -1.0]), C=1.0, nu=0.75))
      0.5

    Source: as `dual`.
    """
    problem.check_scalar("nu", nu, largest=1.0)
    outside = regression.infeasibility(beta, C=C, sample_weight=sample_weight)
    costs = problem.row_costs(None, beta.dtype, rows=len(beta), C=C, sample_weight=sample_weight)
    mass = jnp.asarray(nu).astype(beta.dtype) * costs.sum()
    return jnp.maximum(outside, jnp.abs(beta).sum() - mass)


def best_tube(
    outputs: Float[Array, " rows"],
    targets: Float[Array, " rows"],
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""The intercept and the half-width of the tube of least cost for outputs without an intercept.

    .. math::
      \arg\min_{b, \epsilon \ge 0} \nu V \epsilon
      + \sum_i v_i \max(0, |f_i + b - y_i| - \epsilon)

    A quantile on each side of the errors: their middle and half of their distance.

    Args:
      outputs: `[rows]`, f, floating point.
      targets: `[rows]`, floating point.
      nu: in (0, 1].
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      b and epsilon, scalars in float32 at least, without gradients.

    Raises:
      TypeError: arrays that are not floating point.
      ValueError: as `kernel_primal`.

    Example:
      >>> b, epsilon = best_tube(jnp.zeros(4), jnp.array([0.0, 1.0, 3.0, 9.0]), nu=0.8)
      >>> round(float(b), 5), round(float(epsilon), 5)
      (2.0, 1.0)

    Source: the optimality of b and epsilon in the primal.
    """
    problem.check_array("outputs", outputs, ("rows",))
    problem.check_array("targets", targets, outputs.shape)
    outputs, targets = inputs.at_least_float32(outputs, targets)
    errors = targets - outputs
    weights, mass = one_class.masses(errors, nu, sample_weight)
    above = -one_class.quantile(-errors, weights, mass / 2)
    below = one_class.quantile(errors, weights, mass / 2)
    # Where both would cross the tube is closed, and the intercept is a median.
    middle = one_class.quantile(errors, weights, weights.sum() / 2)
    open_ = above >= below
    b = jnp.where(open_, (above + below) / 2, middle)
    return b, jnp.where(open_, (above - below) / 2, 0.0)
