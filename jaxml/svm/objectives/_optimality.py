"""Primal, dual, and the measures of optimality between them, for every `Problem`."""

import jax
import jax.numpy as jnp

from jaxml import regularizers
from jaxml.losses import _inputs as inputs
from jaxml.svm import _validation as validation
from jaxml.svm.objectives import box
from jaxml.svm.objectives._classification import Classification, shrink
from jaxml.svm.objectives._problem import Equalities, Problem, Scalar
from jaxml.types import Array, Float

Offset = Scalar | Float[Array, " classes"]
Weights = Float[Array, "features *classes"]
Outputs = Float[Array, "samples *classes"]
Value = Float[Array, ""]


def primal(problem: Problem, weights: Weights, *offsets: Offset) -> Value:
    r"""Computes the primal objective of a linear model.

    .. math:: P(w, b) = \tfrac12 |w|^2 + \text{cost}(x w, b)

    The intercept counts as a weight where it is penalized; `penalty="l1"` sums magnitudes.

    Args:
      problem: with samples `x`.
      weights: `[features]`, or `[features, classes]`.
      *offsets: as of `cost`.

    Returns:
      A scalar, in float32 at least.

    Example:
      >>> x, labels = jnp.array([[1.0], [3.0], [-1.0]]), jnp.array([1, 1, 0])
      >>> problem = Classification(labels, C=2.0, loss="hinge", x=x)
      >>> float(primal(problem, jnp.array([0.5]), 0.0))
      2.125
    """
    x = problem.linear_samples("primal")
    validation.check_array("weights", weights, (x.shape[1], *weights.shape[1:2]))
    weights, x = inputs.at_least_float32(weights, x)
    outputs = x @ weights
    value = cost(problem, outputs, *offsets)
    counted: list[Array] = [weights]
    if problem.bias == "penalized" and offsets:
        b = jnp.asarray(offsets[0]).astype(weights.dtype)
        counted.append(jnp.broadcast_to(b, weights.shape[1:]))
    if problem.penalty == "l1":
        return value + regularizers.l1(counted, strength=1.0, select=_every)
    return value + regularizers.l2(counted, strength=0.5, select=_every)


def cost(problem: Problem, outputs: Outputs, *offsets: Offset) -> Value:
    r"""Computes the data term of the primal: C times the weighted sum of the losses.

    The outputs may come from anywhere, for example from a network.

    Args:
      problem: needs neither `x` nor `gram`.
      outputs: `[samples]`, or `[samples, classes]`: :math:`\langle w, \phi(x_i) \rangle`.
      *offsets: the intercept (default 0) of `Classification`, `Regression` and `Multiclass`
        (there `[classes]`); rho of `OneClass`; the intercept and rho of `NuClassification`; the
        intercept and epsilon of `NuRegression`.

    Returns:
      A scalar, in float32 at least. At the kink of a hinge the gradient is the mean of the slopes.

    Example:
      >>> problem = Classification(jnp.array([1, 1, 0]), C=2.0, loss="hinge")
      >>> float(cost(problem, jnp.array([0.5, 2.0, 0.5])))
      4.0
    """
    validation.check_array("outputs", outputs, problem.shape)
    (outputs,) = inputs.at_least_float32(outputs)
    return problem.cost(outputs, *offsets)


def dual(problem: Problem, alpha: Outputs) -> Value:
    """Computes the dual objective, a lower bound of the primal where alpha is feasible.

    Args:
      problem: with `x` or `gram`, unless the penalty is "l1".
      alpha: `[samples]`, or `[samples, classes]`, in float32 or float64 like the data; feasible
        where `infeasibility` is 0.

    Returns:
      A scalar of alpha's dtype.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
      >>> problem = Classification(labels, C=1.0, loss="hinge", x=x)
      >>> float(dual(problem, jnp.array([0.5, 0.5])))
      0.5
    """
    _check_variables(problem, alpha)
    if problem.penalty == "l1":
        return problem.gain(alpha)
    norm = jnp.vdot(problem.coefficients(alpha), problem.penalized_products(alpha))
    return problem.gain(alpha) - norm / 2


def kernel_primal(problem: Problem, alpha: Outputs, *offsets: Offset) -> Value:
    r"""Computes the primal at the weights :math:`w = \sum_i \beta_i \phi(x_i)` of a dual point.

    Args:
      problem: with `x` or `gram`, and the penalty "l2".
      alpha: as of `dual`; not necessarily feasible.
      *offsets: as of `cost`. By default the best ones, without gradients (by the envelope theorem
        those of the primal are right), or the sum of beta where the intercept is penalized.

    Returns:
      A scalar of alpha's dtype.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
      >>> problem = Classification(labels, C=1.0, loss="hinge", x=x)
      >>> float(kernel_primal(problem, jnp.array([0.5, 0.5])))
      0.5

    Reference: Chapelle, "Training a support vector machine in the primal", 2007.
    """
    _check_l2(problem, "kernel_primal")
    _check_variables(problem, alpha)
    beta, outputs = problem.coefficients(alpha), problem.products(alpha)
    offsets = offsets or problem.implied_offsets(beta, outputs)
    norm = jnp.vdot(beta, outputs)
    if problem.bias == "penalized":
        norm += jnp.square(jnp.asarray(offsets[0]).astype(alpha.dtype)).sum()
    return norm / 2 + problem.cost(outputs, *offsets)


def best_offsets(problem: Problem, outputs: Outputs) -> tuple[Value, ...]:
    """Returns the offsets of least cost, ignoring their penalty; found by bisection.

    Args:
      problem: needs neither `x` nor `gram`; not `Multiclass`.
      outputs: `[samples]`, without offsets.

    Returns:
      Scalars in float32 at least: the `*offsets` of `cost`. No gradients pass through them.

    Example:
      >>> problem = Classification(jnp.array([1, 0]), C=1.0)
      >>> (intercept,) = best_offsets(problem, jnp.array([3.0, 1.0]))
      >>> round(float(intercept), 5)
      -2.0
    """
    _check_variables(problem, outputs, "outputs")
    (outputs,) = inputs.at_least_float32(outputs)
    return problem.best_offsets(outputs)


def dual_point(problem: Problem, outputs: Outputs, *offsets: Offset) -> Outputs:
    r"""Returns the dual variables that belong to the outputs of a primal point.

    .. math:: \beta_i = -\partial \, \text{cost} / \partial f_i

    For a squared hinge the optimal outputs give the optimal variables. They are within their
    bounds; `project` establishes the equality constraints.

    Args:
      problem: needs neither `x` nor `gram`.
      outputs: as of `cost`.
      *offsets: as of `cost`.

    Returns:
      The shape of `outputs`, in float32 at least.

    Example:
      >>> problem = Classification(jnp.array([1, 0]), C=1.0)
      >>> dual_point(problem, jnp.array([0.5, 2.0])).tolist()
      [1.0, 6.0]
    """
    _check_variables(problem, outputs, "outputs")
    (outputs,) = inputs.at_least_float32(outputs)
    return problem.coefficients(-jax.grad(problem.cost)(outputs, *offsets))


def duality_gap(problem: Problem, alpha: Outputs, weights: Weights, *offsets: Offset) -> Value:
    r"""Computes the primal of a linear model less the dual: an upper bound of its suboptimality.

    .. math:: P(w, b) - D(\alpha) \ge P(w, b) - \min P \ge 0

    Args:
      problem: with samples `x`.
      alpha: feasible, as of `dual`.
      weights: as of `primal`, of alpha's dtype.
      *offsets: as of `cost`.

    Returns:
      A scalar of alpha's dtype, non-negative up to rounding.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
      >>> problem = Classification(labels, C=1.0, loss="hinge", x=x)
      >>> float(duality_gap(problem, jnp.array([0.5, 0.5]), jnp.array([0.5]), 0.0))
      0.625

    Reference: Boyd and Vandenberghe, "Convex optimization", 2004, chapter 5.
    """
    x = problem.linear_samples("duality_gap")
    validation.check_precision(weights=weights, alpha=alpha, x=x)
    return primal(problem, weights, *offsets) - dual(problem, alpha)


def kernel_duality_gap(problem: Problem, alpha: Outputs, *offsets: Offset) -> Value:
    """Computes the duality gap at the weights of a dual point, see `kernel_primal`.

    Args:
      problem: with `x` or `gram`, and the penalty "l2".
      alpha: feasible, as of `dual`.
      *offsets: as of `kernel_primal`.

    Returns:
      A scalar of alpha's dtype, non-negative up to rounding.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
      >>> problem = Classification(labels, C=1.0, loss="hinge", x=x)
      >>> float(kernel_duality_gap(problem, jnp.array([0.25, 0.25])))
      0.75
    """
    return kernel_primal(problem, alpha, *offsets) - dual(problem, alpha)


def kkt_residual(problem: Problem, alpha: Outputs) -> Value:
    r"""Computes the violation of the Karush-Kuhn-Tucker conditions at a feasible dual point.

    With :math:`d_i = \partial D / \partial \alpha_i`, for each equality constraint of signs s

    .. math::
      \max_{s_i \alpha_i \text{ may rise}} s_i d_i - \min_{s_i \alpha_i \text{ may fall}} s_i d_i

    which libsvm compares with its tolerance; without equality constraints (an intercept that is
    penalized or absent) the largest projected gradient. liblinear compares the range of the latter
    with its tolerance, of which this is between one half and one.

    Args:
      problem: with `x` or `gram`; not `NuRegression` (use `Regression` with its optimal tube), nor
        `Multiclass` with a free intercept.
      alpha: within its bounds, as of `dual`.

    Returns:
      A scalar of alpha's dtype in the unit of the outputs, non-negative; 0 at the optimum.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
      >>> problem = Classification(labels, C=1.0, loss="hinge", x=x)
      >>> float(kkt_residual(problem, jnp.array([0.25, 0.25])))
      1.0

    References: Chang and Lin, "LIBSVM: a library for support vector machines", 2011; Keerthi et
    al., "A sequential dual method for large scale multi-class linear SVMs", 2008.
    """
    _check_l2(problem, "kkt_residual")
    problem.check_separable("kkt_residual")
    _check_variables(problem, alpha)
    slopes = problem.coefficients(problem.penalized_products(alpha))
    rates = jax.grad(problem.gain)(alpha) - slopes
    kink = jnp.where(alpha == 0, jnp.asarray(problem.kink).astype(alpha.dtype), 0.0)

    def violation(
        up: Array, down: Array, alpha: Array, bounds: tuple[Array, Array], equalities: Equalities
    ) -> Array:
        if equalities is None:
            return box.violation(up, down, alpha, *bounds, pairs=False)

        def of_equality(signs: Array) -> Array:
            rise, fall = jnp.where(signs > 0, up, -down), jnp.where(signs > 0, down, -up)
            return box.violation(rise, fall, signs * alpha, *_signed(signs, *bounds), pairs=True)

        return jax.vmap(of_equality)(equalities[0]).max()

    constraints = problem.bounds(alpha), problem.equalities(alpha)
    violation = jax.vmap(violation) if alpha.ndim > 1 else violation
    return violation(rates - kink, rates + kink, alpha, *constraints).max(initial=0.0)


def infeasibility(problem: Problem, alpha: Outputs) -> Value:
    """Computes the largest violation of the dual's constraints.

    Args:
      problem: with samples `x` where the penalty is "l1", else it needs neither `x` nor `gram`.
      alpha: `[samples]`, or `[samples, classes]`, floating point.

    Returns:
      A scalar, non-negative; 0 where alpha is feasible.

    Example:
      >>> problem = Classification(jnp.array([1, 0]), C=1.25, loss="hinge")
      >>> float(infeasibility(problem, jnp.array([1.5, 0.5])))
      1.0
    """
    _check_variables(problem, alpha)
    lower, upper = problem.bounds(alpha)
    worst = box.excess(alpha.ravel(), lower.ravel(), upper.ravel())
    if (equalities := problem.equalities(alpha)) is not None:
        signs, totals = equalities
        sums = (signs * jnp.expand_dims(alpha, -2)).sum(axis=-1)
        worst = jnp.maximum(worst, jnp.abs(sums - totals).max(initial=0.0))
    return jnp.maximum(worst, problem.excess(alpha))


def project(problem: Problem, alpha: Outputs) -> Outputs:
    """Returns the nearest feasible dual point; for the penalty "l1" that of "l2", scaled down.

    Args:
      problem: with samples `x` where the penalty is "l1", else it needs neither `x` nor `gram`;
        not `NuRegression`, nor `Multiclass` with a free intercept.
      alpha: `[samples]`, or `[samples, classes]`, floating point.

    Returns:
      The shape and dtype of alpha: within the bounds, with the required sums up to rounding.

    Example:
      >>> problem = Classification(jnp.array([1, 0, 0]), C=1.0, loss="hinge")
      >>> project(problem, jnp.array([3.0, 0.5, 0.0])).tolist()
      [1.0, 0.75, 0.25]
    """
    problem.check_separable("project")
    _check_variables(problem, alpha)
    lower, upper = problem.bounds(alpha)
    equalities = problem.equalities(alpha)

    def onto(alpha: Array, lower: Array, upper: Array, signs: Array, totals: Array) -> Array:
        def of_equality(signs: Array, total: Array) -> Array:
            bounds = _signed(signs, lower, upper)
            return signs * box.project(signs * alpha, *bounds, total)

        return jax.vmap(of_equality)(signs, totals).sum(axis=0)

    if equalities is None:
        nearest = jnp.clip(alpha, lower, upper)
    else:
        onto = jax.vmap(onto) if alpha.ndim > 1 else onto
        nearest = onto(alpha, lower, upper, *equalities)
    if isinstance(problem, Classification) and problem.penalty == "l1":
        return shrink(problem, nearest)
    return nearest


def _check_variables(problem: Problem, variables: Array, name: str = "alpha") -> None:
    problem.check_dual()
    validation.check_array(name, variables, problem.shape)


def _check_l2(problem: Problem, function: str) -> None:
    if problem.penalty != "l2":
        raise ValueError(f"`penalty` must be 'l2' for {function}, got {problem.penalty!r}")


def _signed(signs: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Returns the bounds of `signs * alpha`: 0 where the sign is 0."""
    low = jnp.where(signs > 0, lower, jnp.where(signs < 0, -upper, 0.0))
    return low, jnp.where(signs > 0, upper, jnp.where(signs < 0, -lower, 0.0))


def _every(path: object, leaf: object) -> bool:
    """Selects every weight."""
    del path, leaf
    return True
