"""Classification with several classes against NumPy, SciPy and scikit-learn."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import sklearn.datasets
import sklearn.svm
from hypothesis import given
from hypothesis import strategies as st

from jaxml.svm import objectives, reductions
from jaxml.svm.objectives import Classification, Multiclass
from tests import properties, references
from tests.svm import oracles
from tests.svm.objectives import definitions

LOSSES = ["crammer_singer", "weston_watkins"]
FORMS = [(loss, squared) for loss in LOSSES for squared in (False, True)]
WEIGHTS = "C sample_weight class_weight"
CLASS_WEIGHT = np.array([0.5, 2.0, 1.0])

posed = functools.partial(oracles.posed, functools.partial(Multiclass, num_classes=3))
PRIMAL = posed(objectives.primal, "weights intercept x labels")
DUAL = posed(objectives.dual, "alpha gram labels")
GAP = posed(objectives.duality_gap, "weights intercept alpha x labels")
KERNEL_GAP = posed(objectives.kernel_duality_gap, "alpha gram labels")
RESIDUAL = posed(objectives.kkt_residual, "alpha gram labels")
INFEASIBILITY = posed(objectives.infeasibility, "alpha labels")


def problem(rows=8, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int32) % 3
    x = rng.normal(size=(rows, 2)) + np.array([[1.0, 0.0], [-0.5, 1.0], [-0.5, -1.0]])[labels]
    return x, labels, rng.uniform(0.2, 1.5, size=rows), rng


def test_one_vs_rest_trains_one_machine_a_class_at_once():
    x, labels = sklearn.datasets.load_iris(return_X_y=True)
    machine = sklearn.svm.LinearSVC(C=0.5, tol=1e-8, max_iter=10_000)
    machine.set_params(dual=False).fit(x, labels)

    def values(weights, intercepts, x, labels):
        signs = reductions.one_vs_rest(labels, num_classes=3, dtype=x.dtype)

        def value(w, b, signs):
            problem = Classification(signs > 0, C=0.5, bias="penalized", x=x)
            return objectives.primal(problem, w, b)

        return signs, jax.vmap(jax.value_and_grad(value))(weights, intercepts, signs)

    signs, (found, slopes) = oracles.evaluate(
        values, machine.coef_, machine.intercept_, x, labels.astype(np.int32)
    )
    expected_signs = np.stack([oracles.signs(labels == c) for c in range(3)])
    properties.agree(reductions.one_vs_rest, signs, expected_signs, by="NumPy float64")
    loss = {"loss": "squared_hinge", "bias": "penalized"}
    expected = [
        oracles.primal(w, b, x, labels == c, 0.5, None, None, **loss)
        for c, (w, b) in enumerate(zip(machine.coef_, np.ravel(machine.intercept_), strict=True))
    ]  # fmt: skip
    properties.agree(objectives.primal, found, np.array(expected), by="NumPy float64", rtol=1e-10)
    assert np.abs(slopes).max() < 1e-4  # scikit-learn's are the best weights


def test_one_vs_one_decides_as_scikit_learn():
    x, labels = sklearn.datasets.load_digits(return_X_y=True)
    pairs_of, wide = (
        sklearn.svm.SVC(decision_function_shape=shape)
        .set_params(gamma=0.001)
        .fit(x[:300], labels[:300])
        for shape in ("ovo", "ovr")
    )
    decisions = pairs_of.decision_function(x[300:600])
    assert decisions.shape[1] == len(reductions.pairs(10)) == 45
    found = oracles.evaluate(reductions.vote, decisions, num_classes=10)
    properties.agree(reductions.vote, found, pairs_of.predict(x[300:600]), by="scikit-learn")
    found = oracles.evaluate(reductions.one_vs_rest_decisions, decisions, num_classes=10)
    properties.agree(
        reductions.one_vs_rest_decisions, found, wide.decision_function(x[300:600]),
        by="scikit-learn", rtol=1e-12,
    )  # fmt: skip
    # Each machine has seen its two classes only, the first of them positive.
    signs, mask = oracles.evaluate(
        reductions.one_vs_one, labels[:300].astype(np.int32), num_classes=10
    )
    for (a, b), s, m in zip(reductions.pairs(10), signs, mask, strict=True):
        properties.agree(
            reductions.one_vs_one, m, np.isin(labels[:300], [a, b]), by="NumPy float64"
        )
        properties.agree(
            reductions.one_vs_one, s * m, (labels[:300] == a) * 1.0 - (labels[:300] == b),
            by="NumPy float64",
        )  # fmt: skip
    properties.agree(
        reductions.pairs, reductions.pairs(4), [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)],
        by="by hand",
    )  # fmt: skip


def test_votes_are_counted_and_ties_go_to_the_first():
    def reference(decisions):
        counted = np.zeros((*decisions.shape[:-1], 4))
        for index in np.ndindex(decisions.shape[:-1]):
            for d, (a, b) in zip(decisions[index], reductions.pairs(4), strict=True):
                counted[(*index, a if d > 0 else b)] += 1
        return counted

    decisions = np.random.default_rng(0).normal(size=(5, 6))
    decisions[0] = 0.0, -1.0, 1.0, 1.0, -1.0, 1.0
    votes = functools.partial(reductions.votes, num_classes=4)
    functools.update_wrapper(votes, reductions.votes)
    properties.check(votes, decisions, reference=reference, by="NumPy float64", grads=0)
    cycle = jnp.array([1.0, -1.0, 1.0])  # each of three classes wins once
    assert int(reductions.vote(cycle, num_classes=3)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "squared"), [("crammer_singer", False), ("weston_watkins", True)])
def test_the_primal_and_the_dual_are_the_textbooks(loss, squared):
    x, labels, weight, rng = problem()
    rest = labels, np.array(0.7), weight, CLASS_WEIGHT
    settings = {"loss": loss, "squared": squared, "by": "NumPy float64"}
    properties.check(
        posed(objectives.primal, f"weights intercept x labels {WEIGHTS}"),
        rng.normal(size=(2, 3)), rng.normal(size=3), x, *rest,
        reference=oracles.multiclass_primal, bfloat16=4.0, **settings,
    )  # fmt: skip
    properties.check(
        posed(objectives.dual, f"alpha gram labels {WEIGHTS}"),
        rng.normal(size=(8, 3)), x @ x.T, *rest,
        reference=oracles.multiclass_dual, bfloat16=None, **settings,
    )  # fmt: skip


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_crammer_and_singers_optimum_of_scikit_learn_has_a_dual_that_meets_it(fit_intercept):
    x, labels, _, _ = problem(rows=30)
    machine = sklearn.svm.LinearSVC(
        multi_class="crammer_singer", C=0.5, tol=1e-9, max_iter=1_000_000, random_state=0,
        fit_intercept=fit_intercept,
    ).fit(x, labels)  # fmt: skip
    bias = "penalized" if fit_intercept else "none"
    w, b = machine.coef_.T, np.broadcast_to(machine.intercept_, 3)
    settings = {"loss": "crammer_singer", "bias": bias}
    above = oracles.evaluate(PRIMAL, w, b, x, labels, C=0.5, **settings)
    alpha, best = best_dual(x, labels, 0.5, squared=False, **settings)
    properties.agree(PRIMAL, above, best, by="SciPy", rtol=1e-6)
    gap = oracles.evaluate(GAP, w, b, alpha, x, labels, C=0.5, **settings)
    oracles.agree_that_it_closes(GAP, gap, above, by="scikit-learn", within=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "squared"), FORMS)
def test_the_residual_is_0_where_primal_and_dual_meet(loss, squared):
    x, labels, _, _ = problem(rows=12)
    settings = {"C": 0.5, "loss": loss, "squared": squared}
    alpha, best = best_dual(x, labels, bias="penalized", **settings)
    arrays = alpha, x @ x.T, labels
    properties.agree(DUAL, oracles.evaluate(DUAL, *arrays, **settings), best, by="SciPy", rtol=1e-8)
    gap = oracles.evaluate(KERNEL_GAP, *arrays, **settings)
    oracles.agree_that_it_closes(KERNEL_GAP, gap, best, by="SciPy", within=1e-5)
    assert oracles.evaluate(INFEASIBILITY, alpha, labels, bias="none", **settings) < 1e-8
    assert oracles.evaluate(RESIDUAL, *arrays, **settings) < 2e-3
    other = 0.5 * alpha
    assert oracles.evaluate(KERNEL_GAP, other, *arrays[1:], **settings) > 1e-2
    assert oracles.evaluate(RESIDUAL, other, *arrays[1:], **settings) > 1e-2


def best_dual(x, labels, C, *, loss, squared, bias):
    """SciPy's alpha and its value: the other classes' are variables, the own is minus their sum."""
    rows = len(x)
    gram = x @ x.T + (bias == "penalized")
    others = [[m for m in range(3) if m != y] for y in labels]

    def expand(free):
        alpha = np.zeros((rows, 3))
        for i, columns in enumerate(others):
            alpha[i, columns] = -free[2 * i : 2 * i + 2]
            alpha[i, labels[i]] = free[2 * i : 2 * i + 2].sum()
        return alpha

    def minus_dual(free):
        weight = np.ones(rows)
        alpha = expand(free)
        value = oracles.multiclass_dual(
            alpha, gram, labels, C, weight, None, loss=loss, squared=squared, bias="none"
        )
        slope = -(gram @ alpha)
        if squared and loss == "crammer_singer":
            slope[np.arange(rows), labels] -= alpha[np.arange(rows), labels] / (2 * C)
        for i, columns in enumerate(others):
            slope[i, columns] -= 1
            if squared and loss == "weston_watkins":
                slope[i, columns] -= alpha[i, columns] / (2 * C)
        lead = [slope[i, y] - slope[i, m] for i, y in enumerate(labels) for m in others[i]]
        return -value, -np.array(lead)

    reach = C if loss == "weston_watkins" and not squared else None
    constraints = ()
    if loss == "crammer_singer" and not squared:
        share = np.kron(np.eye(rows), np.ones((1, 2)))
        constraints = {"type": "ineq", "fun": lambda f: C - share @ f, "jac": lambda f: -share}
    found = scipy.optimize.minimize(
        minus_dual, np.full(2 * rows, C / 4), jac=True, bounds=[(0, reach)] * 2 * rows,
        method="SLSQP", constraints=constraints, options={"ftol": 1e-14, "maxiter": 1000},
    ).x  # fmt: skip
    found[found < 1e-7] = 0  # SciPy stops a little before the bounds
    if reach is not None:
        found[found > reach - 1e-7] = reach
    if constraints:  # the bound is on the sum of a row
        for pair in found.reshape(rows, 2):
            if pair.sum() > C - 1e-7:
                pair[pair.argmax()] = C - pair.min()
    return expand(found), -minus_dual(found)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "squared"), FORMS)
def test_gaps_and_residuals_are_those_of_their_definitions(loss, squared):
    x, labels, _, rng = problem(rows=6)
    # Of few digits: in single precision, too, dual variables are on their bounds.
    weights = np.array(0.5), np.array([1.0, 0.5, 2.0, 0.25, 1.0, 0.0]), CLASS_WEIGHT
    c = oracles.costs(labels, *weights)[:, None]
    others = -c * np.array([[0, 0.5], [1, 0], [0.25, 0.5], [0.25, 0.75], [0, 0], [0, 0]])
    alpha = np.stack([np.insert(o, y, -o.sum()) for o, y in zip(others, labels, strict=True)])
    form = {"loss": loss, "squared": squared}
    gram, bias = x @ x.T, "penalized" if squared else "none"
    for function, reference in [
        (objectives.kernel_duality_gap, definitions.multiclass_kernel_gap),
        (objectives.kkt_residual, definitions.multiclass_residual),
    ]:
        definitions.check(
            posed(function, f"alpha gram labels {WEIGHTS}"), alpha, gram, labels, *weights,
            reference=reference, bias=bias, **form,
        )  # fmt: skip
    intercept = rng.normal(size=3)
    definitions.check(
        posed(objectives.kernel_duality_gap, f"alpha gram labels intercept {WEIGHTS}"),
        alpha, gram, labels, intercept, *weights,
        reference=definitions.multiclass_kernel_gap, bias="free", **form,
    )  # fmt: skip
    definitions.check(
        posed(objectives.duality_gap, f"weights intercept alpha x labels {WEIGHTS}"),
        rng.normal(size=(2, 3)), intercept, alpha, x, labels, *weights,
        reference=definitions.multiclass_gap, bias=bias, **form,
    )  # fmt: skip
    definitions.check(
        posed(objectives.cost, f"outputs labels {WEIGHTS}"),
        rng.normal(size=(6, 3)), labels, *weights,
        reference=definitions.multiclass_cost, **form,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "squared"), FORMS)
def test_what_is_infeasible_is_measured(loss, squared):
    bias = "free" if squared else "none"
    _, labels, weight, rng = problem(rows=4)
    weights = np.array(0.5), weight, CLASS_WEIGHT
    signs = np.where(labels[:, None] == np.arange(3), 1.0, -0.5)
    # In turn a sum of a row, a sum of a column, and an entry beyond a bound.
    feasible = 0.1 * np.array([signs] * 3)
    points = np.concatenate([feasible, feasible, feasible])
    points[:3, 1, 1] += [0.1, 0.2, 0.4]
    points[6:, 0] += rng.normal(size=(3, 1)) * np.array([1.0, -2.0, 1.0])

    def reference(points, labels, *weights, bias, **form):
        def of_one(alpha):
            lower, upper = definitions.multiclass_limits(alpha, labels, *weights, **form)
            beyond = np.maximum(lower - alpha, alpha - upper)
            columns = np.abs(alpha.sum(axis=0)) if bias == "free" else [0.0]
            return max(0.0, beyond.max(), np.abs(alpha.sum(axis=1)).max(), *columns)

        return np.array([of_one(alpha) for alpha in points])

    of_weights = posed(objectives.infeasibility, f"alpha labels {WEIGHTS}")

    def infeasibility(points, labels, *weights, **settings):
        return jax.vmap(lambda alpha: of_weights(alpha, labels, *weights, **settings))(points)

    functools.update_wrapper(infeasibility, INFEASIBILITY)
    definitions.check(
        infeasibility, points, labels, *weights,
        reference=reference, loss=loss, squared=squared, bias=bias,
    )  # fmt: skip


@functools.cache
def gaps(loss, squared):
    """Compiled once: the gaps of any primal point and the feasible point nearest to any alpha."""

    def of_points(w, b, anywhere, x, labels, C, weight):
        settings = {"num_classes": 3, "C": C, "loss": loss, "squared": squared}
        problem = Multiclass(labels, x=x, sample_weight=weight, **settings)
        alpha = objectives.project(problem, anywhere)
        return alpha, jnp.stack([
            objectives.duality_gap(problem, alpha, w, b),
            objectives.kernel_duality_gap(problem, alpha),
            -objectives.infeasibility(problem, alpha),
        ])  # fmt: skip

    return references.plain_jit(of_points)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "squared"), FORMS)
@given(seed=st.integers(0, 10**6), C=st.floats(0.01, 10.0))
def test_a_feasible_dual_point_bounds_every_primal_point(loss, squared, seed, C):
    x, labels, weight, rng = problem(seed=seed)
    weight[3] = 0.0
    anywhere = 3 * C * rng.normal(size=(8, 3))
    with jax.enable_x64(True):
        alpha, found = gaps(loss, squared)(
            rng.normal(size=(2, 3)), rng.normal(size=3), anywhere, x, labels, np.array(C), weight
        )
    assert (np.asarray(found) > -1e-12 * (1 + C)).all()
    form = {"loss": loss, "squared": squared}
    expected = definitions.multiclass_nearest(anywhere, labels, C, weight, None, **form)
    properties.agree(objectives.project, alpha, expected, by="SciPy", rtol=1e-9)


X, Y, A, G = jnp.ones((2, 3)), jnp.array([0, 1]), jnp.ones((2, 2)), jnp.eye(2)


def problem_of(labels=Y, C=1.0, **settings):
    return Multiclass(labels, num_classes=2, C=C, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reductions.one_vs_rest(Y + 1, num_classes=2),
            "`labels` must be integers in [0, 2), got 2",
        ),
        (
            lambda: reductions.one_vs_one(Y[None], num_classes=2),
            "`labels` must have shape (samples,), got (1, 2)",
        ),
        (lambda: reductions.pairs(1), "`num_classes` must be an int >= 2, got 1"),
        (
            lambda: reductions.vote(X, num_classes=4),
            "`decisions` must have shape (..., 6) for 4 classes, got (2, 3)",
        ),
        (
            lambda: objectives.primal(problem_of(x=X), A),
            "`weights` must have shape (3, 2), got (2,",
        ),
        (lambda: problem_of(C=-1.0), "`C` must be a finite number > 0, got -1.0"),
        (lambda: problem_of(labels=Y + 1), "`labels` must be integers in [0, 2), got 2"),
        (lambda: problem_of(gram=X), "`gram` must have shape (2, 2), got (2, 3)"),
        (lambda: problem_of(loss="ovr"), "`loss` must be one of crammer_singer, weston_watkins"),
        (
            lambda: objectives.project(problem_of(bias="free"), A),
            "`bias` must be 'penalized' or 'none' for project, got 'free'",
        ),
        (
            lambda: objectives.kernel_duality_gap(problem_of(gram=G, bias="free"), A),
            "`offsets` must hold the intercept where it is free, got none",
        ),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        call()
