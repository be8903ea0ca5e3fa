r"""The nu form of the support vector machine of two classes: a share of rows instead of a price.

In libsvm's scale before its last division, with weights of rows v_i (1 unless told), their sum V,
and outputs :math:`f_i = \langle w, \phi(x_i) \rangle + b`,

.. math::
  P(w, b, \rho) = \tfrac12 |w|^2 - \nu V \rho + \sum_i v_i \max(0, \rho - s_i f_i), \qquad
  D(\alpha) = -\tfrac12 \sum_{ij} s_i \alpha_i K_{ij} s_j \alpha_j

and :math:`D(\alpha) \le P(w, b, \rho)` for every alpha with :math:`0 \le \alpha_i \le v_i` that
sums to :math:`\nu V / 2` over each of the two classes: each is a one-class machine of its own, for
the outputs of the other sign. Nu bounds the share of rows on the wrong side of their margin rho
from above, that of support vectors from below. Divided by rho the machine is that of
:math:`C = 1 / \rho` with the hinge; so libsvm stores it, and scikit-learn's `dual_coef_` is
:math:`s_i \alpha_i / \rho`.
"""

import jax.numpy as jnp

from jaxml import regularizers
from jaxml.losses import _inputs as inputs
from jaxml.svm.objectives import box, one_class, problem
from jaxml.svm.objectives.gram import Gram
from jaxml.svm.objectives.problem import Labels, Scalar
from jaxml.types import Array, Float


def primal(
    weights: Float[Array, " features"],
    intercept: Scalar,
    rho: Scalar,
    x: Float[Array, "rows features"],
    labels: Labels,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""What a linear machine minimises.

    .. math::
      P = \tfrac12 |w|^2 - \nu V \rho + \sum_i v_i \max(0, \rho - s_i (w \cdot x_i + b))

    Args:
      weights: `[features]`, w.
      intercept: b.
      rho: the margin.
      x: `[rows, features]`.
      labels: `[rows]`, integers 0 and 1 or booleans.
      nu: in (0, 1], and small enough for each class to hold half of it.
      sample_weight: `[rows]`, v, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least.

    Raises:
      TypeError: labels that are not integers or booleans, arrays that are not floating point.
      ValueError: shapes that do not fit; where values are known, nu out of range, NaN, labels other
        than 0 and 1, negative weights.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
      >>> float(primal(jnp.array([1.0]), 0.0, 2.0, x, labels, nu=0.5))
      0.5

    Source: Schoelkopf, Smola, Williamson and Bartlett, "New support vector algorithms", 2000, in
    the scale of libsvm.
    """
    problem.check_array("x", x, ("rows", "features"))
    problem.check_array("weights", weights, x.shape[1:])
    weights, x = inputs.at_least_float32(weights, x)
    outputs = x @ weights + jnp.asarray(intercept).astype(x.dtype)
    signs, v, mass = _prepare(outputs, labels, nu, sample_weight)
    return regularizers.l2(weights, strength=0.5) + _cost(signs * outputs, rho, v, mass)


def dual(alpha: Float[Array, " rows"], gram: Gram, labels: Labels) -> Float[Array, ""]:
    r"""The lower bound of the primal that a feasible alpha gives.

    .. math:: D(\alpha) = -\tfrac12 \sum_{ij} s_i \alpha_i K_{ij} s_j \alpha_j

    Args:
      alpha: `[rows]`, float32 or float64.
      gram: K, of alpha's dtype: an array `[rows, rows]`, or `LinearGram(x)`, which never makes it.
      labels: `[rows]`, integers 0 and 1 or booleans.

    Returns:
      A scalar of alpha's dtype.

    Raises:
      TypeError: alpha and the Gram matrix are not of one such dtype; as `primal`.
      ValueError: a Gram matrix that is not square; as `primal`.

    Example:
      >>> gram = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
      >>> float(dual(jnp.array([0.5, 0.5]), gram, jnp.array([1, 0])))
      -0.5

    Source: as `primal`; minus what libsvm minimises.
    """
    beta = problem.signs_of(labels, alpha.dtype, len(alpha)) * alpha
    return one_class.dual(beta, gram)


def kernel_primal(
    alpha: Float[Array, " rows"],
    gram: Gram,
    labels: Labels,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The primal at the weights that alpha stands for, with the best intercept and margin.

    .. math:: \min_{b, \rho} P\Bigl(\textstyle\sum_i s_i \alpha_i \phi(x_i), b, \rho\Bigr)

    Args:
      alpha: `[rows]`, float32 or float64; not necessarily feasible.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      labels: `[rows]`, integers 0 and 1 or booleans.
      nu: as in `primal`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype.

    Raises:
      TypeError: as `dual`.
      ValueError: as `primal`.

    Example:
      >>> gram = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
      >>> round(float(kernel_primal(jnp.array([0.5, 0.5]), gram, jnp.array([1, 0]), nu=0.5)), 5)
      -0.5

    Source: as `primal`.
    """
    problem.check_dual(alpha, gram)
    signs, v, mass = _prepare(alpha, labels, nu, sample_weight)
    beta = signs * alpha
    outputs = gram @ beta
    b, rho = best_margin(outputs, labels, nu=nu, sample_weight=sample_weight)
    return jnp.vdot(beta, outputs) / 2 + _cost(signs * (outputs + b), rho, v, mass)


def kernel_duality_gap(
    alpha: Float[Array, " rows"],
    gram: Gram,
    labels: Labels,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far the machine that alpha stands for can be from the optimum, at most.

    .. math:: \min_{b, \rho} P(w(\alpha), b, \rho) - D(\alpha)

    Args:
      alpha: `[rows]`, float32 or float64, feasible.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      labels: `[rows]`, integers 0 and 1 or booleans.
      nu: as in `primal`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `primal`.

    Example:
      >>> gram, labels = jnp.array([[1.0, -1.0], [-1.0, 1.0]]), jnp.array([1, 0])
      >>> abs(float(kernel_duality_gap(jnp.array([0.5, 0.5]), gram, labels, nu=0.5))) < 1e-6
      True

    Source: Boyd and Vandenberghe, "Convex optimization", 2004, chapter 5.
    """
    upper = kernel_primal(alpha, gram, labels, nu=nu, sample_weight=sample_weight)
    return upper - dual(alpha, gram, labels)


def kkt_residual(
    alpha: Float[Array, " rows"],
    gram: Gram,
    labels: Labels,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far a feasible alpha is from meeting the conditions of Karush, Kuhn and Tucker.

    .. math::
      \max_{s = \pm 1} \Bigl( \max_{s_i = s, \alpha_i > 0} s f_i
      - \min_{s_i = s, \alpha_i < v_i} s f_i \Bigr), \qquad
      f_i = \textstyle\sum_j K_{ij} s_j \alpha_j

    Args:
      alpha: `[rows]`, float32 or float64, within its bounds.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      labels: `[rows]`, integers 0 and 1 or booleans.
      nu: as in `primal`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype, 0 or more, in the unit of the outputs; 0 at the optimum.

    Raises:
      TypeError: as `dual`.
      ValueError: as `primal`.

    Example:
      >>> gram, labels = jnp.diag(jnp.array([1.0, 3.0, 1.0])), jnp.array([1, 1, 0])
      >>> float(kkt_residual(jnp.array([0.25, 0.25, 0.5]), gram, labels, nu=1 / 3))
      0.5

    Source: what libsvm compares with its tolerance (scikit-learn's `tol`).
    """
    problem.check_dual(alpha, gram)
    signs, v, _ = _prepare(alpha, labels, nu, sample_weight)
    rates = -signs * (gram @ (signs * alpha))
    zeros = jnp.zeros_like(v)
    residuals = []
    for s in (-1, 1):
        own, reach = (jnp.where(signs == s, values, 0.0) for values in (alpha, v))
        residuals.append(box.violation(rates, rates, own, zeros, reach, pairs=True))
    return jnp.maximum(*residuals)


def infeasibility(
    alpha: Float[Array, " rows"],
    labels: Labels,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far alpha is out of its bounds, or its sum over a class from what it has to be.

    .. math::
      \max\Bigl(0, \max_i -\alpha_i, \max_i \alpha_i - v_i,
      \max_{s = \pm 1} \Bigl|\sum_{s_i = s} \alpha_i - \nu V / 2\Bigr|\Bigr)

    Args:
      alpha: `[rows]`, floating point.
      labels: `[rows]`, integers 0 and 1 or booleans.
      nu: as in `primal`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, 0 or more; 0 where alpha is feasible.

    Raises:
      TypeError: as `dual`.
      ValueError: as `primal`.

    Example:
      >>> float(infeasibility(jnp.array([1.0, 0.5]), jnp.array([1, 0]), nu=0.5))
      0.5

    Source: as `primal`.
    """
    problem.check_array("alpha", alpha, ("rows",))
    signs, v, mass = _prepare(alpha, labels, nu, sample_weight)
    sums = jnp.stack([jnp.where(signs == s, alpha, 0.0).sum() for s in (-1, 1)])
    outside = box.excess(alpha, jnp.zeros_like(v), v)
    return jnp.maximum(outside, jnp.abs(sums - mass / 2).max())


def project(
    alpha: Float[Array, " rows"],
    labels: Labels,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, " rows"]:
    r"""The nearest feasible alpha: that of each class for itself.

    .. math::
      \arg\min_a \tfrac12 |a - \alpha|^2 \text{ with } 0 \le a_i \le v_i, \;
      \sum_{s_i = s} a_i = \nu V / 2

    Args:
      alpha: `[rows]`, floating point, anywhere.
      labels: `[rows]`, integers 0 and 1 or booleans.
      nu: as in `primal`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      `[rows]` in alpha's dtype: within the bounds, and with the sums but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `primal`.

    Example:
      >>> alpha = project(jnp.array([3.0, 0.5, 0.0]), jnp.array([1, 0, 0]), nu=0.5)
      >>> (8 * alpha).round().tolist()
      [6.0, 5.0, 1.0]

    Source: `jaxml.svm.objectives.box.project`.
    """
    problem.check_array("alpha", alpha, ("rows",))
    signs, v, mass = _prepare(alpha, labels, nu, sample_weight)
    zeros = jnp.zeros_like(v)
    classes = [box.project(alpha, zeros, jnp.where(signs == s, v, 0.0), mass / 2) for s in (-1, 1)]
    return classes[0] + classes[1]


def best_margin(
    outputs: Float[Array, " rows"],
    labels: Labels,
    *,
    nu: Scalar,
    sample_weight: Float[Array, " rows"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""The intercept and the margin of least cost for outputs without an intercept.

    .. math::
      \arg\min_{b, \rho} -\nu V \rho + \sum_i v_i \max(0, \rho - s_i (f_i + b))

    A quantile of each class: rho - b of the outputs of class 1, rho + b of minus those of class 0.

    Args:
      outputs: `[rows]`, f, floating point.
      labels: `[rows]`, integers 0 and 1 or booleans.
      nu: as in `primal`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      b and rho, scalars in float32 at least, without gradients.

    Raises:
      TypeError: as `primal`.
      ValueError: as `primal`.

    Example:
      >>> b, rho = best_margin(jnp.array([3.0, 1.0]), jnp.array([1, 0]), nu=0.5)
      >>> round(float(b), 5), round(float(rho), 5)
      (-2.0, 1.0)

    Source: the optimality of b and rho in the primal.
    """
    problem.check_array("outputs", outputs, ("rows",))
    (outputs,) = inputs.at_least_float32(outputs)
    signs, v, mass = _prepare(outputs, labels, nu, sample_weight)
    zero, one = (
        one_class.quantile(signs * outputs, jnp.where(signs == s, v, 0.0), mass / 2)
        for s in (-1, 1)
    )
    return (zero - one) / 2, (zero + one) / 2


def _cost(margins: Array, rho: Scalar, weights: Array, mass: Array) -> Array:
    """What the primal has beside half the squared norm."""
    summed = jnp.vdot(weights, one_class.shortfall(margins, rho))
    return summed - mass * jnp.asarray(rho).astype(mass.dtype)


def _prepare(
    rows: Array, labels: Array, nu: Scalar, sample_weight: Array | None
) -> tuple[Array, Array, Array]:
    """Signs and weights `[rows]`, and how much of the weights alpha has to sum to."""
    signs = problem.signs_of(labels, rows.dtype, len(rows))
    weights, mass = one_class.masses(rows, nu, sample_weight)
    lesser = jnp.minimum(*(jnp.where(signs == s, weights, 0.0).sum() for s in (-1, 1)))
    problem.check_share(nu, 2 * lesser / weights.sum())
    return signs, weights, mass
