"""The one-class and nu forms against NumPy and scikit-learn's optima."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics.pairwise
import sklearn.svm
from hypothesis import given
from hypothesis import strategies as st

from jaxml.svm.objectives import nu_svc, nu_svr, one_class
from jaxml.svm.objectives.gram import LinearGram
from tests import properties, references
from tests.svm import oracles
from tests.svm.objectives import definitions


def problem(rows=7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    labels = (x[:, 0] + rng.normal(scale=0.7, size=rows) > 0).astype(np.int32)
    labels[:4] = 0, 1, 0, 1
    return x, labels, rng.uniform(0.2, 1.5, size=rows), rng


def kernel(x):
    return sklearn.metrics.pairwise.rbf_kernel(x, gamma=0.5)


def test_the_primals_are_the_textbooks():
    x, labels, weight, rng = problem()
    rest = np.array(0.4), weight
    properties.check(
        oracles.with_keywords(one_class.primal, "nu", "sample_weight"),
        rng.normal(size=3), np.array(0.3), x, *rest,
        reference=oracles.one_class_primal, by="NumPy float64", bfloat16=4.0,
    )  # fmt: skip
    properties.check(
        oracles.with_keywords(nu_svc.primal, "nu", "sample_weight"),
        rng.normal(size=3), np.array(0.1), np.array(0.3), x, labels, *rest,
        reference=oracles.nu_primal, by="NumPy float64", bfloat16=4.0,
    )  # fmt: skip
    properties.check(
        oracles.with_keywords(nu_svr.primal, "C", "nu", "sample_weight"),
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


def test_the_duals_are_the_textbooks():
    x, labels, weight, _ = problem()

    def quadratic(alpha, gram):
        return (
            -sum(a * b * gram[i, j] for i, a in enumerate(alpha) for j, b in enumerate(alpha)) / 2
        )

    def signed(alpha, gram, labels):
        return quadratic(oracles.signs(labels) * alpha, gram)

    def linear_less(beta, gram, targets):
        return targets @ beta + quadratic(beta, gram)

    properties.check(
        oracles.with_keywords(one_class.dual),
        weight,
        kernel(x),
        reference=quadratic,
        by="NumPy float64",
        bfloat16=None,
    )
    properties.check(
        oracles.with_keywords(nu_svc.dual),
        weight,
        kernel(x),
        labels,
        reference=signed,
        by="NumPy float64",
        bfloat16=None,
    )
    properties.check(
        oracles.with_keywords(nu_svr.dual), weight, kernel(x), x[:, 0],
        reference=linear_less, by="NumPy float64", bfloat16=None,
    )  # fmt: skip


def test_scikit_learns_one_class_svm_is_where_primal_and_dual_meet():
    x, _, weight, _ = problem(rows=60)
    machine = sklearn.svm.OneClassSVM(kernel="precomputed", nu=0.3, tol=1e-9)
    machine.fit(kernel(x), sample_weight=weight)
    alpha = np.zeros(60)
    alpha[machine.support_] = machine.dual_coef_[0]
    settings = {"nu": 0.3, "sample_weight": weight}
    gram = kernel(x)
    above = oracles.evaluate(one_class.kernel_primal, alpha, gram, **settings)
    gap = oracles.evaluate(one_class.kernel_duality_gap, alpha, gram, **settings)
    oracles.agree_that_it_closes(
        one_class.kernel_duality_gap, gap, above, by="scikit-learn", within=1e-8
    )
    # libsvm keeps its kernel in single precision.
    assert oracles.evaluate(one_class.kkt_residual, alpha, gram, **settings) < 2e-6
    assert oracles.evaluate(one_class.infeasibility, alpha, **settings) < 1e-8
    outputs = gram @ alpha
    rho = oracles.evaluate(one_class.best_rho, outputs, **settings)
    properties.agree(one_class.best_rho, rho, -machine.intercept_[0], by="scikit-learn", rtol=1e-6)
    features = np.linalg.cholesky(gram + 1e-13 * np.eye(60))
    expected = oracles.one_class_primal(features.T @ alpha, rho, features, 0.3, weight)
    properties.agree(one_class.kernel_primal, above, expected, by="NumPy float64", rtol=1e-10)


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
    above = oracles.evaluate(nu_svc.kernel_primal, *arrays, **settings)
    gap = oracles.evaluate(nu_svc.kernel_duality_gap, *arrays, **settings)
    # libsvm keeps its kernel in single precision.
    oracles.agree_that_it_closes(
        nu_svc.kernel_duality_gap, gap, above, by="scikit-learn", within=1e-6
    )
    assert oracles.evaluate(nu_svc.kkt_residual, *arrays, **settings) < 2e-6
    assert oracles.evaluate(nu_svc.infeasibility, alpha, labels, **settings) < 1e-6
    outputs = gram @ (oracles.signs(labels) * alpha)
    b, margin = oracles.evaluate(nu_svc.best_margin, outputs, labels, **settings)
    properties.agree(nu_svc.best_margin, margin, rho, by="scikit-learn", rtol=1e-5)
    properties.agree(
        nu_svc.best_margin, b / margin, machine.intercept_[0], by="scikit-learn", rtol=1e-5
    )
    features = np.linalg.cholesky(gram + 1e-13 * np.eye(60))
    w = features.T @ (oracles.signs(labels) * alpha)
    expected = oracles.nu_primal(w, b, margin, features, labels, 0.3, weight)
    properties.agree(nu_svc.kernel_primal, above, expected, by="NumPy float64", rtol=1e-10)


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
    above = oracles.evaluate(nu_svr.kernel_primal, beta, gram, targets, **settings)
    gap = oracles.evaluate(nu_svr.kernel_duality_gap, beta, gram, targets, **settings)
    # libsvm keeps its kernel in single precision.
    oracles.agree_that_it_closes(
        nu_svr.kernel_duality_gap, gap, above, by="scikit-learn", within=1e-6
    )
    assert oracles.evaluate(nu_svr.infeasibility, beta, **settings) < 1e-8
    outputs, tube = gram @ beta, {"nu": nu, "sample_weight": weight}
    b, epsilon = oracles.evaluate(nu_svr.best_tube, outputs, targets, **tube)
    properties.agree(nu_svr.best_tube, b, machine.intercept_[0], by="scikit-learn", rtol=1e-5)
    assert (epsilon == 0) == (nu == 1.0)
    errors = np.maximum(np.abs(outputs + b - targets) - epsilon, 0)
    expected = beta @ outputs / 2 + 1.3 * (nu * weight.sum() * epsilon + weight @ errors)
    properties.agree(nu_svr.kernel_primal, above, expected, by="NumPy float64", rtol=1e-10)


# Of few digits: in single precision, too, dual variables are on their bounds.
DYADIC = np.array([1.0, 0.5, 2.0, 0.25, 1.0, 0.25, 0.0])
NU = "nu", "sample_weight"


def test_gaps_and_residuals_are_those_of_their_definitions():
    x, labels, _, rng = problem()
    gram, alpha, rest = kernel(x), definitions.corners(DYADIC), (np.array(0.25), DYADIC)
    for function, reference in [
        (one_class.kernel_duality_gap, definitions.one_class_kernel_gap),
        (one_class.kkt_residual, definitions.one_class_residual),
    ]:
        definitions.check(
            oracles.with_keywords(function, *NU), alpha, gram, *rest, reference=reference
        )
    for function, reference in [
        (nu_svc.kernel_duality_gap, definitions.nu_kernel_gap),
        (nu_svc.kkt_residual, definitions.nu_residual),
    ]:
        definitions.check(
            oracles.with_keywords(function, *NU), alpha, gram, labels, *rest, reference=reference
        )
    definitions.check(
        oracles.with_keywords(one_class.duality_gap, *NU),
        rng.normal(size=3), np.array(0.3), alpha, x, *rest,
        reference=definitions.one_class_gap,
    )  # fmt: skip
    for nu in (0.3, 1.0):
        definitions.check(
            oracles.with_keywords(nu_svr.kernel_duality_gap, "C", *NU),
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

    def each(function, *fixed, **settings):
        def call(points, nu, weight):
            given = {"nu": nu, "sample_weight": weight, **settings}
            return jax.vmap(lambda point: function(point, *fixed, **given))(points)

        return functools.update_wrapper(call, function)

    for call, terms, where in [
        (each(one_class.infeasibility), one, points),
        (each(nu_svc.infeasibility, jnp.asarray(labels)), two, points),
        (each(nu_svr.infeasibility, C=0.5), width, zero_sum + off / 4),
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
            one_class.quantile, values, weight, np.array(share * weight.sum()), reference=reference
        )
    definitions.check(
        one_class.masses, values, np.array(0.3), weight,
        reference=lambda values, nu, weight: (weight, nu * weight.sum()),
    )  # fmt: skip
    definitions.check(
        one_class.shortfall, values, np.array(0.3),
        reference=lambda values, rho: np.array([max(0.0, rho - v) for v in values]),
    )  # fmt: skip


@functools.cache
def gaps():
    """Compiled once: the gaps of any primal point and the feasible point nearest to any alpha."""

    def of_points(w, b, rho, anywhere, x, labels, nu, weight):
        settings = {"nu": nu, "sample_weight": weight}
        gram = LinearGram(x)
        alpha, other = (
            one_class.project(anywhere, **settings),
            nu_svc.project(anywhere, labels, **settings),
        )
        inside = -jnp.stack([
            one_class.infeasibility(alpha, **settings),
            nu_svc.infeasibility(other, labels, **settings),
        ])  # fmt: skip
        return inside, jnp.stack([
            one_class.duality_gap(w, rho, alpha, x, **settings),
            one_class.kernel_duality_gap(alpha, gram, **settings),
            nu_svc.primal(w, b, rho, x, labels, **settings) - nu_svc.dual(other, gram, labels),
            nu_svc.kernel_duality_gap(other, gram, labels, **settings),
        ])  # fmt: skip

    return references.plain_jit(of_points)


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
    actual = oracles.evaluate(nu_svc.project, alpha, labels, nu=0.5, sample_weight=weight)
    # Half of nu V is 1.125: class 1 has (1, 0, 0.125), class 0 (0.8125, 0.3125).
    expected = np.array([1.0, 0.8125, 0.3125, 0.0, 0.125])
    properties.agree(nu_svc.project, actual, expected, by="by hand", rtol=1e-12)
    actual = oracles.evaluate(one_class.project, alpha, nu=0.5)
    properties.agree(
        one_class.project, actual, np.array([1.0, 0.7, 0.2, 0.0, 0.6]), by="by hand", rtol=1e-12
    )


@pytest.mark.parametrize("nu", [0.2, 0.5, 0.75])
def test_the_threshold_is_a_quantile(nu):
    outputs = np.random.default_rng(0).normal(size=11)
    rho = oracles.evaluate(one_class.best_rho, outputs, nu=nu)
    expected = np.quantile(outputs, nu, method="inverted_cdf")
    properties.agree(one_class.best_rho, rho, expected, by="NumPy float64", rtol=1e-10)


X, Y, A, G = jnp.ones((3, 2)), jnp.array([0, 1, 1]), jnp.ones(3), jnp.eye(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: one_class.primal(A, 0.0, X, nu=0.5), "weights: [2], not (3,)"),
        (lambda: one_class.primal(X[0], 0.0, X, nu=0.0), "nu: in (0, 1], not 0.0"),
        (lambda: one_class.primal(X[0], 0.0, X, nu=1.5), "nu: in (0, 1], not 1.5"),
        (lambda: one_class.dual(A, X), "gram: [3, 3] for 3 rows of alpha, not (3, 2)"),
        (lambda: one_class.project(A * jnp.nan, nu=0.5), "alpha: finite numbers, not NaN"),
        (lambda: nu_svc.project(A, Y, nu=0.9), "nu: at most 0.666667, twice the share of the smal"),
        (lambda: nu_svc.project(A, Y + 1, nu=0.5), "`labels` must be integers in [0, 2), got 2"),
        (lambda: nu_svc.kkt_residual(A, X, Y, nu=0.5), "gram: [3, 3] for 3 rows of alpha, not (3"),
        (lambda: nu_svr.infeasibility(A, C=1.0, nu=2.0), "nu: in (0, 1], not 2.0"),
        (lambda: nu_svr.primal(A, 0.0, 0.1, G, A, C=1.0, nu=0.0), "nu: in (0, 1], not 0.0"),
        (lambda: nu_svr.kernel_primal(A, G, A[:2], C=1.0, nu=0.5), "targets: [3], not (2,)"),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        call()
