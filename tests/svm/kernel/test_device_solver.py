"""The solver of many kernel problems, against libsvm by scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import svm
from sklearn.datasets import load_breast_cancer, load_diabetes

from jaxml.errors import InputError
from jaxml.svm.kernel import DualProblems
from jaxml.svm.kernel._device_solver import DeviceSolver
from jaxml.svm.kernels import bind, precomputed

ROWS = 128
GAMMA: Any = 0.05
C = 2.0


def data():
    x, labels = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return x[:ROWS], np.where(labels[:ROWS] == 1, 1.0, -1.0)


def problems(signs, C=C):
    """One problem in which all rows are columns of one group."""
    sign = signs[None, None]
    return DualProblems(np.zeros((1, 1), int), sign, -np.ones_like(sign), np.full_like(sign, C))


def solve(given, x, *, groups=1, kernel=None, x64=True, memory=2e9, size=None, **settings):
    settings = {"tolerance": 1e-7, **settings}
    with jax.enable_x64(x64):
        solver = DeviceSolver(
            given, kernel or bind("rbf", gamma=GAMMA),
            jnp.asarray(x, jnp.float64 if x64 else jnp.float32),
            np.arange(groups) * (len(x) // groups), memory=memory, size=size,
        )  # fmt: skip
        return solver.run(**settings)


def reference(x, signs, C=C):
    machine = svm.SVC(kernel="rbf", gamma=GAMMA, C=C, tol=1e-9).fit(x, signs)
    value = np.zeros(len(x))
    value[machine.support_] = np.abs(machine.dual_coef_[0])
    return value, objective(x, signs, value)


def objective(x, signs, value):
    distances = np.square(x[:, None] - x[None]).sum(-1)
    signed = signs * value
    return signed @ np.exp(-GAMMA * distances) @ signed / 2 - value.sum()


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 32, None])
def test_working_sets_of_any_size_lead_to_the_optimum_of_libsvm(size):
    x, signs = data()
    found = solve(problems(signs), x, size=size)
    value, least = reference(x, signs)
    assert found.converged
    assert found.progress.violation <= 1e-7
    np.testing.assert_allclose(found.progress.objective, least, rtol=1e-10)
    np.testing.assert_allclose(found.value[0, 0], value, atol=1e-5)
    assert abs((signs * found.value[0, 0]).sum()) < 1e-10
    assert (found.rounds[0] == 1) == (size is None)


@pytest.mark.slow
def test_a_cache_of_one_working_set_is_enough():
    x, signs = data()
    memory = float(9 * ROWS * 8)
    found = solve(problems(signs), x, size=8, memory=memory)
    np.testing.assert_allclose(found.progress.objective, reference(x, signs)[1], rtol=1e-10)


@pytest.mark.slow
def test_float32_reaches_a_tolerance_of_its_digits():
    x, signs = data()
    found = solve(problems(signs), x, x64=False, tolerance=1e-3, size=32)
    assert found.converged
    assert found.value.dtype == np.float32
    np.testing.assert_allclose(found.progress.objective, reference(x, signs)[1], rtol=1e-5)


@pytest.mark.slow
def test_problems_of_some_groups_see_only_those():
    x, signs = data()
    order = np.argsort(signs, kind="stable")
    minus, plus = x[order[:32]], x[order[-32:]]
    other = plus[::-1] * 0.7 + minus * 0.3
    groups = np.array([[0, 1], [0, 2], [1, 2]])
    sign = np.repeat([1.0, -1.0], 32)[None, None] * np.ones((3, 1, 1))
    given = DualProblems(groups, sign, -np.ones_like(sign), np.full_like(sign, C))
    parts = np.stack([minus, plus, other])
    found = solve(given, parts.reshape(96, -1), groups=3, size=16)
    assert found.converged
    total = 0.0
    for index, (a, b) in enumerate(groups):
        value, least = reference(np.concatenate(parts[[a, b]]), sign[0, 0])
        np.testing.assert_allclose(found.value[index, 0], value, atol=1e-5)
        total += least
    np.testing.assert_allclose(found.progress.objective, total, rtol=1e-10)


@pytest.mark.slow
def test_two_variables_per_column_solve_regression():
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:ROWS] * 20, np.asarray(y)[:ROWS] / 50
    ones = np.ones(ROWS)
    given = DualProblems(
        np.zeros((1, 1), int), np.stack([ones, -ones])[None],
        np.stack([0.1 - y, 0.1 + y])[None], np.full((1, 2, ROWS), C),
    )  # fmt: skip
    found = solve(given, x, size=32)
    machine = svm.SVR(gamma=GAMMA, C=C, epsilon=0.1, tol=1e-9).fit(x, y)
    beta = np.zeros(ROWS)
    beta[machine.support_] = machine.dual_coef_[0]
    np.testing.assert_allclose(found.value[0, 0] - found.value[0, 1], beta, atol=1e-4)
    assert (np.minimum(found.value[0, 0], found.value[0, 1]) == 0).all()


def test_scores_are_minus_sign_times_gradient():
    x, signs = data()
    found = solve(problems(signs), x, max_rounds=2, size=8)
    assert not found.converged
    distances = np.square(x[:, None] - x[None]).sum(-1)
    products = np.exp(-GAMMA * distances) @ (signs * found.value[0, 0])
    np.testing.assert_allclose(found.score[0, 0], signs - products, atol=1e-12)
    np.testing.assert_array_equal(found.rounds, [2])


@pytest.mark.slow
def test_a_budget_of_rounds_can_go_on():
    x, signs = data()
    short = solve(problems(signs), x, max_rounds=3, size=8)
    rest = solve(problems(signs), x, start=short.value, size=8)
    assert rest.converged
    seen = []
    solve(problems(signs), x, start=rest.value, report=seen.append, size=8)
    assert [progress.rounds for progress in seen] == [0]
    np.testing.assert_allclose(rest.progress.objective, reference(x, signs)[1], rtol=1e-10)


def test_an_interruption_keeps_what_was_reached():
    x, signs = data()
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.rounds == 3:
            raise KeyboardInterrupt

    found = solve(problems(signs), x, report=stop, size=8)
    assert found.interrupted
    assert not found.converged
    np.testing.assert_allclose(found.progress.objective, seen[-1].objective)
    assert seen[-1].objective < seen[1].objective < seen[0].objective == 0
    assert solve(problems(signs), x, start=found.value).converged


@pytest.mark.slow
def test_the_objective_never_rises():
    x, signs = data()
    seen = []
    solve(problems(signs), x, report=seen.append, size=8)
    values = np.array([progress.objective for progress in seen])
    assert len(values) > 5
    assert (np.diff(values) <= 1e-12).all()


@pytest.mark.slow
def test_what_no_digits_can_hold_ends_nevertheless():
    x, signs = data()
    found = solve(problems(signs, C=1e4), x, x64=False, tolerance=1e-12)
    assert not found.converged  # although there is no limit on the rounds
    assert np.isfinite(found.progress.objective)


def test_nan_is_not_solved():
    _, signs = data()
    matrix = np.full((ROWS, ROWS), np.nan)
    assert not solve(problems(signs), matrix, kernel=precomputed).converged


def test_too_little_memory_is_an_error():
    x, signs = data()
    with pytest.raises(
        InputError, match=r"`cache_size` must be at least .* to hold a working set of 8 rows"
    ):
        solve(problems(signs), x, size=8, memory=100.0)


def test_reports_have_the_gap_and_the_number_of_support_vectors():
    x, signs = data()
    seen: list[Any] = []
    found = solve(problems(signs), x, max_rounds=2, tolerance=1e-3, size=8, report=seen.append)
    value, score = found.value[0, 0], found.score[0, 0]
    outputs = signs - score  # without an intercept
    intercept = score[(value > 0) & (value < C)].mean()
    hinges = np.maximum(0, 1 - signs * (outputs + intercept))
    norm = (signs * value) @ outputs
    primal, dual = norm / 2 + C * hinges.sum(), value.sum() - norm / 2
    assert seen[-1].num_support == np.count_nonzero(value) < ROWS
    np.testing.assert_allclose(seen[-1].gap, primal - dual, rtol=1e-9)
    np.testing.assert_allclose(seen[-1].objective, -dual, rtol=1e-9)


@pytest.mark.slow
def test_what_is_no_variable_stays_zero_and_has_no_score():
    x, signs = data()
    given = problems(signs)
    given.upper[..., ::3] = 0.0
    found = solve(given, x, size=16)
    assert found.converged
    assert (found.value[..., ::3] == 0).all()
    assert (found.score[..., ::3] == 0).all()
    kept = np.arange(ROWS) % 3 > 0
    np.testing.assert_allclose(
        found.progress.objective, reference(x[kept], signs[kept])[1], rtol=1e-10
    )
