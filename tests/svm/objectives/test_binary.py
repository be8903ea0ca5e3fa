"""Classification with two classes against NumPy, SciPy and scikit-learn's optima."""

import dataclasses
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import sklearn.linear_model
import sklearn.svm
from hypothesis import given
from hypothesis import strategies as st

from jaxml.svm import objectives
from jaxml.svm.objectives import Classification, KnownProducts
from tests import properties, references
from tests.svm import oracles
from tests.svm.objectives import definitions
from tests.svm.objectives.definitions import kernel

WEIGHTS = "C sample_weight class_weight"
LOSSES, BIASES = ["hinge", "squared_hinge"], ["free", "penalized", "none"]
CLASS_WEIGHT = np.array([0.5, 2.0])

posed = functools.partial(oracles.posed, Classification)
PRIMAL = posed(objectives.primal, "weights intercept x labels")
KERNEL_PRIMAL = posed(objectives.kernel_primal, "alpha gram labels")
DUAL = posed(objectives.dual, "alpha gram labels")
GAP = posed(objectives.duality_gap, "weights intercept alpha x labels")
KERNEL_GAP = posed(objectives.kernel_duality_gap, "alpha gram labels")
RESIDUAL = posed(objectives.kkt_residual, "alpha gram labels")
INFEASIBILITY = posed(objectives.infeasibility, "alpha labels")
PROJECT = posed(objectives.project, "alpha labels")
OFFSETS = posed(objectives.best_offsets, "outputs labels")
SHRINK = posed(objectives.shrink, "alpha x labels")
DUAL_POINT = posed(objectives.dual_point, "outputs labels")


def problem(rows=7, features=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    labels = (x[:, 0] + rng.normal(scale=0.7, size=rows) > 0).astype(np.int32)
    labels[:2] = 0, 1
    return x, labels, rng.uniform(0.2, 1.5, size=rows), rng


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "penalty", "bias"),
    [
        ("squared_hinge", "l2", "free"),
        ("hinge", "l2", "penalized"),
        ("logistic", "l1", "free"),
        ("squared_hinge", "l1", "penalized"),
    ],
)
def test_the_primal_is_the_penalty_and_the_weighted_sum_of_losses(loss, penalty, bias):
    x, labels, weight, rng = problem()
    properties.check(
        posed(objectives.primal, f"weights intercept x labels {WEIGHTS}"),
        rng.normal(size=3), np.array(0.3), x, labels, np.array(0.7), weight, CLASS_WEIGHT,
        reference=oracles.primal, by="NumPy float64", bfloat16=4.0,
        loss=loss, penalty=penalty, bias=bias,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "bias"), [("hinge", "free"), ("squared_hinge", "penalized")])
def test_the_dual_is_the_textbooks(loss, bias):
    x, labels, weight, _ = problem()
    properties.check(
        posed(objectives.dual, f"alpha gram labels {WEIGHTS}"),
        weight, kernel(x), labels, np.array(0.7), weight[::-1], CLASS_WEIGHT,
        reference=oracles.dual, by="NumPy float64", bfloat16=None, loss=loss, bias=bias,
    )  # fmt: skip


@pytest.mark.slow
def test_a_linear_gram_matrix_is_not_needed_to_multiply_with_it():
    x, labels, weight, _ = problem()

    def reference(alpha, x, labels, *, loss, C):
        return oracles.dual(alpha, x @ x.T, labels, C, None, None, loss=loss)

    properties.check(
        posed(objectives.dual, "alpha x labels"), weight, x, labels,
        reference=reference, by="NumPy float64", bfloat16=None, loss="hinge", C=0.7,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "bias"), [("hinge", "free"), ("squared_hinge", "penalized")])
def test_the_primal_of_a_kernel_is_that_of_its_features(loss, bias):
    x, labels, weight, _ = problem()

    def reference(alpha, gram, labels, C, intercept, *, loss, bias):
        features = np.linalg.cholesky(gram)
        w = features.T @ (oracles.signs(labels) * alpha)
        return oracles.primal(w, intercept, features, labels, C, None, None, loss=loss, bias=bias)

    properties.check(
        posed(objectives.kernel_primal, "alpha gram labels C intercept"),
        weight, kernel(x), labels, np.array(0.7), np.array(0.2),
        reference=reference, by="NumPy float64", bfloat16=None, vmap=False, loss=loss, bias=bias,
    )  # fmt: skip


def sides(loss, bias, alpha, gram, labels, C, **weights):
    """Primal, dual, residual and violation of the constraints, in float64."""
    settings = {"C": C, "loss": loss, "bias": bias, **weights}
    arrays = alpha, gram, labels
    return (
        oracles.evaluate(KERNEL_PRIMAL, *arrays, **settings),
        oracles.evaluate(DUAL, *arrays, **settings),
        oracles.evaluate(RESIDUAL, *arrays, **settings),
        oracles.evaluate(INFEASIBILITY, alpha, labels, **settings),
    )


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_scikit_learns_svc_is_where_primal_and_dual_meet(loss):
    x, labels, weight, _ = problem(rows=60)
    gram, C = kernel(x), 1.7
    c = oracles.costs(labels, C, weight, CLASS_WEIGHT)
    # With a ridge the hard margin is the squared hinge.
    ridge, price = (0.0, C) if loss == "hinge" else (np.diag(1 / (2 * c)), 1e8)
    machine = sklearn.svm.SVC(
        kernel="precomputed", C=price, tol=1e-9,
        class_weight=dict(enumerate(CLASS_WEIGHT)) if loss == "hinge" else None,
    )  # fmt: skip
    machine.fit(gram + ridge, labels, sample_weight=weight if loss == "hinge" else None)
    alpha = np.zeros(60)
    alpha[machine.support_] = np.abs(machine.dual_coef_[0])
    weights = {"sample_weight": weight, "class_weight": CLASS_WEIGHT}
    above, below, residual, outside = sides(loss, "free", alpha, gram, labels, C, **weights)
    assert 0 <= above - below + 1e-12 * above <= 1e-8 * above
    assert residual < 2e-6  # libsvm keeps its kernel in single precision
    assert outside < 1e-8
    properties.agree(
        DUAL,
        below,
        oracles.dual(alpha, gram, labels, C, weight, CLASS_WEIGHT, loss=loss),
        by="NumPy float64",
        rtol=1e-10,
    )
    outputs = gram @ (oracles.signs(labels) * alpha)
    (b,) = oracles.evaluate(OFFSETS, outputs, labels, C=C, loss=loss, **weights)
    properties.agree(OFFSETS, b, machine.intercept_[0], by="scikit-learn", rtol=1e-6)
    expected = oracles.cost(outputs + b, labels, C, weight, CLASS_WEIGHT, loss=loss)
    expected += (oracles.signs(labels) * alpha) @ outputs / 2
    properties.agree(KERNEL_PRIMAL, above, expected, by="NumPy float64", rtol=1e-10)
    known = {"C": C, "loss": loss, **weights}
    gap = oracles.evaluate(
        lambda a, f, y, **s: KERNEL_GAP(a, KnownProducts(f), y, **s),
        alpha, outputs, labels, **known,
    )  # fmt: skip
    np.testing.assert_allclose(gap, above - below, atol=1e-10)
    oracles.agree_that_it_closes(KERNEL_GAP, gap, above, by="scikit-learn", within=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("penalty", "bias"), [("l2", "penalized"), ("l2", "none"), ("l1", "penalized")]
)
def test_the_gap_of_scikit_learns_linear_svc_closes(penalty, bias):
    x, labels, _, _ = problem(rows=60)
    machine = sklearn.svm.LinearSVC(
        C=0.4, penalty=penalty, tol=1e-10, max_iter=100_000, fit_intercept=bias != "none",
        random_state=0,
    )  # fmt: skip
    machine.set_params(dual=False).fit(x, labels)
    w, b = machine.coef_[0], np.ravel(machine.intercept_)[0] if bias != "none" else np.array(0.0)
    settings = {"C": 0.4, "penalty": penalty, "bias": bias}
    alpha = oracles.evaluate(DUAL_POINT, x @ w + b, labels, C=0.4)
    if penalty == "l1":
        alpha = oracles.evaluate(SHRINK, alpha, x, labels, **settings)
    gap = oracles.evaluate(GAP, w, b, alpha, x, labels, **settings)
    above = oracles.primal(
        w, b, x, labels, 0.4, None, None, loss="squared_hinge", penalty=penalty, bias=bias
    )
    oracles.agree_that_it_closes(GAP, gap, above, by="scikit-learn", within=1e-7)


def test_the_hinge_of_scikit_learns_linear_svc_meets_the_best_dual_of_scipy():
    x, labels, _, _ = problem(rows=20)
    machine = sklearn.svm.LinearSVC(
        C=0.4, loss="hinge", tol=1e-10, max_iter=1_000_000, random_state=0
    ).fit(x, labels)
    settings = {"C": 0.4, "loss": "hinge", "bias": "penalized"}
    above = oracles.evaluate(
        PRIMAL, machine.coef_[0], np.ravel(machine.intercept_)[0], x, labels, **settings
    )
    signed = oracles.signs(labels)[:, None] * np.hstack([x, np.ones((20, 1))])
    best = scipy.optimize.minimize(
        lambda a: ((a @ signed) ** 2).sum() / 2 - a.sum(), np.zeros(20),
        jac=lambda a: signed @ (a @ signed) - 1, bounds=[(0, 0.4)] * 20,
        method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10},
    )  # fmt: skip
    properties.agree(PRIMAL, above, -best.fun, by="SciPy", rtol=1e-6)
    below = oracles.evaluate(DUAL, best.x, x @ x.T, labels, **settings)
    properties.agree(DUAL, below, -best.fun, by="SciPy", rtol=1e-10)
    residual = oracles.evaluate(RESIDUAL, best.x, x @ x.T, labels, **settings)
    assert residual < 1e-4


def test_logistic_regression_of_scikit_learn_has_no_gradient_left():
    x, labels, weight, _ = problem(rows=60)
    machine = sklearn.linear_model.LogisticRegression(C=0.4, tol=1e-10).fit(
        x, labels, sample_weight=weight
    )

    def slope(w, b, x, labels, weight):
        problem = Classification(labels, C=0.4, loss="logistic", x=x, sample_weight=weight)
        return jax.grad(objectives.primal, (1, 2))(problem, w, b)

    at = machine.coef_[0], np.array(machine.intercept_[0])
    for left in oracles.evaluate(slope, *at, x, labels, weight):
        assert np.abs(left).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_residual_is_0_at_the_best_alpha_and_there_only(loss, bias):
    x, labels, _, _ = problem(rows=12)
    gram, C = kernel(x), 0.8
    s = oracles.signs(labels)
    lifted = gram + (bias == "penalized") + (np.eye(12) / (2 * C) if loss != "hinge" else 0.0)
    quadratic = s[:, None] * lifted * s
    balance = {"type": "eq", "fun": lambda a: s @ a, "jac": lambda a: s}
    best = scipy.optimize.minimize(
        lambda a: a @ quadratic @ a / 2 - a.sum(), np.full(12, 0.1),
        jac=lambda a: quadratic @ a - 1, method="SLSQP",
        bounds=[(0, C if loss == "hinge" else None)] * 12,
        constraints=balance if bias == "free" else (),
        options={"ftol": 1e-15, "maxiter": 500},
    ).x  # fmt: skip
    best[best < 1e-9] = 0  # SciPy stops a rounding before the bounds
    if loss == "hinge":
        best[best > C - 1e-9] = C
    above, below, residual, outside = sides(loss, bias, best, gram, labels, C)
    assert outside < 1e-9
    assert residual < 1e-5
    assert abs(above - below) < 1e-6
    other = oracles.evaluate(
        PROJECT, best + np.linspace(-0.3, 0.3, 12), labels, C=C, loss=loss, bias=bias
    )
    above, below, residual, _ = sides(loss, bias, other, gram, labels, C)
    assert above - below > 1e-3
    assert residual > 1e-2


# Of few digits: in single precision, too, dual variables are on their bounds.
DYADIC = np.array([1.0, 0.5, 2.0, 0.25, 1.0, 0.25, 0.0])


@pytest.mark.slow
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_gaps_and_residuals_are_those_of_their_definitions(loss, bias):
    x, labels, _, rng = problem()
    weights = np.array(0.5), DYADIC, CLASS_WEIGHT
    alpha = definitions.corners(oracles.costs(labels, *weights))
    definitions.check_gaps(
        posed, f"labels {WEIGHTS}", rng.normal(size=3), np.array(0.3), alpha, x, labels, *weights,
        linear=definitions.gap, kernels=(definitions.kernel_gap, definitions.residual),
        loss=loss, bias=bias, penalty="l1" if bias == "none" else "l2",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("bias", ["free", "none"])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_infeasible_is_measured(loss, bias):
    _, labels, _, rng = problem()
    weights = np.array(0.5), DYADIC, CLASS_WEIGHT
    reach = definitions.limits(oracles.costs(labels, *weights), loss)
    # In turn below 0, above the bounds, and of another sum than 0.
    points = rng.uniform(-0.4, 1.0, size=(60, 7)) * np.where(np.isinf(reach), 1.0, reach)
    points[:20] = np.abs(points[:20]) * np.array([1.0, 0.1])[labels]
    points[20:40] *= 3 * (rng.uniform(size=7) > 0.5)

    def reference(points, labels, *weights, loss, bias):
        def of_one(alpha):
            total = abs(oracles.signs(labels) @ alpha) if bias == "free" else 0.0
            return max(0.0, (-alpha).max(), (alpha - reach).max(), total)

        return np.array([of_one(alpha) for alpha in points])

    infeasibility = posed(objectives.infeasibility, f"alpha labels {WEIGHTS}")

    def each(points, *rest, **kinds):
        return jax.vmap(lambda alpha: infeasibility(alpha, *rest, **kinds))(points)

    definitions.check(
        functools.update_wrapper(each, infeasibility), points, labels, *weights,
        reference=reference, loss=loss, bias=bias,
    )  # fmt: skip


@pytest.mark.parametrize("bias", BIASES)
def test_shrinking_counts_the_steepest_feature(bias):
    x, labels, weight, _ = problem()

    def reference(alpha, x, labels, *, bias):
        columns = [*x.T, np.ones(7)] if bias == "penalized" else x.T
        slopes = [abs((oracles.signs(labels) * alpha * column).sum()) for column in columns]
        return alpha / max(1.0, *slopes)

    # In turn no feature is steep, that of ones, and one of the data.
    for scale, size in [(0.1, 0.1), (0.1, 9.0), (3.0, 9.0)]:
        definitions.check(
            functools.wraps(SHRINK)(functools.partial(SHRINK, C=1.0)),
            size * weight, scale * x, labels, reference=reference, bias=bias,
        )  # fmt: skip


def test_the_dual_of_the_sum_of_magnitudes_has_no_quadratic_of_the_weights():
    _, labels, weight, _ = problem()

    def reference(alpha, labels, *weights, loss):
        return oracles.dual(alpha, np.zeros((7, 7)), labels, *weights, loss=loss)

    l1_dual = posed(objectives.dual, f"alpha labels {WEIGHTS}")
    for loss in LOSSES:
        definitions.check(
            functools.update_wrapper(functools.partial(l1_dual, penalty="l1"), l1_dual),
            weight, labels, np.array(0.7), weight[::-1], CLASS_WEIGHT,
            reference=reference, loss=loss,
        )  # fmt: skip


def test_costs_bounds_and_signs_of_rows():
    _, labels, weight, _ = problem()
    weights = np.array(0.5), weight, CLASS_WEIGHT

    def parts(problem, alpha):
        signed, (lower, upper) = problem.coefficients(alpha), problem.bounds(alpha)
        return signed / alpha, problem.costs(alpha), upper - lower

    def reference(alpha, labels, *weights, loss):
        del loss
        costs = oracles.costs(labels, *weights)
        return oracles.signs(labels), costs, costs

    parts = posed(functools.update_wrapper(parts, Classification.costs), f"alpha labels {WEIGHTS}")
    definitions.check(parts, weight, labels, *weights, reference=reference, loss="hinge")
    definitions.check(
        posed(objectives.cost, f"outputs labels {WEIGHTS}"), weight - 0.5, labels, *weights,
        reference=oracles.cost, loss="logistic",
    )  # fmt: skip


@functools.cache
def gaps(loss, bias):
    """Compiled once: three gaps of any primal point and the feasible point nearest to any alpha."""

    def of_points(w, b, anywhere, x, labels, C, weight):
        problem = Classification(labels, C=C, loss=loss, bias=bias, x=x, sample_weight=weight)
        sparse = dataclasses.replace(problem, penalty="l1")
        alpha, small = objectives.project(problem, anywhere), objectives.project(sparse, anywhere)
        return jnp.stack([
            objectives.duality_gap(problem, alpha, w, b),
            objectives.duality_gap(sparse, small, w, b),
            objectives.kernel_duality_gap(problem, alpha),
            -objectives.infeasibility(problem, alpha),
            -objectives.infeasibility(sparse, small),
        ])  # fmt: skip

    return references.plain_jit(of_points)


@pytest.mark.slow
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("loss", LOSSES)
@given(seed=st.integers(0, 10**6), C=st.floats(0.01, 10.0))
def test_a_feasible_dual_point_bounds_every_primal_point(loss, bias, seed, C):
    x, labels, weight, rng = problem(seed=seed)
    b = np.array(0.0 if bias == "none" else rng.normal())
    weight[3] = 0.0
    anywhere = 3 * C * rng.normal(size=7)
    with jax.enable_x64(True):
        found = gaps(loss, bias)(rng.normal(size=3), b, anywhere, x, labels, np.array(C), weight)
    assert (np.asarray(found) > -1e-12 * (1 + C)).all()


@pytest.mark.parametrize("bias", ["free", "none"])
def test_projecting_leaves_what_is_feasible(bias):
    labels = np.array([0, 1, 1, 0])
    alpha = np.array([0.3, 0.2, 0.1, 0.0])
    actual = oracles.evaluate(PROJECT, alpha, labels, C=0.3, loss="hinge", bias=bias)
    properties.agree(PROJECT, actual, alpha, by="itself, feasible", rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_other_intercept_costs_less(loss):
    _, labels, weight, rng = problem(rows=15)
    outputs = rng.normal(size=15)
    settings = {"C": 3.0, "loss": loss, "sample_weight": weight}
    (b,) = oracles.evaluate(OFFSETS, outputs, labels, **settings)

    def value(b):
        return oracles.cost(outputs + b, labels, 1.0, weight, None, loss=loss)

    kinks = oracles.signs(labels) - outputs
    between: Any = scipy.optimize.minimize_scalar(value, bounds=(kinks.min(), kinks.max()))
    least = min(min(map(value, kinks)), between.fun)  # the hinge's is at a kink
    assert value(b) <= least * (1 + 1e-10)


def test_gradients_pass_the_best_intercept_by():
    x, labels, weight, _ = problem()
    properties.check_gradients(
        jax.jit(lambda a, gram, y: KERNEL_PRIMAL(a, gram, y, C=0.7)),
        weight, kernel(x), jnp.asarray(labels),
    )  # fmt: skip


def test_the_dual_point_is_minus_the_slope_of_the_cost():
    _, labels, weight, rng = problem()

    def reference(outputs, labels, C, sample_weight):
        m = oracles.signs(labels) * outputs
        return 2 * C * sample_weight * np.maximum(0, 1 - m)

    properties.check(
        posed(objectives.dual_point, "outputs labels C sample_weight"),
        rng.normal(size=7), labels, np.array(0.7), weight,
        reference=reference, by="NumPy float64",
    )  # fmt: skip


def test_labels_that_are_traced_and_wrong_give_nan():
    call = jax.jit(lambda y: objectives.cost(Classification(y, C=1.0), jnp.ones(2)))
    assert np.isnan(call(jnp.array([0, 2])))


X, Y, A, G = jnp.ones((2, 3)), jnp.array([0, 1]), jnp.ones(2), jnp.eye(2)
W = X[0]


def problem_of(labels=Y, C: Any = 1.0, **settings):
    return Classification(labels, C=C, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: objectives.primal(problem_of(x=X), A), "`weights` must have shape (3,), got (2,)"),
        (lambda: objectives.primal(problem_of(gram=G), A), "`x` must be given for primal"),
        (lambda: problem_of(x=W), "`x` must have shape (2, features), got (3,)"),
        (lambda: problem_of(x=X, gram=G), "`x` must be None where `gram` is given, got both"),
        (lambda: problem_of(x=X * jnp.nan), "`x` must be finite, got NaN or infinity"),
        (lambda: problem_of(C=-1.0), "`C` must be a finite number > 0, got -1.0"),
        (lambda: problem_of(C=jnp.nan), "`C` must be a finite number > 0, got nan"),
        (lambda: problem_of(C=A), "`C` must be a scalar, got shape (2,); use jax.vmap for several"),
        (lambda: problem_of(labels=Y + 1), "`labels` must be integers in [0, 2) or boole"),
        (lambda: problem_of(labels=Y[:1], x=X), "`x` must have shape (1, features), got (2, 3)"),
        (lambda: problem_of(loss="hing"), "`loss` must be one of hinge, squared_hinge, logistic"),
        (lambda: problem_of(penalty="l3"), "`penalty` must be one of l1, l2, got 'l3'"),
        (lambda: problem_of(bias="fre"), "`bias` must be one of free, penalized, none"),
        (lambda: problem_of(sample_weight=-A), "`sample_weight` must be non-negative, got -1"),
        (lambda: problem_of(class_weight=W), "`class_weight` must have shape (2,), got (3,)"),
        (lambda: problem_of(gram=X), "`gram` must have shape (2, 2), got (2, 3)"),
        (lambda: problem_of(gram=G * jnp.inf), "`gram` must be finite, got NaN or infinity"),
        (lambda: objectives.dual(problem_of(), A), "`x` or `gram` must be given, got None"),
        (
            lambda: objectives.dual(problem_of(gram=G, loss="logistic"), A),
            "`loss` must be one of hinge, squared_hinge, got 'logistic'",
        ),
        (
            lambda: objectives.kkt_residual(problem_of(x=X, penalty="l1"), A),
            "`penalty` must be 'l2' for kkt_residual, got 'l1'",
        ),
        (lambda: objectives.dual(problem_of(gram=G), W), "`alpha` must have shape (2,), got (3,)"),
        (lambda: objectives.project(problem_of(), A * jnp.nan), "`alpha` must be finite, got NaN"),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: objectives.primal(problem_of(x=X), jnp.arange(3)),
            "`weights` must be floating-point, got int32",
        ),
        (lambda: problem_of(labels=A), "`labels` must be integers in [0, 2) or boole"),
        (
            lambda: objectives.dual(problem_of(gram=G), A.astype(jnp.bfloat16)),
            "`alpha`, `gram` must be all float32 or all float64, got bfloat16, float32",
        ),
    ],
)
def test_dtypes_that_do_not_fit_are_told(call, message):
    with properties.unchecked(), pytest.raises(TypeError, match=re.escape(message)):
        call()


@pytest.mark.slow
def test_a_problem_is_a_pytree_of_its_arrays_and_numbers():
    problem = Classification(Y, C=2.0, loss="hinge", x=X)
    assert len(jax.tree.leaves(problem)) == 3
    jax.tree.map(lambda leaf: None, problem)  # rebuilt without its checks
    slopes = jax.grad(objectives.primal, allow_int=True)(problem, W, 0.0)
    assert slopes.C == 4.0  # both outputs are 3: the sample of label 0 misses its margin by 4
    assert slopes.x.shape == X.shape
    assert slopes.loss == "hinge"
    assert dataclasses.replace(problem, C=3.0).C == 3.0
