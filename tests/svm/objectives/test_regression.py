"""Support vector regression against NumPy, SciPy and scikit-learn's optima."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import sklearn.svm
from hypothesis import given
from hypothesis import strategies as st

from jaxml.svm import objectives
from jaxml.svm.objectives import KnownProducts, Regression
from tests import properties, references
from tests.svm import oracles
from tests.svm.objectives import definitions
from tests.svm.objectives.definitions import kernel

LOSSES = ["epsilon_insensitive", "squared_epsilon_insensitive"]
BIASES = ["free", "penalized", "none"]
REST = "C epsilon sample_weight"

posed = functools.partial(oracles.posed, Regression)
PRIMAL = posed(objectives.primal, "weights intercept x targets")
KERNEL_PRIMAL = posed(objectives.kernel_primal, "alpha gram targets")
DUAL = posed(objectives.dual, "alpha gram targets")
GAP = posed(objectives.duality_gap, "weights intercept alpha x targets")
KERNEL_GAP = posed(objectives.kernel_duality_gap, "alpha gram targets")
RESIDUAL = posed(objectives.kkt_residual, "alpha gram targets")
INFEASIBILITY = posed(objectives.infeasibility, "alpha targets")
PROJECT = posed(objectives.project, "alpha targets")
OFFSETS = posed(objectives.best_offsets, "outputs targets")


def problem(rows=7, features=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    targets = np.sin(x[:, 0]) + x[:, 1] + 0.5 + rng.normal(scale=0.3, size=rows)
    return x, targets, rng.uniform(0.2, 1.5, size=rows), rng


@pytest.mark.parametrize("squared", [False, True])
def test_errors_count_from_the_edge_of_the_tube(squared):
    _, targets, _, rng = problem()

    def reference(predictions, targets, epsilon, *, squared):
        name = "squared" if squared else "plain"
        errors = zip(predictions, targets, strict=True)
        return np.array([oracles.tube_loss(f - y, epsilon, name) for f, y in errors])

    def loss(predictions, targets, epsilon, *, squared):
        return objectives.epsilon_insensitive(
            predictions, targets, epsilon=epsilon, squared=squared
        )

    properties.check(
        functools.update_wrapper(loss, objectives.epsilon_insensitive),
        rng.normal(size=7), targets, np.array(0.3),
        reference=reference, by="NumPy float64", squared=squared,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "bias"), [(LOSSES[0], "free"), (LOSSES[1], "penalized")])
def test_the_primal_and_the_dual_are_the_textbooks(loss, bias):
    x, targets, weight, rng = problem()
    rest = np.array(0.7), np.array(0.2), weight
    properties.check(
        posed(objectives.primal, f"weights intercept x targets {REST}"),
        rng.normal(size=3), np.array(0.3), x, targets, *rest,
        reference=oracles.svr_primal, by="NumPy float64", bfloat16=4.0, loss=loss, bias=bias,
    )  # fmt: skip
    properties.check(
        posed(objectives.dual, f"alpha gram targets {REST}"),
        rng.normal(size=7), kernel(x), targets, *rest,
        reference=oracles.svr_dual, by="NumPy float64", bfloat16=None, loss=loss, bias=bias,
    )  # fmt: skip


@pytest.mark.slow
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
    above = oracles.evaluate(KERNEL_PRIMAL, *arrays, **settings)
    below = oracles.evaluate(DUAL, *arrays, **settings)
    # libsvm keeps its kernel in single precision.
    assert -1e-12 * above <= above - below <= 1e-6 * above
    assert oracles.evaluate(RESIDUAL, *arrays, **settings) < 2e-6
    assert oracles.evaluate(INFEASIBILITY, beta, targets, **settings) < 1e-8
    outputs = gram @ beta
    (b,) = oracles.evaluate(OFFSETS, outputs, targets, **settings)
    properties.agree(OFFSETS, b, machine.intercept_[0], by="scikit-learn", rtol=1e-6)
    errors = outputs + b - targets
    c = oracles.costs(targets, C, weight)
    expected = beta @ outputs / 2
    expected += sum(
        ci * oracles.tube_loss(e, epsilon, loss) for ci, e in zip(c, errors, strict=True)
    )
    properties.agree(KERNEL_PRIMAL, above, expected, by="NumPy float64", rtol=1e-10)
    gap = oracles.evaluate(
        lambda a, f, y, **s: KERNEL_GAP(a, KnownProducts(f), y, **s),
        beta, outputs, targets, **settings,
    )  # fmt: skip
    np.testing.assert_allclose(gap, above - below, atol=1e-10)
    oracles.agree_that_it_closes(KERNEL_GAP, gap, above, by="scikit-learn", within=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "bias"), [(LOSSES[0], "penalized"), (LOSSES[1], "none")])
def test_the_primal_of_scikit_learns_linear_svr_is_the_best_dual_of_scipy(loss, bias):
    x, targets, _, _ = problem(rows=20)
    machine = sklearn.svm.LinearSVR(
        C=0.4, epsilon=0.2, loss=loss, tol=1e-10, max_iter=1_000_000, random_state=0,
        fit_intercept=bias == "penalized",
    ).fit(x, targets)  # fmt: skip
    settings = {"C": 0.4, "epsilon": 0.2, "loss": loss, "bias": bias}
    b = np.array(float(np.ravel(machine.intercept_)[0]) if bias == "penalized" else 0.0)
    above = oracles.evaluate(PRIMAL, machine.coef_, b, x, targets, **settings)
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
    properties.agree(PRIMAL, above, -best.fun, by="SciPy", rtol=1e-6)
    assert oracles.evaluate(RESIDUAL, beta, x @ x.T, targets, **settings) < 1e-4
    gap = oracles.evaluate(GAP, machine.coef_, b, beta, x, targets, **settings)
    assert abs(gap) < 1e-6 * above


@pytest.mark.slow
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_gaps_and_residuals_are_those_of_their_definitions(loss, bias):
    x, targets, _, rng = problem()
    weight = np.array([1.0, 0.5, 2.0, 0.25, 1.0, 0.25, 0.0])
    rest = np.array(0.5), np.array(0.25), weight
    beta = definitions.corners(0.5 * weight, signed=True)
    definitions.check_gaps(
        posed, f"targets {REST}", rng.normal(size=3), np.array(0.3), beta, x, targets, *rest,
        linear=definitions.svr_gap, kernels=(definitions.svr_kernel_gap, definitions.svr_residual),
        loss=loss, bias=bias,
    )  # fmt: skip
    if bias == "none":
        definitions.check(
            posed(objectives.cost, f"outputs targets {REST}"), x[:, 1], targets, *rest,
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
        settings = {"C": 0.5, "sample_weight": weight, **kinds}

        def of_one(beta):
            return INFEASIBILITY(beta, jnp.zeros(7, beta.dtype), **settings)

        return jax.vmap(of_one)(points)

    functools.update_wrapper(infeasibility, INFEASIBILITY)

    def reference(points, weight, *, loss, bias):
        return np.maximum([terms(point).max() for point in points], 0.0)

    definitions.check(infeasibility, points, weight, reference=reference, loss=loss, bias=bias)


@functools.cache
def gaps(loss, bias):
    """Compiled once: the gaps of any primal point and the feasible point nearest to any beta."""

    def of_points(w, b, anywhere, x, targets, C, epsilon, weight):
        settings = {"C": C, "epsilon": epsilon, "loss": loss, "bias": bias}
        problem = Regression(targets, x=x, sample_weight=weight, **settings)
        beta = objectives.project(problem, anywhere)
        bounds = jnp.stack([
            objectives.duality_gap(problem, beta, w, b),
            objectives.kernel_duality_gap(problem, beta),
            -objectives.infeasibility(problem, beta),
        ])  # fmt: skip
        return bounds, objectives.kkt_residual(problem, beta)

    return references.plain_jit(of_points)


@pytest.mark.slow
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
        PROJECT, anywhere, np.zeros(5), C=0.7, sample_weight=np.array([1.0, 0.5, 2.0, 1.0, 0.0])
    )
    shift = scipy.optimize.brentq(
        lambda m: np.clip(anywhere - m, -bounds, bounds).sum(), -9, 9, xtol=1e-14
    )
    expected = np.clip(anywhere - shift, -bounds, bounds)
    properties.agree(PROJECT, actual, expected, by="SciPy", rtol=1e-10)


X, Y, B, G = jnp.ones((2, 3)), jnp.array([0.0, 1.0]), jnp.ones(2), jnp.eye(2)


def problem_of(targets=Y, C=1.0, **settings):
    return Regression(targets, C=C, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problem_of(targets=Y[:1], x=X), "`x` must have shape (1, features), got (2, 3)"),
        (lambda: problem_of(targets=Y[None]), "`targets` must have shape (samples,), got (1, 2)"),
        (lambda: problem_of(targets=Y * jnp.nan), "`targets` must be finite, got NaN or infinity"),
        (lambda: problem_of(C=0.0), "`C` must be a finite number > 0, got 0.0"),
        (lambda: problem_of(epsilon=-0.5), "`epsilon` must be a finite number >= 0, got -0.5"),
        (lambda: problem_of(loss="huber"), "`loss` must be one of epsilon_insensitive, squared"),
        (lambda: problem_of(bias="no"), "`bias` must be one of free, penalized, none"),
        (lambda: problem_of(gram=X), "`gram` must have shape (2, 2), got (2, 3)"),
        (
            lambda: objectives.dual(problem_of(Y[:1], x=X[:1]), B),
            "`alpha` must have shape (1,), go",
        ),
        (lambda: objectives.project(problem_of(), B * jnp.nan), "`alpha` must be finite, got NaN"),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        call()
