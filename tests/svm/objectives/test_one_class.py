"""The one-class and nu forms against NumPy and scikit-learn's optima."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.svm
from hypothesis import given
from hypothesis import strategies as st

from jaxml.svm import objectives
from jaxml.svm.objectives import NuClassification, NuRegression, OneClass, box
from tests import properties, references
from tests.svm import oracles
from tests.svm.objectives import definitions
from tests.svm.objectives.definitions import kernel

NU = "nu sample_weight"

one_class = functools.partial(oracles.posed, OneClass)
nu_svc = functools.partial(oracles.posed, NuClassification)
nu_svr = functools.partial(oracles.posed, NuRegression)


def problem(rows=7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    labels = (x[:, 0] + rng.normal(scale=0.7, size=rows) > 0).astype(np.int32)
    labels[:4] = 0, 1, 0, 1
    return x, labels, rng.uniform(0.2, 1.5, size=rows), rng


@pytest.mark.slow
def test_the_primals_are_the_textbooks():
    x, labels, weight, rng = problem()
    rest = np.array(0.4), weight
    properties.check(
        one_class(objectives.primal, f"weights rho x {NU}"),
        rng.normal(size=3), np.array(0.3), x, *rest,
        reference=oracles.one_class_primal, by="NumPy float64", bfloat16=4.0,
    )  # fmt: skip
    properties.check(
        nu_svc(objectives.primal, f"weights intercept rho x labels {NU}"),
        rng.normal(size=3), np.array(0.1), np.array(0.3), x, labels, *rest,
        reference=oracles.nu_primal, by="NumPy float64", bfloat16=4.0,
    )  # fmt: skip
    properties.check(
        nu_svr(objectives.primal, f"weights intercept epsilon x targets C {NU}"),
        rng.normal(size=3), np.array(0.1), np.array(0.3), x, rng.normal(size=len(x)),
        np.array(0.7), *rest,
        reference=nu_svr_primal, by="NumPy float64", bfloat16=4.0,
    )  # fmt: skip


def nu_svr_primal(w, b, epsilon, x, targets, C, nu, weight):
    """Row by row."""
    value = (w * w).sum() / 2 + C * nu * weight.sum() * epsilon
    for row, target, v in zip(x, targets, weight, strict=True):
        value += C * v * max(0.0, abs((w * row).sum() + b - target) - epsilon)
    return value


@pytest.mark.slow
def test_the_duals_are_the_textbooks():
    x, labels, weight, _ = problem()

    def quadratic(alpha, gram, **_):
        return (
            -sum(a * b * gram[i, j] for i, a in enumerate(alpha) for j, b in enumerate(alpha)) / 2
        )

    def signed(alpha, gram, labels, **_):
        return quadratic(oracles.signs(labels) * alpha, gram)

    def linear_less(beta, gram, targets, **_):
        return targets @ beta + quadratic(beta, gram)

    settings = {"by": "NumPy float64", "bfloat16": None, "nu": 0.5}
    properties.check(
        one_class(objectives.dual, "alpha gram"), weight, kernel(x),
        reference=quadratic, **settings,
    )  # fmt: skip
    properties.check(
        nu_svc(objectives.dual, "alpha gram labels"), weight, kernel(x), labels,
        reference=signed, **settings,
    )  # fmt: skip
    properties.check(
        nu_svr(objectives.dual, "alpha gram targets"), weight, kernel(x), x[:, 0],
        reference=linear_less, C=1.0, **settings,
    )  # fmt: skip


def test_scikit_learns_one_class_svm_is_where_primal_and_dual_meet():
    x, _, weight, _ = problem(rows=60)
    machine = sklearn.svm.OneClassSVM(kernel="precomputed", nu=0.3, tol=1e-9)
    machine.fit(kernel(x), sample_weight=weight)
    alpha = np.zeros(60)
    alpha[machine.support_] = machine.dual_coef_[0]
    settings = {"nu": 0.3, "sample_weight": weight}
    gram = kernel(x)
    kernel_primal = one_class(objectives.kernel_primal, "alpha gram")
    above = oracles.evaluate(kernel_primal, alpha, gram, **settings)
    kernel_gap = one_class(objectives.kernel_duality_gap, "alpha gram")
    gap = oracles.evaluate(kernel_gap, alpha, gram, **settings)
    oracles.agree_that_it_closes(kernel_gap, gap, above, by="scikit-learn", within=1e-8)
    # libsvm keeps its kernel in single precision.
    residual = one_class(objectives.kkt_residual, "alpha gram")
    assert oracles.evaluate(residual, alpha, gram, **settings) < 2e-6
    infeasibility = one_class(objectives.infeasibility, "alpha")
    assert oracles.evaluate(infeasibility, alpha, **settings) < 1e-8
    outputs = gram @ alpha
    best = one_class(objectives.best_offsets, "outputs")
    (rho,) = oracles.evaluate(best, outputs, **settings)
    properties.agree(best, rho, -machine.intercept_[0], by="scikit-learn", rtol=1e-6)
    features = np.linalg.cholesky(gram + 1e-13 * np.eye(60))
    expected = oracles.one_class_primal(features.T @ alpha, rho, features, 0.3, weight)
    properties.agree(kernel_primal, above, expected, by="NumPy float64", rtol=1e-10)


@pytest.mark.slow
def test_scikit_learns_nu_svc_is_where_primal_and_dual_meet():
    x, labels, weight, _ = problem(rows=60)
    machine = sklearn.svm.NuSVC(kernel="precomputed", nu=0.3, tol=1e-10)
    machine.fit(kernel(x), labels, sample_weight=weight)
    # scikit-learn has divided by rho: alpha sums to nu V again, and rho follows.
    scaled = np.zeros(60)
    scaled[machine.support_] = np.abs(machine.dual_coef_[0])
    rho = 0.3 * weight.sum() / scaled.sum()
    alpha, gram = rho * scaled, kernel(x)
    # At its bound but for the rounding of the division by rho.
    alpha = np.where(np.abs(alpha - weight) < 1e-12, weight, alpha)
    settings = {"nu": 0.3, "sample_weight": weight}
    arrays = alpha, gram, labels
    kernel_primal = nu_svc(objectives.kernel_primal, "alpha gram labels")
    above = oracles.evaluate(kernel_primal, *arrays, **settings)
    kernel_gap = nu_svc(objectives.kernel_duality_gap, "alpha gram labels")
    gap = oracles.evaluate(kernel_gap, *arrays, **settings)
    # libsvm keeps its kernel in single precision.
    oracles.agree_that_it_closes(kernel_gap, gap, above, by="scikit-learn", within=1e-6)
    residual = nu_svc(objectives.kkt_residual, "alpha gram labels")
    assert oracles.evaluate(residual, *arrays, **settings) < 2e-6
    infeasibility = nu_svc(objectives.infeasibility, "alpha labels")
    assert oracles.evaluate(infeasibility, alpha, labels, **settings) < 1e-6
    outputs = gram @ (oracles.signs(labels) * alpha)
    best = nu_svc(objectives.best_offsets, "outputs labels")
    b, margin = oracles.evaluate(best, outputs, labels, **settings)
    properties.agree(best, margin, rho, by="scikit-learn", rtol=1e-5)
    properties.agree(best, b / margin, machine.intercept_[0], by="scikit-learn", rtol=1e-5)
    features = np.linalg.cholesky(gram + 1e-13 * np.eye(60))
    w = features.T @ (oracles.signs(labels) * alpha)
    expected = oracles.nu_primal(w, b, margin, features, labels, 0.3, weight)
    properties.agree(kernel_primal, above, expected, by="NumPy float64", rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("nu", [0.3, 1.0])
def test_scikit_learns_nu_svr_is_where_primal_and_dual_meet(nu):
    x, _, weight, rng = problem(rows=60)
    targets = np.sin(x[:, 0]) + rng.normal(scale=0.3, size=60)
    machine = sklearn.svm.NuSVR(kernel="precomputed", nu=nu, C=1.3, tol=1e-9)
    machine.fit(kernel(x), targets, sample_weight=weight)
    beta = np.zeros(60)
    beta[machine.support_] = machine.dual_coef_[0]
    settings = {"C": 1.3, "nu": nu, "sample_weight": weight}
    gram = kernel(x)
    kernel_primal = nu_svr(objectives.kernel_primal, "alpha gram targets")
    above = oracles.evaluate(kernel_primal, beta, gram, targets, **settings)
    kernel_gap = nu_svr(objectives.kernel_duality_gap, "alpha gram targets")
    gap = oracles.evaluate(kernel_gap, beta, gram, targets, **settings)
    # libsvm keeps its kernel in single precision.
    oracles.agree_that_it_closes(kernel_gap, gap, above, by="scikit-learn", within=1e-6)
    infeasibility = nu_svr(objectives.infeasibility, "alpha targets")
    assert oracles.evaluate(infeasibility, beta, targets, **settings) < 1e-8
    outputs, best = gram @ beta, nu_svr(objectives.best_offsets, "outputs targets")
    b, epsilon = oracles.evaluate(best, outputs, targets, **settings)
    properties.agree(best, b, machine.intercept_[0], by="scikit-learn", rtol=1e-5)
    assert (epsilon == 0) == (nu == 1.0)
    errors = np.maximum(np.abs(outputs + b - targets) - epsilon, 0)
    expected = beta @ outputs / 2 + 1.3 * (nu * weight.sum() * epsilon + weight @ errors)
    properties.agree(kernel_primal, above, expected, by="NumPy float64", rtol=1e-10)


# Of few digits: in single precision, too, dual variables are on their bounds.
DYADIC = np.array([1.0, 0.5, 2.0, 0.25, 1.0, 0.25, 0.0])


def test_gaps_and_residuals_are_those_of_their_definitions():
    x, labels, _, rng = problem()
    gram, alpha, rest = kernel(x), definitions.corners(DYADIC), (np.array(0.25), DYADIC)
    for function, reference in [
        (objectives.kernel_duality_gap, definitions.one_class_kernel_gap),
        (objectives.kkt_residual, definitions.one_class_residual),
    ]:
        definitions.check(
            one_class(function, f"alpha gram {NU}"), alpha, gram, *rest, reference=reference
        )
    for function, reference in [
        (objectives.kernel_duality_gap, definitions.nu_kernel_gap),
        (objectives.kkt_residual, definitions.nu_residual),
    ]:
        definitions.check(
            nu_svc(function, f"alpha gram labels {NU}"),
            alpha,
            gram,
            labels,
            *rest,
            reference=reference,
        )
    definitions.check(
        one_class(objectives.duality_gap, f"weights rho alpha x {NU}"),
        rng.normal(size=3), np.array(0.3), alpha, x, *rest,
        reference=definitions.one_class_gap,
    )  # fmt: skip
    for nu in (0.3, 1.0):
        definitions.check(
            nu_svr(objectives.kernel_duality_gap, f"alpha gram targets C {NU}"),
            definitions.corners(DYADIC, signed=True), gram, x[:, 0], np.array(0.5), np.array(nu),
            DYADIC, reference=definitions.nu_svr_kernel_gap,
        )  # fmt: skip


def test_what_is_infeasible_is_measured():
    _, labels, weight, rng = problem()
    rest, mass = (np.array(0.4), weight), 0.4 * weight.sum()
    # Most have the sums that they have to have.
    points, zero_sum = (
        np.zeros((60, 7)),
        rng.normal(size=(60, 7)) * np.linspace(0.02, 1, 60)[:, None],
    )
    for own in (labels == 0, labels == 1):
        zero_sum[:, own] -= zero_sum[:, own].mean(axis=1, keepdims=True)
        points[:, own] = mass / 2 * weight[own] / weight[own].sum()
    off = rng.normal(size=(60, 7)) * (np.arange(60) % 4 == 0)[:, None]
    points += zero_sum + off

    def one(alpha):
        return [(-alpha).max(), (alpha - weight).max(), abs(alpha.sum() - mass)]

    def two(alpha):
        sums = [abs(alpha[labels == y].sum() - mass / 2) for y in (0, 1)]
        return [(-alpha).max(), (alpha - weight).max(), *sums]

    def width(beta):
        c = 0.5 * weight
        over = np.abs(beta).sum() - 0.4 * c.sum()
        return [(np.abs(beta) - c).max(), abs(beta.sum()), over]

    def each(pose, **given):
        function = pose(objectives.infeasibility, "alpha")

        def call(points, nu, weight):
            settings = {"nu": nu, "sample_weight": weight, **given}
            return jax.vmap(lambda point: function(point, **settings))(points)

        return functools.update_wrapper(call, function)

    for call, terms, where in [
        (each(one_class), one, points),
        (each(nu_svc, labels=labels), two, points),
        (each(nu_svr, targets=np.zeros(7, np.float32), C=0.5), width, zero_sum + off / 4),
    ]:

        def reference(points, nu, weight, terms=terms):
            return np.maximum([max(terms(point)) for point in points], 0.0)

        definitions.check(call, where, *rest, reference=reference)
        largest = {int(np.argmax(terms(point))) for point in where}
        assert largest == set(range(len(terms(where[0]))))


def test_quantiles_masses_and_shortfalls():
    _, _, weight, rng = problem()
    values, weight = rng.normal(size=7), np.where(np.arange(7) == 3, 0.0, weight)

    def reference(values, weight, mass):
        order = np.argsort(values)
        return values[order][np.searchsorted(np.cumsum(weight[order]), mass)]

    values[3] = -9.0  # of no weight
    for share in (0.02, 0.5, 0.98):
        definitions.check(
            box.quantile, values, weight, np.array(share * weight.sum()), reference=reference
        )

    def costs_and_mass(problem, alpha):
        _, (mass,) = problem.equalities(alpha)
        return problem.costs(alpha), mass

    with jax.enable_x64(True):
        costs = OneClass(nu=0.3, sample_weight=jnp.asarray(weight)).costs(jnp.asarray(values))
    properties.agree(objectives.Problem.costs, costs, weight, by="NumPy float64", rtol=1e-12)
    functools.update_wrapper(costs_and_mass, OneClass.costs)
    definitions.check(
        one_class(costs_and_mass, f"alpha {NU}"), values, np.array(0.3), weight,
        reference=lambda values, nu, weight: (weight, nu * weight.sum()),
    )  # fmt: skip

    def cost(outputs, rho, nu, weight):
        return weight @ [max(0.0, rho - f) for f in outputs] - nu * weight.sum() * rho

    definitions.check(
        one_class(objectives.cost, f"outputs rho {NU}"), values, np.array(0.3), np.array(0.3),
        weight, reference=cost,
    )  # fmt: skip


@functools.cache
def gaps():
    """Compiled once: the gaps of any primal point and the feasible point nearest to any alpha."""

    def of_points(w, b, rho, anywhere, x, labels, nu, weight):
        one = OneClass(nu=nu, x=x, sample_weight=weight)
        two = NuClassification(labels, nu=nu, x=x, sample_weight=weight)
        alpha, other = objectives.project(one, anywhere), objectives.project(two, anywhere)
        inside = -jnp.stack([
            objectives.infeasibility(one, alpha), objectives.infeasibility(two, other)
        ])  # fmt: skip
        return inside, jnp.stack([
            objectives.duality_gap(one, alpha, w, rho),
            objectives.kernel_duality_gap(one, alpha),
            objectives.duality_gap(two, other, w, b, rho),
            objectives.kernel_duality_gap(two, other),
        ])  # fmt: skip

    return references.plain_jit(of_points)


@pytest.mark.slow
@given(seed=st.integers(0, 10**6), nu=st.floats(0.01, 0.3))
def test_a_feasible_dual_point_bounds_every_primal_point(seed, nu):
    x, labels, weight, rng = problem(seed=seed)
    weight[:4] = weight.max()  # so that each class can hold its half
    b, rho = np.array(rng.normal()), np.array(rng.normal())
    with jax.enable_x64(True):
        inside, found = gaps()(
            rng.normal(size=3), b, rho, 2 * rng.normal(size=7), x, labels, np.array(nu), weight
        )
    assert (np.asarray(inside) > -1e-12).all()
    assert (np.asarray(found) > -1e-12).all()
    assert (np.asarray(found) > 1e-9).all()  # nothing drawn is the optimum


def test_the_projection_is_that_of_each_class():
    alpha, labels = np.array([3.0, 0.5, 0.0, -2.0, 0.4]), np.array([1, 0, 0, 1, 1])
    weight = np.array([1.0, 1.0, 0.5, 1.0, 1.0])
    project = nu_svc(objectives.project, "alpha labels")
    actual = oracles.evaluate(project, alpha, labels, nu=0.5, sample_weight=weight)
    # Half of nu V is 1.125: class 1 has (1, 0, 0.125), class 0 (0.8125, 0.3125).
    expected = np.array([1.0, 0.8125, 0.3125, 0.0, 0.125])
    properties.agree(project, actual, expected, by="by hand", rtol=1e-12)
    project = one_class(objectives.project, "alpha")
    actual = oracles.evaluate(project, alpha, nu=0.5)
    properties.agree(project, actual, np.array([1.0, 0.7, 0.2, 0.0, 0.6]), by="by hand", rtol=1e-12)


@pytest.mark.parametrize("nu", [0.2, 0.5, 0.75])
def test_the_threshold_is_a_quantile(nu):
    outputs = np.random.default_rng(0).normal(size=11)
    best = one_class(objectives.best_offsets, "outputs")
    (rho,) = oracles.evaluate(best, outputs, nu=nu)
    expected = np.quantile(outputs, nu, method="inverted_cdf")
    properties.agree(best, rho, expected, by="NumPy float64", rtol=1e-10)


X, Y, A, G = jnp.ones((3, 2)), jnp.array([0, 1, 1]), jnp.ones(3), jnp.eye(3)
SMALLER = "`nu` must be at most 0.666667, twice the fraction of the smaller class, got 0.9"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: objectives.primal(OneClass(nu=0.5, x=X), A, 0.0),
            "`weights` must have shape (2,), got (3,)",
        ),
        (lambda: OneClass(nu=0.0), "`nu` must be in (0, 1], got 0.0"),
        (lambda: OneClass(nu=1.5, x=X), "`nu` must be in (0, 1], got 1.5"),
        (lambda: OneClass(nu=0.5, gram=X), "`gram` must have shape (3, 3), got (3, 2)"),
        (
            lambda: objectives.project(OneClass(nu=0.5), A * jnp.nan),
            "`alpha` must be finite, got NaN or infinity",
        ),
        (lambda: NuClassification(Y, nu=0.9), SMALLER),
        (
            lambda: NuClassification(Y + 1, nu=0.5),
            "`labels` must be integers in [0, 2) or booleans",
        ),
        (lambda: NuClassification(Y, nu=0.5, gram=X), "`gram` must have shape (3, 3), got (3, 2)"),
        (lambda: NuRegression(A, C=1.0, nu=2.0), "`nu` must be in (0, 1], got 2.0"),
        (lambda: NuRegression(A, C=0.0, nu=0.5), "`C` must be a finite number > 0, got 0.0"),
        (
            lambda: NuRegression(A[:2], C=1.0, nu=0.5, gram=G),
            "`gram` must have shape (2, 2), got (3",
        ),
        (
            lambda: objectives.kkt_residual(NuRegression(A, C=1.0, nu=0.5, gram=G), A),
            "`problem` must be Regression at the best epsilon for kkt_residual, got NuRegression",
        ),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        call()
