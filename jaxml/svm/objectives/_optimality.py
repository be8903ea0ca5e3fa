"""Primal, dual, and the measures of optimality between them, for every `Problem`.

The package's docstring describes the arguments that the functions share.
"""

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

    The intercept counts as a weight where it is penalized; `penalty="l1"` sums magnitudes. Requires
    samples `x`.

    Example:
      >>> x, labels = jnp.array([[1.0], [3.0], [-1.0]]), jnp.array([1, 1, 0])
      >>> problem = Classification(labels, C=2.0, loss="hinge", x=x)
      >>> float(primal(problem, jnp.array([0.5]), 0.0))
      2.125
    """
    x = problem.linear_samples("primal")
    validation.check_array("weights", weights, (x.shape[1], *weights.shape[1:2]))
    weights, x = inputs.at_least_float32(weights, x)
    counted: list[Array] = [weights]
    if problem.bias == "penalized" and offsets:
        b = jnp.asarray(offsets[0]).astype(weights.dtype)
        counted.append(jnp.broadcast_to(b, weights.shape[1:]))
    norm, strength = (regularizers.l1, 1.0) if problem.penalty == "l1" else (regularizers.l2, 0.5)
    penalty = norm(counted, strength=strength, select=lambda *_: True)
    return cost(problem, x @ weights, *offsets) + penalty


def cost(problem: Problem, outputs: Outputs, *offsets: Offset) -> Value:
    r"""Computes the data term of the primal: C times the weighted sum of the losses.

    The outputs may come from anywhere, for example from a network. At the kink of a hinge the
    gradient is the mean of the slopes.

    Example:
      >>> problem = Classification(jnp.array([1, 1, 0]), C=2.0, loss="hinge")
      >>> float(cost(problem, jnp.array([0.5, 2.0, 0.5])))
      4.0
    """
    validation.check_array("outputs", outputs, problem.shape)
    (outputs,) = inputs.at_least_float32(outputs)
    return problem.cost(outputs, *offsets)


def dual(problem: Problem, alpha: Outputs) -> Value:
    """Computes the dual objective, a lower bound of the primal where `infeasibility` is 0.

    Requires `x` or `gram`, unless the penalty is "l1".
    """
    _check_variables(problem, alpha)
    if problem.penalty == "l1":
        return problem.gain(alpha)
    norm = jnp.vdot(problem.coefficients(alpha), problem.penalized_products(alpha))
    return problem.gain(alpha) - norm / 2


def kernel_primal(problem: Problem, alpha: Outputs, *offsets: Offset) -> Value:
    r"""Computes the primal at the weights :math:`w = \sum_i \beta_i \phi(x_i)` of a dual point.

    Requires `x` or `gram`, and the penalty "l2"; alpha need not be feasible. The offsets are by
    default the best ones, without gradients (by the envelope theorem those of the primal are
    right), or the sum of beta where the intercept is penalized.

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

    No gradients pass through them. Not for `Multiclass`.

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

    Requires samples `x`, and alpha to be feasible. Non-negative up to rounding.

    Reference: Boyd and Vandenberghe, "Convex optimization", 2004, chapter 5.
    """
    x = problem.linear_samples("duality_gap")
    validation.check_precision(weights=weights, alpha=alpha, x=x)
    return primal(problem, weights, *offsets) - dual(problem, alpha)


def kernel_duality_gap(problem: Problem, alpha: Outputs, *offsets: Offset) -> Value:
    """Computes the duality gap at the weights of a feasible dual point, see `kernel_primal`."""
    return kernel_primal(problem, alpha, *offsets) - dual(problem, alpha)


def kkt_residual(problem: Problem, alpha: Outputs) -> Value:
    r"""Computes the violation of the Karush-Kuhn-Tucker conditions at a feasible dual point.

    With :math:`d_i = \partial D / \partial \alpha_i`, for each equality constraint of signs s

    .. math::
      \max_{s_i \alpha_i \text{ may rise}} s_i d_i - \min_{s_i \alpha_i \text{ may fall}} s_i d_i

    which libsvm compares with its tolerance; without equality constraints (an intercept that is
    penalized or absent) the largest projected gradient. liblinear compares the range of the latter
    with its tolerance, of which this is between one half and one.

    It is in the unit of the outputs, and 0 at the optimum. Requires `x` or `gram`. Not for
    `NuRegression` (use `Regression` with its optimal tube), nor `Multiclass` with a free intercept.

    References: Chang and Lin, "LIBSVM: a library for support vector machines", 2011; Keerthi et
    al., "A sequential dual method for large scale multi-class linear SVMs", 2008.
    """
    _check_l2(problem, "kkt_residual")
    problem.check_separable("kkt_residual")
    _check_variables(problem, alpha)
    slopes = problem.coefficients(problem.penalized_products(alpha))
    rates = jax.grad(problem.gain)(alpha) - slopes
    # Where a dual variable is 0, the edges of the tube make the slope of the dual fall by epsilon.
    kink = jnp.where(alpha == 0, jnp.asarray(problem.epsilon).astype(alpha.dtype), 0.0)

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
    """Computes the largest violation of the dual's constraints; 0 where alpha is feasible.

    Requires samples `x` for the penalty "l1".

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

    Required sums hold up to rounding. Requires samples `x` for the penalty "l1". Not for
    `NuRegression`, nor `Multiclass` with a free intercept.

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
