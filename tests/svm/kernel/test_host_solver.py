"""Dual problems on the host: optimal beside libsvm, whichever method solves them."""

import numpy as np
import pytest
from sklearn import svm

from jaxml.svm.kernel import _host_solver, _interior_point
from jaxml.svm.kernel._host_problem import host_problem
from jaxml.svm.kernel._host_solver import Limits

RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 4))
LABELS = np.where(X[:, 0] + X[:, 1] ** 2 + 0.7 * RNG.normal(size=120) > 0.8, 1.0, -1.0)
TARGETS = X[:, 0] + np.sin(3 * X[:, 1]) + 0.3 * RNG.normal(size=120)
WEIGHTS = RNG.choice([0.0, 0.5, 2.0], size=120)
GRAM = np.exp(-0.3 * np.square(X[:, None] - X[None]).sum(-1))
TOLERANCE = 1e-6


def classification(C=5.0):
    """A problem with bounds of different sizes, and libsvm's dual."""
    upper = C * WEIGHTS
    used = np.flatnonzero(WEIGHTS)  # scikit-learn's support_ is wrong with weights of 0
    gram = GRAM[np.ix_(used, used)]
    wanted = svm.SVC(kernel="precomputed", C=C, tol=1e-9).fit(gram, LABELS[used], WEIGHTS[used])
    beta = wanted.dual_coef_[0]
    part = gram[np.ix_(wanted.support_, wanted.support_)]
    sign, linear = LABELS[None], -np.ones((1, 120))
    dual = np.abs(beta).sum() - beta @ part @ beta / 2
    return (sign, linear, upper[None], np.zeros((1, 120))), False, dual


def regression(C=5.0, epsilon=0.1):
    wanted = svm.SVR(kernel="precomputed", C=C, epsilon=epsilon, tol=1e-9).fit(GRAM, TARGETS)
    beta = wanted.dual_coef_[0]
    support = wanted.support_
    part = GRAM[np.ix_(support, support)]
    dual = TARGETS[support] @ beta - epsilon * np.abs(beta).sum() - beta @ part @ beta / 2
    sign = np.array([1.0, -1.0])[:, None] * np.ones(120)
    linear = np.stack([epsilon - TARGETS, epsilon + TARGETS])
    return (sign, linear, np.full((2, 120), C), np.zeros((2, 120))), False, dual


def two_constraints(nu=0.3):
    wanted = svm.NuSVC(kernel="precomputed", nu=nu, tol=1e-9).fit(GRAM, LABELS)
    beta = wanted.dual_coef_[0] / np.abs(wanted.dual_coef_[0]).sum() * nu * 120
    part = GRAM[np.ix_(wanted.support_, wanted.support_)]
    start = np.zeros((1, 120))
    for sign in (1, -1):
        mine = np.flatnonzero(sign == LABELS)
        start[0, mine] = np.clip(nu * 60 - np.arange(len(mine)), 0, 1)
    parts = (LABELS[None], np.zeros((1, 120)), np.ones((1, 120)), start)
    return parts, True, -beta @ part @ beta / 2


PROBLEMS = {"classes": classification, "tube": regression, "two constraints": two_constraints}


def read(name):
    parts, two, dual = PROBLEMS[name]()
    problem = host_problem(*parts, two=two)
    kernel = GRAM[np.ix_(problem.columns, problem.columns)]
    return problem, kernel, parts[3].reshape(-1)[problem.index], dual


def check(problem, kernel, value, wanted, tolerance=TOLERANCE):
    """Feasible, optimal by the conditions of optimality, and as good as libsvm's."""
    assert (value >= 0).all()
    assert (value <= problem.upper).all()
    np.testing.assert_allclose(problem.totals(value), problem.total, atol=1e-12)
    signed = problem.sign[:, None] * problem.sign
    inner = signed * kernel[np.ix_(problem.column, problem.column)]
    score = -problem.sign * (inner @ value + problem.linear)
    for part in problem.constraints:
        sign, at, top = problem.sign[part], value[part], problem.upper[part]
        rising = np.where(sign > 0, at < top, at > 0)
        falling = np.where(sign > 0, at > 0, at < top)
        assert score[part][rising].max() - score[part][falling].min() <= tolerance
    dual = -(value @ inner @ value / 2 + problem.linear @ value)
    np.testing.assert_allclose(dual, wanted, rtol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_interior_point_method_reaches_the_optimum(name):
    problem, kernel, _, wanted = read(name)
    check(problem, kernel, _interior_point.solve(problem, kernel, TOLERANCE), wanted)


@pytest.mark.parametrize("name", PROBLEMS)
def test_moving_pairs_reaches_the_optimum(name):
    problem, kernel, value, wanted = read(name)
    score = problem.scores(kernel, value)
    value, steps = _host_solver.move_pairs(problem, kernel, value, score, TOLERANCE, 100_000)
    assert 0 < steps < 100_000
    check(problem, kernel, problem.project(value), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [1024, 32])
@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_as_a_whole_and_by_working_sets(name, whole, monkeypatch):
    monkeypatch.setattr(_host_solver, "LARGEST_WHOLE", whole)
    monkeypatch.setattr(_host_solver, "_WORKING_SET", 32)
    monkeypatch.setattr(_host_solver, "_CACHE_BYTES", 8 * 120 * 40)  # rows have to make room
    problem, kernel, value, wanted = read(name)
    reported = []
    found = _host_solver.solve(
        problem,
        lambda i, j: kernel[np.ix_(i, j)],
        value,
        Limits(TOLERANCE, report=reported.append),
    )
    assert found.violation <= TOLERANCE
    check(problem, kernel, found.value, wanted)
    assert [now.rounds for now in reported] == list(range(1, found.rounds + 1))


def test_a_budget_of_rounds_ends_with_feasible_values():
    problem, kernel, value, _ = read("classes")
    found = _host_solver.solve(problem, lambda *_: kernel, value, Limits(1e-15, max_rounds=1))
    assert found.rounds == 1
    assert found.violation > 1e-15
    np.testing.assert_allclose(problem.totals(found.value), problem.total, atol=1e-12)


def test_an_interruption_returns_the_best_values():
    problem, kernel, value, _ = read("tube")

    def stop(now):
        raise KeyboardInterrupt

    found = _host_solver.solve(problem, lambda *_: kernel, value, Limits(1e-15, report=stop))
    assert found.interrupted
    assert found.violation < problem.violation(value, problem.scores(kernel, value))


def test_samples_that_occur_many_times_have_a_singular_kernel():
    kernel = np.ones((40, 40))
    sign = np.where(np.arange(40) < 20, 1.0, -1.0)[None]
    problem = host_problem(sign, -np.ones((1, 40)), np.ones((1, 40)), np.zeros((1, 40)), two=False)
    for value in (
        _interior_point.solve(problem, kernel, 1e-6),
        _host_solver.solve(problem, lambda *_: kernel, np.zeros(40), Limits(1e-6)).value,
    ):
        np.testing.assert_allclose(value, 1, atol=1e-6)  # nothing tells them apart


def test_projection_changes_what_has_room():
    sign, upper = np.array([[1.0, 1, -1, -1]]), np.ones((1, 4))
    problem = host_problem(sign, 0 * sign, upper, 0 * sign, two=False)
    found = problem.project(np.array([1.0, 0.25, 1.0, 0.24]))
    assert found[0] == found[2] == 1  # at their bounds they stay
    assert found[1] + found[0] == pytest.approx(found[2] + found[3], abs=1e-15)
    moved = problem.project(np.array([1.0, 0.0, 0.0, 0.0]))  # only those at bounds have room
    assert moved[0] + moved[1] == pytest.approx(moved[2] + moved[3], abs=1e-15)


def test_indefinite_kernels_end():
    kernel = np.tanh(0.5 * X @ X.T - 1)
    parts, _, _ = classification()
    problem = host_problem(*parts, two=False)
    kernel = kernel[np.ix_(problem.columns, problem.columns)]
    start = np.zeros(len(problem.index))
    found = _host_solver.solve(problem, lambda *_: kernel, start, Limits(1e-3))
    assert np.isfinite(found.value).all()
    assert found.violation <= 1e-3
