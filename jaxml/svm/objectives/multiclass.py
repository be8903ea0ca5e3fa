r"""One problem of several classes: the machines of Crammer and Singer, Weston and Watkins.

They have outputs :math:`z_{im} = \langle w_m, \phi(x_i) \rangle + b_m`, and differ in how the other
classes count:

.. math::
  P(W, b) = \tfrac12 \sum_m |w_m|^2 + \sum_i c_i \ell(z_i, y_i), \qquad
  D(\alpha) = -\tfrac12 \sum_m \sum_{ij} \alpha_{im} K_{ij} \alpha_{jm}
  - \sum_i \sum_{m \ne y_i} \alpha_{im} \; - \; q(\alpha)

with :math:`c_i = C v_i` and :math:`D(\alpha) \le P(W, b)` for every alpha whose rows sum to 0 (and
whose columns do, where the intercept is free), and

- "crammer_singer": :math:`\alpha_{im} \le c_i` for the row's own class :math:`m = y_i` and
  :math:`\alpha_{im} \le 0` for every other. For the squared loss there is no :math:`c_i`, but
  :math:`q = \sum_i \alpha_{i y_i}^2 / 4 c_i`, else 0;
- "weston_watkins": :math:`-c_i \le \alpha_{im} \le 0` for every other class. For the squared loss
  there is no :math:`-c_i`, but :math:`q = \sum_i \sum_{m \ne y_i} \alpha_{im}^2 / 4 c_i`, else 0.

At the optimum :math:`w_m = \sum_i \alpha_{im} \phi(x_i)`. `bias` and Gram matrices are as in
`jaxml.svm.objectives.binary`.
"""

import jax
import jax.numpy as jnp

from jaxml import losses, regularizers
from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.svm.objectives import box, problem
from jaxml.svm.objectives.gram import Gram, LinearGram
from jaxml.svm.objectives.problem import Scalar
from jaxml.types import Array, Float, Integer

LOSSES = {
    "crammer_singer": losses.crammer_singer_hinge,
    "weston_watkins": losses.weston_watkins_hinge,
}


def primal(
    weights: Float[Array, "features classes"],
    intercept: Float[Array, " classes"] | float,
    x: Float[Array, "rows features"],
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    bias: str = "penalized",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    r"""What a linear machine of several classes minimises.

    .. math::
      P(W, b) = \tfrac12 \sum_m |w_m|^2 + C \sum_i v_i \ell(x_i W + b, y_i)

    Args:
      weights: `[features, classes]`, W: the transpose of scikit-learn's `coef_`.
      intercept: `[classes]`, b; 0 where there is none.
      x: `[rows, features]`.
      labels: `[rows]`, integers in [0, classes); others are NaN where labels are traced.
      C: above 0, the price of one row.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "free" or "none": b is not penalized; "penalized": half of its square counts.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least.

    Raises:
      TypeError: labels that are not integers, arrays that are not floating point.
      ValueError: shapes that do not fit; where values are known, C that is not above 0, NaN,
        labels out of range, negative weights; an unknown name.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([0, 1])
      >>> float(primal(jnp.array([[0.5, 0.0]]), 0.0, x, labels, C=1.0))
      1.125

    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based
    vector machines", 2001, whose value is liblinear's with `bias="penalized"` or "none"; Weston and
    Watkins, "Support vector machines for multi-class pattern recognition", 1999, with margins of 1
    instead of 2.
    """
    problem.check_array("x", x, ("rows", "features"))
    problem.check_array("weights", weights, (x.shape[1], "classes"))
    problem.check_bias(bias)
    weights, x = inputs.at_least_float32(weights, x)
    classes = weights.shape[1]
    b = jnp.broadcast_to(jnp.asarray(intercept).astype(x.dtype), (classes,))
    penalty = regularizers.l2(weights, strength=0.5)
    if bias == "penalized":
        penalty += regularizers.l2(b, strength=0.5)
    logits = x @ weights
    return penalty + cost(
        logits + jnp.broadcast_to(b, logits.shape), labels, C=C, loss=loss, squared=squared,
        sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip


def cost(
    logits: Float[Array, "rows classes"],
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    r"""The part of the primal that looks at the data: C times the weighted sum of the losses.

    .. math:: C \sum_i v_i \ell(z_i, y_i)

    Args:
      logits: `[rows, classes]`, z.
      labels: `[rows]`, integers in [0, classes).
      C: above 0.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      A scalar, in float32 at least.

    Raises:
      TypeError: as `primal`.
      ValueError: as `primal`.

    Example:
      >>> float(cost(jnp.array([[2.0, 1.5], [0.0, 0.0]]), jnp.array([0, 1]), C=2.0))
      3.0

    Source: as `primal`.
    """
    problem.check_array("logits", logits, ("rows", "classes"))
    loss_of = problem.choose("loss", loss, LOSSES)
    values = loss_of(logits, labels, squared=squared)
    return jnp.sum(values * _costs(values, labels, logits.shape[1], C, sample_weight, class_weight))


def dual(
    alpha: Float[Array, "rows classes"],
    gram: Gram,
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    bias: str = "penalized",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    r"""The lower bound of the primal that a feasible alpha gives.

    .. math::
      D(\alpha) = -\tfrac12 \sum_m \sum_{ij} \alpha_{im} K_{ij} \alpha_{jm}
      - \sum_i \sum_{m \ne y_i} \alpha_{im} - q(\alpha)

    with q, which is 0 unless the loss is squared, from the head of this module, and :math:`K + 1`
    for K where the intercepts are penalized. It bounds what `infeasibility` finds 0 for.

    Args:
      alpha: `[rows, classes]`, float32 or float64.
      gram: K, of alpha's dtype: an array `[rows, rows]`, or `LinearGram(x)`, which never makes it.
      labels: `[rows]`, integers in [0, classes).
      C: above 0; the value depends on it only where the loss is squared.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "free", "penalized" or "none".
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype.

    Raises:
      TypeError: alpha and the Gram matrix are not of one such dtype; labels that are not integers.
      ValueError: shapes that do not fit, a Gram matrix that is not square among them; else as
        `primal`.

    Example:
      >>> gram, labels = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([0, 1])
      >>> alpha = jnp.array([[0.25, -0.25], [-0.25, 0.25]])
      >>> float(dual(alpha, gram, labels, C=1.0))
      0.25

    Source: as `primal`; minus what liblinear minimises with Crammer and Singer's loss.
    """
    costs = _prepare(alpha, gram, labels, C, loss, bias, sample_weight, class_weight)
    quadratic = jnp.vdot(alpha, problem.products(gram, alpha, bias))
    # As the rows sum to 0, the own class could be counted instead; this is for any alpha.
    value = -quadratic / 2 - jnp.where(_own(alpha, labels), 0.0, alpha).sum()
    if squared:
        value -= jnp.vdot(alpha, _curvature(alpha, labels, costs, loss)) / 2
    return value


def duality_gap(
    weights: Float[Array, "features classes"],
    intercept: Float[Array, " classes"] | float,
    alpha: Float[Array, "rows classes"],
    x: Float[Array, "rows features"],
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    bias: str = "penalized",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    r"""How far a linear machine can be from the optimum, at most.

    .. math:: P(W, b) - D(\alpha) \ge P(W, b) - \min P

    Args:
      weights: `[features, classes]`, float32 or float64.
      intercept: `[classes]`; 0 where there is none.
      alpha: `[rows, classes]`, of the same dtype, feasible.
      x: `[rows, features]`, of the same dtype.
      labels: `[rows]`, integers in [0, classes).
      C: above 0.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "free", "penalized" or "none".
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      A scalar of their dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([0, 1])
      >>> weights, alpha = jnp.array([[0.5, -0.5]]), jnp.array([[0.25, -0.25], [-0.25, 0.25]])
      >>> float(duality_gap(weights, 0.0, alpha, x, labels, C=1.0))
      0.0

    Source: Boyd and Vandenberghe, "Convex optimization", 2004, chapter 5.
    """
    problem.check_certain(weights=weights, alpha=alpha, x=x)
    upper = primal(
        weights, intercept, x, labels, C=C, loss=loss, squared=squared, bias=bias,
        sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip
    lower = dual(
        alpha, LinearGram(x), labels, C=C, loss=loss, squared=squared, bias=bias,
        sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip
    return upper - lower


def kernel_duality_gap(
    alpha: Float[Array, "rows classes"],
    gram: Gram,
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    bias: str = "penalized",
    intercept: Float[Array, " classes"] | None = None,
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    r"""How far the machine that alpha stands for can be from the optimum, at most.

    .. math:: P(W(\alpha), b) - D(\alpha), \qquad w_m = \sum_i \alpha_{im} \phi(x_i)

    Args:
      alpha: `[rows, classes]`, float32 or float64, feasible.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      labels: `[rows]`, integers in [0, classes).
      C: above 0.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "penalized" or "none", or "free", which needs an intercept.
      intercept: `[classes]`, b. None is what alpha implies: the sums of its columns where it is
        penalized, else 0.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype: 0 or more but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`; a free intercept that is not given.

    Example:
      >>> gram, labels = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([0, 1])
      >>> alpha = jnp.array([[0.25, -0.25], [-0.25, 0.25]])
      >>> float(kernel_duality_gap(alpha, gram, labels, C=1.0))
      0.0

    Source: as `duality_gap`.
    """
    if bias == "free" and intercept is None:
        raise ValueError("intercept: [classes] where it is free, not None")
    lower = dual(
        alpha, gram, labels, C=C, loss=loss, squared=squared, bias=bias,
        sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip
    logits = gram @ alpha
    b = problem.implied_intercept(alpha, bias)[0] if intercept is None else intercept
    penalty = jnp.vdot(alpha, logits) / 2
    if bias == "penalized":
        penalty += regularizers.l2(b, strength=0.5)
    summed = cost(
        logits + jnp.broadcast_to(b, logits.shape), labels, C=C, loss=loss, squared=squared,
        sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip
    return penalty + summed - lower


def kkt_residual(
    alpha: Float[Array, "rows classes"],
    gram: Gram,
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    bias: str = "penalized",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    r"""How far a feasible alpha is from meeting the conditions of Karush, Kuhn and Tucker.

    With :math:`d_{im} = \partial D / \partial \alpha_{im} = -z_{im} - [m \ne y_i]`, less the
    derivative of q where the loss is squared,

    .. math::
      \max_i \Bigl( \max_{\alpha_{im} \text{ may rise}} d_{im}
      - \min_{\alpha_{im} \text{ may fall}} d_{im} \Bigr)

    Args:
      alpha: `[rows, classes]`, float32 or float64, within its bounds.
      gram: K, of alpha's dtype: an array `[rows, rows]` or `LinearGram(x)`.
      labels: `[rows]`, integers in [0, classes).
      C: above 0.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "penalized" or "none": a free intercept ties the rows together.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      A scalar of alpha's dtype, 0 or more, in the unit of the outputs; 0 at the optimum.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`; a free intercept.

    Example:
      >>> gram, labels = LinearGram(jnp.array([[1.0], [-1.0]])), jnp.array([0, 1])
      >>> float(kkt_residual(jnp.zeros((2, 2)), gram, labels, C=1.0))
      1.0

    Source: what liblinear compares with its tolerance for Crammer and Singer's loss; Keerthi et
    al., "A sequential dual method for large scale multi-class linear SVMs", 2008.
    """
    _check_apart(bias)
    costs = _prepare(alpha, gram, labels, C, loss, bias, sample_weight, class_weight)
    rates = -problem.products(gram, alpha, bias) - jnp.where(_own(alpha, labels), 0.0, 1.0)
    if squared:
        rates -= _curvature(alpha, labels, costs, loss)
    lower, upper = _bounds(alpha, labels, costs, loss, squared)

    def of_row(rates: Array, alpha: Array, lower: Array, upper: Array) -> Array:
        return box.violation(rates, rates, alpha, lower, upper, pairs=True)

    return jax.vmap(of_row)(rates, alpha, lower, upper).max(initial=0.0)


def infeasibility(
    alpha: Float[Array, "rows classes"],
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    bias: str = "penalized",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    r"""How far alpha is out of its bounds, or the sum of a row (or column) from 0.

    .. math::
      \max(0, \max_{im} l_{im} - \alpha_{im}, \max_{im} \alpha_{im} - u_{im},
      \max_i |\textstyle\sum_m \alpha_{im}|, \max_m |\sum_i \alpha_{im}|)

    with the bounds l and u from the head of this module.

    Args:
      alpha: `[rows, classes]`, floating point.
      labels: `[rows]`, integers in [0, classes).
      C: above 0.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "free"; else ("penalized", "none") the columns may sum to anything.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      A scalar, 0 or more; 0 where alpha is feasible.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`.

    Example:
      >>> alpha, labels = jnp.array([[1.5, -1.5], [-1.5, 1.5]]), jnp.array([0, 1])
      >>> float(infeasibility(alpha, labels, C=1.0))
      0.5

    Source: as `primal`.
    """
    bounds = _bounds_of(alpha, labels, C, loss, squared, bias, sample_weight, class_weight)
    worst = jnp.maximum(
        box.excess(alpha.ravel(), *(bound.ravel() for bound in bounds)),
        jnp.abs(alpha.sum(axis=1)).max(initial=0.0),
    )
    return jnp.maximum(worst, jnp.abs(alpha.sum(axis=0)).max()) if bias == "free" else worst


def project(
    alpha: Float[Array, "rows classes"],
    labels: Integer[Array, " rows"],
    *,
    C: Scalar,
    loss: str = "crammer_singer",
    squared: bool = False,
    bias: str = "penalized",
    sample_weight: Float[Array, " rows"] | None = None,
    class_weight: Float[Array, " classes"] | None = None,
) -> Float[Array, "rows classes"]:
    r"""The nearest feasible alpha, row by row.

    .. math::
      \arg\min_a \tfrac12 |a - \alpha|^2 \text{ with } l_{im} \le a_{im} \le u_{im}, \;
      \textstyle\sum_m a_{im} = 0

    Args:
      alpha: `[rows, classes]`, floating point, anywhere.
      labels: `[rows]`, integers in [0, classes).
      C: above 0.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "penalized" or "none": a free intercept ties the rows together.
      sample_weight: `[rows]`, 0 or more; None is 1.
      class_weight: `[classes]`, 0 or more; None is 1.

    Returns:
      `[rows, classes]` in alpha's dtype: within the bounds, and with the sums but for rounding.

    Raises:
      TypeError: as `dual`.
      ValueError: as `dual`; a free intercept.

    Example:
      >>> project(jnp.array([[3.0, -1.0, 1.0]]), jnp.array([0]), C=1.0).round(3).tolist()
      [[1.0, -1.0, 0.0]]

    Source: `jaxml.svm.objectives.box.project`.
    """
    _check_apart(bias)
    bounds = _bounds_of(alpha, labels, C, loss, squared, bias, sample_weight, class_weight)
    return jax.vmap(box.project)(alpha, *bounds)


def _bounds(
    alpha: Array, labels: Array, costs: Array, loss: str, squared: bool
) -> tuple[Array, Array]:
    """Lower and upper bounds `[rows, classes]`."""
    reach = problem.unbounded(costs) if squared else costs
    reach = jnp.broadcast_to(reach[:, None], alpha.shape)
    own = _own(alpha, labels)
    if loss == "weston_watkins":
        return jnp.where(own, 0.0, -reach), jnp.where(own, jnp.inf, 0.0).astype(alpha.dtype)
    # An own class without a lower bound is bounded by the row: the others are at most 0.
    return jnp.full_like(alpha, -jnp.inf), jnp.where(own, reach, 0.0)


def _bounds_of(
    alpha: Array,
    labels: Array,
    C: Scalar,
    loss: str,
    squared: bool,
    bias: str,
    sample_weight: Array | None,
    class_weight: Array | None,
) -> tuple[Array, Array]:
    """The bounds, from arguments that are yet to be checked."""
    problem.check_array("alpha", alpha, ("rows", "classes"))
    costs = _checked_costs(alpha, labels, C, loss, bias, sample_weight, class_weight)
    return _bounds(alpha, labels, costs, loss, squared)


def _curvature(alpha: Array, labels: Array, costs: Array, loss: str) -> Array:
    """The derivative of q, which is linear: q is half of its product with alpha."""
    counted = _own(alpha, labels)
    if loss == "weston_watkins":
        counted = ~counted
    spread = jnp.broadcast_to(costs[:, None], alpha.shape)
    return jnp.where(counted, problem.ratio(alpha, 2 * spread), 0.0)


def _prepare(
    alpha: Array,
    gram: Gram,
    labels: Array,
    C: Scalar,
    loss: str,
    bias: str,
    sample_weight: Array | None,
    class_weight: Array | None,
) -> Array:
    """The cost of each row, once all is checked."""
    problem.check_dual(alpha, gram, columns=("classes",))
    return _checked_costs(alpha, labels, C, loss, bias, sample_weight, class_weight)


def _checked_costs(
    alpha: Array,
    labels: Array,
    C: Scalar,
    loss: str,
    bias: str,
    sample_weight: Array | None,
    class_weight: Array | None,
) -> Array:
    labelling.check_classes(alpha, labels, None, soft=False)
    problem.choose("loss", loss, LOSSES)
    problem.check_bias(bias)
    return _costs(alpha, labels, alpha.shape[1], C, sample_weight, class_weight)


def _costs(
    rows: Array,
    labels: Array,
    classes: int,
    C: Scalar,
    sample_weight: Array | None,
    class_weight: Array | None,
) -> Array:
    """`[rows]` in the dtype of the rows."""
    return problem.row_costs(
        labels, rows.dtype, rows=len(rows), C=C,
        sample_weight=sample_weight, class_weight=class_weight, classes=classes,
    )  # fmt: skip


def _own(alpha: Array, labels: Array) -> Array:
    """Where a column is that of the row's label."""
    return labelling.is_label(labels, alpha.shape[1])


def _check_apart(bias: str) -> None:
    """Where rows are taken one by one the intercept must not tie them together."""
    if bias == "free":
        raise ValueError("bias: 'penalized' or 'none', not 'free', which ties the rows together")
