r"""The dual of the machine of two classes; `jaxml.svm.objectives.binary` has the primal."""

import jax.numpy as jnp

from jaxml.svm.objectives import box, problem
from jaxml.svm.objectives.gram import Gram
from jaxml.svm.objectives.problem import Labels, Scalar
from jaxml.types import Array, Float

SQUARED = {"hinge": False, "squared_hinge": True}


def dual(
    alpha: Float[Array, " rows"],
    gram: Gram,
    labels: Labels,
    *,
    C: Scalar,
    loss: str = "squared_hinge",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, "2"] | None = None,
) -> Float[Array, ""]:
    r"""The lower bound of the primal that a feasible alpha gives.

    .. math::
      D(\alpha) = \sum_i \alpha_i - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j
      - \sum_i \frac{\alpha_i^2}{4 c_i}, \qquad \beta_i = s_i \alpha_i

    with the last sum for the squared hinge only, and :math:`K + 1` for K where the intercept is
    penalized. The value is that of the formula whether alpha is feasible or not: it bounds what
    `infeasibility` finds 0 for.

    Args:
      alpha: `[rows]`, float32 or float64.
      gram: K, of alpha's dtype: an array `[rows, rows]`, or `LinearGram(x)`, which never makes it.
      labels: `[rows]`, integers 0 and 1 or booleans.
      C: above 0.
      loss: "squared_hinge" or "hinge".
      bias: "free", "penalized" or "none".
      sample_weight: `[rows]`, 0 or more; a row of 0 does not count, and its alpha has to be 0.
      class_weight: `[2]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype.

    Raises:
      TypeError: alpha and the Gram matrix are not of one such dtype; labels that are not integers
        or booleans.
      ValueError: shapes that do not fit, a Gram matrix that is not square among them; where values
        are known, C that is not above 0, NaN, labels other than 0 and 1; an unknown name.

    Example:
      >>> from jaxml.svm.objectives.gram import LinearGram
      >>> gram = LinearGram(jnp.array([[1.0], [-1.0]]))
      >>> float(dual(jnp.array([0.5, 0.5]), gram, jnp.array([1, 0]), C=1.0, loss="hinge"))
      0.5

    Source: Cortes and Vapnik, "Support-vector networks", 1995; minus what libsvm and liblinear
    minimise. The squared hinge is liblinear's, without a half: its dual has 4c where one with a
    half has 2c.
    """
    signs, costs, _ = prepare(alpha, labels, C, loss, sample_weight, class_weight)
    problem.check_dual(alpha, gram)
    problem.check_bias(bias)
    beta = signs * alpha
    return _dual(alpha, jnp.vdot(beta, problem.products(gram, beta, bias)), costs, loss)


def l1_dual(
    alpha: Float[Array, " rows"],
    labels: Labels,
    *,
    C: Scalar,
    loss: str = "squared_hinge",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, "2"] | None = None,
) -> Float[Array, ""]:
    r"""The lower bound of the primal with the penalty "l1".

    .. math::
      D(\alpha) = \sum_i \alpha_i - \sum_i \frac{\alpha_i^2}{4 c_i} \text{ (squared hinge only)}
      \quad\text{ where } \Bigl|\sum_i s_i \alpha_i x_{ij}\Bigr| \le 1 \text{ for every feature}

    beside the bounds of `infeasibility`: see `shrink`.

    Args:
      alpha: `[rows]`, floating point.
      labels: `[rows]`, integers 0 and 1 or booleans.
      C: above 0.
      loss: "squared_hinge" or "hinge".
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[2]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> float(l1_dual(jnp.array([1.0, 1.0]), jnp.array([1, 0]), C=0.5))
      1.0

    Source: Yuan et al., "A comparison of optimization methods and software for large-scale
    L1-regularized linear classification", 2010.
    """
    _, costs, _ = prepare(alpha, labels, C, loss, sample_weight, class_weight)
    return _dual(alpha, jnp.zeros((), alpha.dtype), costs, loss)


def shrink(
    alpha: Float[Array, " rows"],
    x: Float[Array, "rows features"],
    labels: Labels,
    *,
    bias: str = "free",
) -> Float[Array, " rows"]:
    r"""A multiple of alpha that is feasible for the penalty "l1", where alpha is for "l2".

    .. math:: \alpha / \max(1, \max_j |\textstyle\sum_i s_i \alpha_i x_{ij}|)

    Args:
      alpha: `[rows]`, floating point, as `project` gives it.
      x: `[rows, features]`, of alpha's dtype.
      labels: `[rows]`, integers 0 and 1 or booleans.
      bias: "free", "none", or "penalized", where the feature of ones counts as well.

    Returns:
      `[rows]` in alpha's dtype.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> shrink(jnp.array([2.0, 2.0]), jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])).tolist()
      [0.5, 0.5]

    Source: the scaled dual point of Kim, Koh, Lustig, Boyd and Gorinevsky, "An interior-point
    method for large-scale l1-regularized least squares", 2007.
    """
    problem.check_bias(bias)
    problem.check_array("alpha", alpha, ("rows",))
    problem.check_array("x", x, (alpha.shape[0], "features"))
    beta = problem.signs_of(labels, alpha.dtype, alpha.shape[0]) * alpha
    steepest = jnp.abs(x.T @ beta).max(initial=1.0)
    return alpha / jnp.maximum(steepest, jnp.abs(problem.implied_intercept(beta, bias)))


def infeasibility(
    alpha: Float[Array, " rows"],
    labels: Labels,
    *,
    C: Scalar,
    loss: str = "squared_hinge",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, "2"] | None = None,
) -> Float[Array, ""]:
    r"""How far alpha is out of its bounds, or its signed sum from 0.

    .. math:: \max(0, \max_i -\alpha_i, \max_i \alpha_i - c_i, |\textstyle\sum_i s_i \alpha_i|)

    Args:
      alpha: `[rows]`, floating point.
      labels: `[rows]`, integers 0 and 1 or booleans.
      C: above 0.
      loss: "squared_hinge", which has no upper bound, or "hinge".
      bias: "free"; else ("penalized", "none") the sum may be anything.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[2]`, 0 or more; None is 1.

    Returns:
      A scalar, 0 or more; 0 where alpha is feasible.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> float(infeasibility(jnp.array([1.5, 0.5]), jnp.array([1, 0]), C=1.25, loss="hinge"))
      1.0

    Source: the constraints of Cortes and Vapnik, "Support-vector networks", 1995.
    """
    signs, _, upper = prepare(alpha, labels, C, loss, sample_weight, class_weight)
    problem.check_bias(bias)
    outside = box.excess(alpha, jnp.zeros_like(upper), upper)
    return jnp.maximum(outside, jnp.abs(signs @ alpha)) if bias == "free" else outside


def project(
    alpha: Float[Array, " rows"],
    labels: Labels,
    *,
    C: Scalar,
    loss: str = "squared_hinge",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, "2"] | None = None,
) -> Float[Array, " rows"]:
    r"""The nearest feasible alpha.

    .. math::
      \arg\min_a \tfrac12 |a - \alpha|^2 \text{ with } 0 \le a_i \le c_i, \;
      \textstyle\sum_i s_i a_i = 0

    Args:
      alpha: `[rows]`, floating point, anywhere.
      labels: `[rows]`, integers 0 and 1 or booleans.
      C: above 0.
      loss: "squared_hinge", which has no upper bound, or "hinge".
      bias: "free"; else ("penalized", "none") there is no sum, and alpha is clipped.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[2]`, 0 or more; None is 1.

    Returns:
      `[rows]` in alpha's dtype: within the bounds, and with the sum but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> project(jnp.array([3.0, 0.5, 0.0]), jnp.array([1, 0, 0]), C=1.0, loss="hinge").tolist()
      [1.0, 0.75, 0.25]

    Source: `jaxml.svm.objectives.box.project`.
    """
    signs, _, upper = prepare(alpha, labels, C, loss, sample_weight, class_weight)
    problem.check_bias(bias)
    if bias != "free":
        return jnp.clip(alpha, jnp.zeros_like(upper), upper)
    return signs * box.project(signs * alpha, *_signed_bounds(signs, upper))


def kkt_residual(
    alpha: Float[Array, " rows"],
    gram: Gram,
    labels: Labels,
    *,
    C: Scalar,
    loss: str = "squared_hinge",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, "2"] | None = None,
) -> Float[Array, ""]:
    r"""How far a feasible alpha is from meeting the conditions of Karush, Kuhn and Tucker.

    With :math:`d_i = \partial D / \partial \beta_i = s_i - \sum_j K_{ij} \beta_j`, for the squared
    hinge less :math:`\beta_i / 2 c_i`,

    .. math::
      \max_{\beta_i \text{ may rise}} d_i - \min_{\beta_i \text{ may fall}} d_i
      \text{ (free)}, \qquad
      \max_i |\text{projected } d_i| \text{ (penalized, none)}

    Args:
      alpha: `[rows]`, float32 or float64, within its bounds.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      labels: `[rows]`, integers 0 and 1 or booleans.
      C: above 0.
      loss: "squared_hinge" or "hinge".
      bias: "free", "penalized" or "none".
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[2]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype, 0 or more, in the unit of the outputs; 0 at the optimum.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> from jaxml.svm.objectives.gram import LinearGram
      >>> gram, labels = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([1, 0])
      >>> float(kkt_residual(jnp.array([0.25, 0.25]), gram, labels, C=1.0, loss="hinge"))
      1.0

    Source: where the intercept is free, :math:`m(\alpha) - M(\alpha)`, which libsvm compares with
    its tolerance (scikit-learn's `tol`); Chang and Lin, "LIBSVM: a library for support vector
    machines", 2011. Else the largest projected gradient; liblinear compares the largest less the
    least with its tolerance, of which this is between one half and one.
    """
    signs, costs, upper = prepare(alpha, labels, C, loss, sample_weight, class_weight)
    problem.check_dual(alpha, gram)
    problem.check_bias(bias)
    beta = signs * alpha
    rates = signs - problem.products(gram, beta, bias)
    if SQUARED[loss]:
        rates -= problem.ratio(beta, 2 * costs)
    bounds = _signed_bounds(signs, upper)
    return box.violation(rates, rates, beta, *bounds, pairs=bias == "free")


def _dual(alpha: Array, quadratic: Array, costs: Array, loss: str) -> Array:
    """The dual's value from `beta^T K beta`."""
    value = alpha.sum() - quadratic / 2
    return value - jnp.vdot(alpha, problem.ratio(alpha, 4 * costs)) if SQUARED[loss] else value


def prepare(
    alpha: Array,
    labels: Array,
    C: Scalar,
    loss: str,
    sample_weight: Array | None,
    class_weight: Array | None,
) -> tuple[Array, Array, Array]:
    """Signs, costs and upper bounds of alpha, `[rows]` each."""
    problem.check_array("alpha", alpha, ("rows",))
    squared = problem.choose("loss", loss, SQUARED)
    rows = alpha.shape[0]
    signs = problem.signs_of(labels, alpha.dtype, rows)
    costs = problem.row_costs(
        labels, alpha.dtype, rows=rows, C=C,
        sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip
    return signs, costs, problem.unbounded(costs) if squared else costs


def _signed_bounds(signs: Array, upper: Array) -> tuple[Array, Array]:
    """The bounds of beta."""
    return jnp.where(signs < 0, -upper, 0.0), jnp.where(signs > 0, upper, 0.0)
