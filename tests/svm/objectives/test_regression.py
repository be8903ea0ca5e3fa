"""Support vector regression against NumPy, SciPy and scikit-learn's optima."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import sklearn.metrics.pairwise
import sklearn.svm
from hypothesis import given
from hypothesis import strategies as st

from jaxml.svm.objectives import regression
from jaxml.svm.objectives.gram import KnownProducts, LinearGram
from tests import properties, references
from tests.svm import oracles
from tests.svm.objectives import definitions

LOSSES, BIASES = list(regression.SQUARED), ["free", "penalized", "none"]


def problem(rows=7, features=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    targets = np.sin(x[:, 0]) + x[:, 1] + 0.5 + rng.normal(scale=0.3, size=rows)
    return x, targets, rng.uniform(0.2, 1.5, size=rows), rng


def kernel(x):
    return sklearn.metrics.pairwise.rbf_kernel(x, gamma=0.5)


@pytest.mark.parametrize("squared", [False, True])
def test_errors_count_from_the_edge_of_the_tube(squared):
    _, targets, _, rng = problem()

    def reference(predictions, targets, epsilon, *, squared):
        name = "squared" if squared else "plain"
        errors = zip(predictions, targets, strict=True)
        return np.array([oracles.tube_loss(f - y, epsilon, name) for f, y in errors])

    properties.check(
        oracles.with_keywords(regression.epsilon_insensitive, "epsilon"),
        rng.normal(size=7), targets, np.array(0.3),
        reference=reference, by="NumPy float64", squared=squared,
    )  # fmt: skip


@pytest.mark.parametrize(("loss", "bias"), [(LOSSES[0], "free"), (LOSSES[1], "penalized")])
def test_the_primal_and_the_dual_are_the_textbooks(loss, bias):
    x, targets, weight, rng = problem()
    names, rest = ("C", "epsilon", "sample_weight"), (np.array(0.7), np.array(0.2), weight)
    properties.check(
        oracles.with_keywords(regression.primal, *names),
        rng.normal(size=3), np.array(0.3), x, targets, *rest,
        reference=oracles.svr_primal, by="NumPy float64", bfloat16=4.0, loss=loss, bias=bias,
    )  # fmt: skip
    properties.check(
        oracles.with_keywords(regression.dual, *names),
        rng.normal(size=7), kernel(x), targets, *rest,
        reference=oracles.svr_dual, by="NumPy float64", bfloat16=None, loss=loss, bias=bias,
    )  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_scikit_learns_svr_is_where_primal_and_dual_meet(loss):
    x, targets, weight, _ = problem(rows=60)
    gram, C, epsilon = kernel(x), 1.7, 0.2
    # With a ridge and no bounds the loss is the squared one.
    plain = loss == "epsilon_insensitive"
    ridge, price = (0.0, C) if plain else (np.diag(1 / (2 * C * weight)), 1e8)
    machine = sklearn.svm.SVR(kernel="precomputed", C=price, epsilon=epsilon, tol=1e-9)
    machine.fit(gram + ridge, targets, sample_weight=weight if plain else None)
    beta = np.zeros(60)
    beta[machine.support_] = machine.dual_coef_[0]
    settings = {"C": C, "epsilon": epsilon, "loss": loss, "sample_weight": weight}
    arrays = beta, gram, targets
    above = oracles.evaluate(regression.kernel_primal, *arrays, **settings)
    below = oracles.evaluate(regression.dual, *arrays, **settings)
    # libsvm keeps its kernel in single precision.
    assert -1e-12 * above <= above - below <= 1e-6 * above
    assert oracles.evaluate(regression.kkt_residual, *arrays, **settings) < 2e-6
    constraints = {"C": C, "loss": loss, "sample_weight": weight}
    assert oracles.evaluate(regression.infeasibility, beta, **constraints) < 1e-8
    outputs = gram @ beta
    tube = {"epsilon": epsilon, "loss": loss, "sample_weight": weight}
    b = oracles.evaluate(regression.best_intercept, outputs, targets, **tube)
    properties.agree(
        regression.best_intercept, b, machine.intercept_[0], by="scikit-learn", rtol=1e-6
    )
    errors = outputs + b - targets
    c = oracles.costs(targets, C, weight)
    expected = beta @ outputs / 2
    expected += sum(
        ci * oracles.tube_loss(e, epsilon, loss) for ci, e in zip(c, errors, strict=True)
    )
    properties.agree(regression.kernel_primal, above, expected, by="NumPy float64", rtol=1e-10)
    gap = oracles.evaluate(
        lambda a, f, y, **s: regression.kernel_duality_gap(a, KnownProducts(f), y, **s),
        beta, outputs, targets, **settings,
    )  # fmt: skip
    np.testing.assert_allclose(gap, above - below, atol=1e-10)
    oracles.agree_that_it_closes(
        regression.kernel_duality_gap, gap, above, by="scikit-learn", within=1e-6
    )


@pytest.mark.parametrize(("loss", "bias"), [(LOSSES[0], "penalized"), (LOSSES[1], "none")])
def test_the_primal_of_scikit_learns_linear_svr_is_the_best_dual_of_scipy(loss, bias):
    x, targets, _, _ = problem(rows=20)
    machine = sklearn.svm.LinearSVR(
        C=0.4, epsilon=0.2, loss=loss, tol=1e-10, max_iter=1_000_000, random_state=0,
        fit_intercept=bias == "penalized",
    ).fit(x, targets)  # fmt: skip
    settings = {"C": 0.4, "epsilon": 0.2, "loss": loss, "bias": bias}
    b = np.array(float(np.ravel(machine.intercept_)[0]) if bias == "penalized" else 0.0)
    above = oracles.evaluate(regression.primal, machine.coef_, b, x, targets, **settings)
    lifted = x @ x.T + (bias == "penalized") + (np.eye(20) / 0.8 if "squared" in loss else 0.0)

    def minus_dual(sides):  # one variable for each side of the tube
        beta = sides[:20] - sides[20:]
        slope = lifted @ beta - targets
        value = beta @ lifted @ beta / 2 - targets @ beta + 0.2 * sides.sum()
        return value, np.concatenate([slope, -slope]) + 0.2

    reach = None if "squared" in loss else 0.4
    best = scipy.optimize.minimize(
        minus_dual, np.zeros(40), jac=True, bounds=[(0, reach)] * 40,
        method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
    )  # fmt: skip
    beta = best.x[:20] - best.x[20:]
    properties.agree(regression.primal, above, -best.fun, by="SciPy", rtol=1e-6)
    assert oracles.evaluate(regression.kkt_residual, beta, x @ x.T, targets, **settings) < 1e-4
    gap = oracles.evaluate(regression.duality_gap, machine.coef_, b, beta, x, targets, **settings)
    assert abs(gap) < 1e-6 * above


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_gaps_and_residuals_are_those_of_their_definitions(loss, bias):
    x, targets, _, rng = problem()
    weight = np.array([1.0, 0.5, 2.0, 0.25, 1.0, 0.25, 0.0])
    names, rest = ("C", "epsilon", "sample_weight"), (np.array(0.5), np.array(0.25), weight)
    beta = definitions.corners(0.5 * weight, signed=True)
    for function, reference in [
        (regression.kernel_duality_gap, definitions.svr_kernel_gap),
        (regression.kkt_residual, definitions.svr_residual),
    ]:
        definitions.check(
            oracles.with_keywords(function, *names), beta, kernel(x), targets, *rest,
            reference=reference, loss=loss, bias=bias,
        )  # fmt: skip
    definitions.check(
        oracles.with_keywords(regression.duality_gap, *names),
        rng.normal(size=3), np.array(0.3), beta, x, targets, *rest,
        reference=definitions.svr_gap, loss=loss, bias=bias,
    )  # fmt: skip
    if bias == "none":
        definitions.check(
            oracles.with_keywords(regression.cost, *names), x[:, 1], targets, *rest,
            reference=definitions.svr_cost, loss=loss,
        )  # fmt: skip


@pytest.mark.parametrize("bias", ["free", "none"])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_infeasible_is_measured(loss, bias):
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.2, 1.5, size=7)
    points = rng.normal(size=(40, 7))
    points[:20] *= 0.2
    reach = definitions.limits(0.5 * weight, loss)

    def terms(beta):
        above = np.abs(beta) - np.where(np.isinf(reach), np.abs(beta) + 1, reach)
        return np.array([above.max(), abs(beta.sum()) if bias == "free" else -1.0])

    def infeasibility(points, weight, **kinds):
        def of_one(beta):
            return regression.infeasibility(beta, C=0.5, sample_weight=weight, **kinds)

        return jax.vmap(of_one)(points)

    functools.update_wrapper(infeasibility, regression.infeasibility)

    def reference(points, weight, *, loss, bias):
        return np.maximum([terms(point).max() for point in points], 0.0)

    definitions.check(infeasibility, points, weight, reference=reference, loss=loss, bias=bias)


@functools.cache
def gaps(loss, bias):
    """Compiled once: the gaps of any primal point and the feasible point nearest to any beta."""

    def of_points(w, b, anywhere, x, targets, C, epsilon, weight):
        constraints = {"C": C, "loss": loss, "bias": bias, "sample_weight": weight}
        settings = {"epsilon": epsilon, **constraints}
        beta = regression.project(anywhere, **constraints)
        gram = LinearGram(x)
        residual = regression.kkt_residual(beta, gram, targets, **settings)
        bounds = jnp.stack([
            regression.duality_gap(w, b, beta, x, targets, **settings),
            regression.kernel_duality_gap(beta, gram, targets, **settings),
            -regression.infeasibility(beta, **constraints),
        ])  # fmt: skip
        return bounds, residual

    return references.plain_jit(of_points)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
@given(seed=st.integers(0, 10**6), C=st.floats(0.01, 10.0), epsilon=st.floats(0.0, 1.0))
def test_a_feasible_dual_point_bounds_every_primal_point(loss, bias, seed, C, epsilon):
    x, targets, weight, rng = problem(seed=seed)
    b = np.array(0.0 if bias == "none" else rng.normal())
    weight[3] = 0.0
    anywhere, scalars = 3 * C * rng.normal(size=7), (np.array(C), np.array(epsilon))
    with jax.enable_x64(True):
        bounds, residual = gaps(loss, bias)(
            rng.normal(size=3), b, anywhere, x, targets, *scalars, weight
        )
    assert (np.asarray(bounds) > -1e-12 * (1 + C)).all()
    assert np.asarray(residual) > 0  # nothing drawn is the optimum


def test_the_projection_is_where_scipy_finds_it():
    anywhere = np.array([2.0, 0.5, -0.3, -0.1, 1.0])
    bounds = 0.7 * np.array([1.0, 0.5, 2.0, 1.0, 0.0])
    actual = oracles.evaluate(
        regression.project, anywhere, C=0.7, sample_weight=np.array([1.0, 0.5, 2.0, 1.0, 0.0])
    )
    shift = scipy.optimize.brentq(
        lambda m: np.clip(anywhere - m, -bounds, bounds).sum(), -9, 9, xtol=1e-14
    )
    expected = np.clip(anywhere - shift, -bounds, bounds)
    properties.agree(regression.project, actual, expected, by="SciPy", rtol=1e-10)


X, Y, B, G = jnp.ones((2, 3)), jnp.array([0.0, 1.0]), jnp.ones(2), jnp.eye(2)


def primal(targets=Y, C=1.0, **settings):
    return regression.primal(X[0], 0.0, X, targets, C=C, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: primal(targets=Y[:1]), "targets: [2], not (1,)"),
        (lambda: primal(targets=Y * jnp.nan), "targets: finite numbers, not NaN"),
        (lambda: primal(C=0.0), "C: a finite number above 0, not 0.0"),
        (lambda: primal(epsilon=-0.5), "epsilon: a finite number of 0 or more, not -0.5"),
        (lambda: primal(loss="huber"), "loss must be one of epsilon_insensitive, squared"),
        (lambda: primal(bias="no"), "bias must be one of free, penalized, none"),
        (lambda: regression.dual(B, X, Y, C=1.0), "gram: [2, 2] for 2 rows of beta, not (2, 3)"),
        (lambda: regression.dual(B, G, Y[:1], C=1.0), "targets: [2], not (1,)"),
        (lambda: regression.project(B * jnp.nan, C=1.0), "beta: finite numbers, not NaN"),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        call()
