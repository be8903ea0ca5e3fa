r"""Support vector regression: primal, dual, and what lies between.

With targets y_i, costs :math:`c_i = C v_i`, outputs :math:`f_i = \langle w, \phi(x_i) \rangle + b`
and a tube of half-width epsilon in which errors are free,

.. math::
  P(w, b) = \tfrac12 |w|^2 + \sum_i c_i \ell(f_i, y_i), \qquad
  D(\beta) = \sum_i \left( y_i \beta_i - \epsilon |\beta_i| \right)
  - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j
  - \sum_i \frac{\beta_i^2}{4 c_i} \text{ (squared loss only)}

and :math:`D(\beta) \le P(w, b)` for every feasible beta: :math:`|\beta_i| \le c_i` (no bound for
the squared loss), and :math:`\sum \beta_i = 0` where the intercept is free. Beta is the difference
of the two dual variables of the textbooks, one for each side of the tube, and what scikit-learn
calls `dual_coef_`. `bias` and Gram matrices are as in `jaxml.svm.objectives.binary`.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml import losses, regularizers
from jaxml.losses import _inputs as inputs
from jaxml.svm.objectives import box, problem
from jaxml.svm.objectives.gram import Gram, LinearGram
from jaxml.svm.objectives.problem import Scalar
from jaxml.types import Array, Float

SQUARED = {"epsilon_insensitive": False, "squared_epsilon_insensitive": True}


def epsilon_insensitive(
    predictions: Float[Array, "*batch"],
    targets: Float[Array, "*batch"],
    *,
    epsilon: Scalar = 0.1,
    squared: bool = False,
) -> Float[Array, "*batch"]:
    r"""How far a prediction is out of a tube around its target.

    .. math:: \ell = \max(0, |f - y| - \epsilon)

    Args:
      predictions: `[...]`, f, floating point.
      targets: the same shape, floating point.
      epsilon: 0 or more, in the unit of the targets.
      squared: whether it is squared.

    Returns:
      `[...]`, in float32 at least: one value an entry. At the edge of the tube the gradient is
      half of the slope.

    Raises:
      TypeError: predictions or targets that are not floating point.
      ValueError: targets of another shape; epsilon below 0, where it is known.

    Example:
      >>> epsilon_insensitive(jnp.array([0.25, 3.0]), jnp.array([0.0, 1.0]), epsilon=0.5).tolist()
      [0.0, 1.5]

    Source: Vapnik, "The nature of statistical learning theory", 1995.
    """
    problem.check_epsilon(epsilon)
    errors = losses.absolute_error(predictions, targets)
    outside = jnp.maximum(errors - jnp.asarray(epsilon).astype(errors.dtype), 0.0)
    return jnp.square(outside) if squared else outside


def primal(
    weights: Float[Array, " features"],
    intercept: Scalar,
    x: Float[Array, "rows features"],
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""What a linear machine minimises.

    .. math:: P(w, b) = \tfrac12 |w|^2 + C \sum_i v_i \ell(w \cdot x_i + b, y_i)

    Args:
      weights: `[features]`, w.
      intercept: b; 0 where there is none.
      x: `[rows, features]`.
      targets: `[rows]`, floating point.
      C: above 0, the price of one unit of error.
      epsilon: 0 or more, in the unit of the targets.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      bias: "free" or "none": b is not penalized; "penalized": half of its square counts.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least.

    Raises:
      TypeError: arrays that are not floating point.
      ValueError: shapes that do not fit; where values are known, C that is not above 0, epsilon
        below 0, NaN, negative weights; an unknown name.

    Example:
      >>> x, targets = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 3.0])
      >>> float(primal(jnp.array([1.0]), 0.0, x, targets, C=2.0, epsilon=0.5))
      1.5

    Source: Ho and Lin, "Large-scale linear support vector regression", 2012, whose value (that of
    liblinear) it has with `bias="penalized"` or "none"; libsvm's has the free intercept.
    """
    problem.check_array("x", x, ("rows", "features"))
    problem.check_array("weights", weights, x.shape[1:])
    problem.check_bias(bias)
    weights, x = inputs.at_least_float32(weights, x)
    b = jnp.asarray(intercept).astype(x.dtype)
    penalty = regularizers.l2(weights, strength=0.5) + (b**2 / 2 if bias == "penalized" else 0.0)
    return penalty + cost(
        x @ weights + b, targets, C=C, epsilon=epsilon, loss=loss, sample_weight=sample_weight
    )


def cost(
    outputs: Float[Array, " rows"],
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The part of the primal that looks at the data: C times the weighted sum of the losses.

    .. math:: C \sum_i v_i \ell(f_i, y_i)

    Args:
      outputs: `[rows]`, f.
      targets: `[rows]`, floating point.
      C: above 0.
      epsilon: 0 or more.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least.

    Raises:
      TypeError: as `primal`.
      ValueError: as `primal`.

    Example:
      >>> float(cost(jnp.array([1.0, 2.0]), jnp.array([1.0, 3.0]), C=2.0, epsilon=0.5))
      1.0

    Source: as `primal`.
    """
    problem.check_array("outputs", outputs, ("rows",))
    problem.check_array("targets", targets, outputs.shape)
    squared = problem.choose("loss", loss, SQUARED)
    losses_of = epsilon_insensitive(outputs, targets, epsilon=epsilon, squared=squared)
    return jnp.sum(losses_of * _costs(losses_of, C, sample_weight))


def dual(
    beta: Float[Array, " rows"],
    gram: Gram,
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The lower bound of the primal that a feasible beta gives.

    .. math::
      D(\beta) = \sum_i \left( y_i \beta_i - \epsilon |\beta_i| \right)
      - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j - \sum_i \frac{\beta_i^2}{4 c_i}

    with the last sum for the squared loss only, and :math:`K + 1` for K where the intercept is
    penalized. It bounds what `infeasibility` finds 0 for.

    Args:
      beta: `[rows]`, float32 or float64.
      gram: K, of beta's dtype: an array `[rows, rows]`, or `LinearGram(x)`, which never makes it.
      targets: `[rows]`, of beta's dtype.
      C: above 0.
      epsilon: 0 or more.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      bias: "free", "penalized" or "none".
      sample_weight: `[rows]`, 0 or more; a row of 0 does not count, and its beta has to be 0.

    Returns:
      A scalar of beta's dtype.

    Raises:
      TypeError: arrays that are not of one such dtype.
      ValueError: shapes that do not fit, a Gram matrix that is not square among them; else as
        `primal`.

    Example:
      >>> gram, targets = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([2.0, -2.0])
      >>> float(dual(jnp.array([0.5, -0.5]), gram, targets, C=1.0, epsilon=0.5))
      1.0

    Source: Smola and Schoelkopf, "A tutorial on support vector regression", 2004; minus what
    libsvm and liblinear minimise.
    """
    costs = _prepare(beta, gram, targets, C, epsilon, loss, bias, sample_weight)
    width = jnp.asarray(epsilon).astype(beta.dtype)
    # Written with signs, whose gradient at 0 is the middle one.
    value = jnp.vdot(beta, targets - width * jnp.sign(beta))
    value -= jnp.vdot(beta, problem.products(gram, beta, bias)) / 2
    return value - jnp.vdot(beta, problem.ratio(beta, 4 * costs)) if SQUARED[loss] else value


def kernel_primal(
    beta: Float[Array, " rows"],
    gram: Gram,
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    intercept: Scalar | None = None,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The primal at the weights that beta stands for, of whatever kernel.

    .. math::
      w = \sum_i \beta_i \phi(x_i): \qquad
      P = \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j
      + \sum_i c_i \ell\Bigl(\textstyle\sum_j K_{ij} \beta_j + b, y_i\Bigr)

    Args:
      beta: `[rows]`, float32 or float64; not necessarily feasible.
      gram: K, of beta's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      targets: `[rows]`, of beta's dtype.
      C: above 0.
      epsilon: 0 or more.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      bias: "free", "penalized" (half of its square counts) or "none".
      intercept: b. None: where it is free the best one, see `best_intercept`; where it is
        penalized the sum of beta; else 0.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of beta's dtype.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> gram, targets = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([2.0, -2.0])
      >>> float(kernel_primal(jnp.array([0.5, -0.5]), gram, targets, C=1.0, epsilon=0.5))
      1.5

    Source: as `dual`.
    """
    _prepare(beta, gram, targets, C, epsilon, loss, bias, sample_weight)
    outputs = gram @ beta
    if intercept is not None:
        b = jnp.asarray(intercept).astype(beta.dtype)
    elif bias == "free":
        b = best_intercept(
            outputs, targets, epsilon=epsilon, loss=loss, sample_weight=sample_weight
        )
    else:
        b = problem.implied_intercept(beta, bias)
    quadratic = jnp.vdot(beta, outputs) + (b**2 if bias == "penalized" else 0.0)
    return quadratic / 2 + cost(
        outputs + b, targets, C=C, epsilon=epsilon, loss=loss, sample_weight=sample_weight
    )


def duality_gap(
    weights: Float[Array, " features"],
    intercept: Scalar,
    beta: Float[Array, " rows"],
    x: Float[Array, "rows features"],
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far a linear machine can be from the optimum, at most.

    .. math:: P(w, b) - D(\beta) \ge P(w, b) - \min P

    Args:
      weights: `[features]`, float32 or float64.
      intercept: b; 0 where there is none.
      beta: `[rows]`, of the same dtype, feasible.
      x: `[rows, features]`, of the same dtype.
      targets: `[rows]`, of the same dtype.
      C: above 0.
      epsilon: 0 or more.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      bias: "free", "penalized" or "none".
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of their dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> x, targets = jnp.array([[1.0], [-1.0]]), jnp.array([2.0, -2.0])
      >>> beta = jnp.array([0.5, -0.5])
      >>> float(duality_gap(jnp.array([1.0]), 0.0, beta, x, targets, C=1.0, epsilon=0.5))
      0.5

    Source: Boyd and Vandenberghe, "Convex optimization", 2004, chapter 5.
    """
    problem.check_certain(weights=weights, beta=beta, x=x)
    upper = primal(
        weights, intercept, x, targets, C=C, epsilon=epsilon, loss=loss, bias=bias,
        sample_weight=sample_weight,
    )  # fmt: skip
    lower = dual(
        beta, LinearGram(x), targets, C=C, epsilon=epsilon, loss=loss, bias=bias,
        sample_weight=sample_weight,
    )  # fmt: skip
    return upper - lower


def kernel_duality_gap(
    beta: Float[Array, " rows"],
    gram: Gram,
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    intercept: Scalar | None = None,
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far the machine that beta stands for can be from the optimum, at most.

    .. math:: P(w(\beta), b) - D(\beta)

    Args:
      beta: `[rows]`, float32 or float64, feasible.
      gram: K, of beta's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      targets: `[rows]`, of beta's dtype.
      C: above 0.
      epsilon: 0 or more.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      bias: "free", "penalized" or "none".
      intercept: as in `kernel_primal`.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of beta's dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> gram, targets = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([2.0, -2.0])
      >>> float(kernel_duality_gap(jnp.array([0.5, -0.5]), gram, targets, C=1.0, epsilon=0.5))
      0.5

    Source: as `duality_gap`.
    """
    upper = kernel_primal(
        beta, gram, targets, C=C, epsilon=epsilon, loss=loss, bias=bias, intercept=intercept,
        sample_weight=sample_weight,
    )  # fmt: skip
    lower = dual(
        beta, gram, targets, C=C, epsilon=epsilon, loss=loss, bias=bias,
        sample_weight=sample_weight,
    )  # fmt: skip
    return upper - lower


def kkt_residual(
    beta: Float[Array, " rows"],
    gram: Gram,
    targets: Float[Array, " rows"],
    *,
    C: Scalar,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far a feasible beta is from meeting the conditions of Karush, Kuhn and Tucker.

    With :math:`d_i^\pm = y_i - \sum_j K_{ij} \beta_j \mp \epsilon`, which is
    :math:`\partial D / \partial \beta_i` where beta moves away from 0 (epsilon with the sign of
    beta where it is not 0; for the squared loss less :math:`\beta_i / 2 c_i`),

    .. math::
      \max_{\beta_i \text{ may rise}} d_i^+ - \min_{\beta_i \text{ may fall}} d_i^-
      \text{ (free)}, \qquad
      \max_i |\text{projected } d_i^\pm| \text{ (penalized, none)}

    Args:
      beta: `[rows]`, float32 or float64, within its bounds.
      gram: K, of beta's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      targets: `[rows]`, of beta's dtype.
      C: above 0.
      epsilon: 0 or more.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      bias: "free", "penalized" or "none".
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar of beta's dtype, 0 or more, in the unit of the targets; 0 at the optimum.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> gram, targets = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([2.0, -2.0])
      >>> float(kkt_residual(jnp.array([0.5, -0.5]), gram, targets, C=1.0, epsilon=0.5))
      1.0

    Source: where the intercept is free, what libsvm compares with its tolerance (scikit-learn's
    `tol`); Chang and Lin, "LIBSVM: a library for support vector machines", 2011.
    """
    costs = _prepare(beta, gram, targets, C, epsilon, loss, bias, sample_weight)
    rates = targets - problem.products(gram, beta, bias)
    if SQUARED[loss]:
        rates -= problem.ratio(beta, 2 * costs)
    width = jnp.asarray(epsilon).astype(beta.dtype)
    up = rates - jnp.where(beta >= 0, width, -width)
    down = rates - jnp.where(beta > 0, width, -width)
    upper = _bound(costs, loss)
    return box.violation(up, down, beta, -upper, upper, pairs=bias == "free")


def infeasibility(
    beta: Float[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far beta is out of its bounds, or its sum from 0.

    .. math:: \max(0, \max_i |\beta_i| - c_i, |\textstyle\sum_i \beta_i|)

    Args:
      beta: `[rows]`, floating point.
      C: above 0.
      loss: "epsilon_insensitive", or "squared_epsilon_insensitive", which has no bounds.
      bias: "free"; else ("penalized", "none") the sum may be anything.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, 0 or more; 0 where beta is feasible.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> float(infeasibility(jnp.array([1.5, -1.5]), C=1.0))
      0.5

    Source: as `dual`.
    """
    upper = _bounds(beta, C, loss, bias, sample_weight)
    outside = box.excess(beta, -upper, upper)
    return jnp.maximum(outside, jnp.abs(beta.sum())) if bias == "free" else outside


def project(
    beta: Float[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "epsilon_insensitive",
    bias: str = "free",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, " rows"]:
    r"""The nearest feasible beta.

    .. math::
      \arg\min_a \tfrac12 |a - \beta|^2 \text{ with } |a_i| \le c_i, \; \textstyle\sum_i a_i = 0

    Args:
      beta: `[rows]`, floating point, anywhere.
      C: above 0.
      loss: "epsilon_insensitive", or "squared_epsilon_insensitive", which has no bounds.
      bias: "free"; else ("penalized", "none") there is no sum, and beta is clipped.
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      `[rows]` in beta's dtype: within the bounds, and with the sum but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> project(jnp.array([3.0, -0.5, 0.0]), C=1.0).tolist()
      [1.0, -0.75, -0.25]

    Source: `jaxml.svm.objectives.box.project`.
    """
    upper = _bounds(beta, C, loss, bias, sample_weight)
    if bias != "free":
        return jnp.clip(beta, -upper, upper)
    return box.project(beta, -upper, upper)


def best_intercept(
    outputs: Float[Array, " rows"],
    targets: Float[Array, " rows"],
    *,
    epsilon: Scalar = 0.1,
    loss: str = "epsilon_insensitive",
    sample_weight: Float[Array, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""The free intercept of least cost for outputs that lack one.

    .. math:: \arg\min_b \sum_i v_i \ell(f_i + b, y_i)

    Found by bisection of the derivative. Where a whole interval is best it is one of its ends.

    Args:
      outputs: `[rows]`, f, floating point.
      targets: `[rows]`, floating point.
      epsilon: 0 or more.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      sample_weight: `[rows]`, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least. It passes no gradients on: by the envelope theorem the cost at
      this intercept has the right ones without.

    Raises:
      TypeError: as `primal`.
      ValueError: as `primal`.

    Example:
      >>> outputs, targets = jnp.array([0.0, 0.0]), jnp.array([1.0, 3.0])
      >>> round(float(best_intercept(outputs, targets, loss="squared_epsilon_insensitive")), 5)
      2.0

    Source: the optimality of b in the primal.
    """
    outputs, targets = inputs.at_least_float32(*lax.stop_gradient((outputs, targets)))

    def slope(b: Array) -> Array:
        return jax.grad(
            lambda b: cost(
                outputs + b, targets, C=1.0, epsilon=epsilon, loss=loss,
                sample_weight=sample_weight,
            )
        )(b)  # fmt: skip

    errors = targets - outputs
    return box.bisect(slope, errors.min(), errors.max())


def _costs(rows: Array, C: Scalar, sample_weight: Array | None) -> Array:
    """`[rows]` in the dtype of the rows."""
    return problem.row_costs(None, rows.dtype, rows=len(rows), C=C, sample_weight=sample_weight)


def _bound(costs: Array, loss: str) -> Array:
    """The largest magnitude of each beta."""
    return problem.unbounded(costs) if SQUARED[loss] else costs


def _bounds(beta: Array, C: Scalar, loss: str, bias: str, sample_weight: Array | None) -> Array:
    """The largest magnitude of each beta, from arguments that are yet to be checked."""
    problem.check_array("beta", beta, ("rows",))
    problem.choose("loss", loss, SQUARED)
    problem.check_bias(bias)
    return _bound(_costs(beta, C, sample_weight), loss)


def _prepare(
    beta: Array,
    gram: Gram,
    targets: Array,
    C: Scalar,
    epsilon: Scalar,
    loss: str,
    bias: str,
    sample_weight: Array | None,
) -> Array:
    """The cost of each row, once all is checked."""
    problem.check_dual(beta, gram, name="beta")
    problem.check_array("targets", targets, beta.shape)
    problem.check_certain(beta=beta, targets=targets)
    problem.check_epsilon(epsilon)
    problem.choose("loss", loss, SQUARED)
    problem.check_bias(bias)
    return _costs(beta, C, sample_weight)
