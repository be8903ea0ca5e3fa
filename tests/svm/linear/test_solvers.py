"""Linear problems reach a certified optimum, whichever way the Newton system is solved."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sklearn.datasets import load_digits

from jaxml.svm.linear import (
    LOSSES,
    DenseExamples,
    LinearProblems,
    SparseExamples,
    StreamedExamples,
    _l1,
    _newton,
    _newton_system,
    certify,
    solve,
)

solve_l1 = functools.partial(solve, loss="squared_hinge", penalty="l1")
COUNT = 256
CLASSES = 3


def digits():
    x, labels = load_digits(return_X_y=True)
    return (x[:COUNT] / 16).astype(np.float32), labels[:COUNT]


def problems_of(loss, *, intercept=1.0, epsilon=0.1):
    _, labels = digits()
    if loss.endswith("hinge"):
        target = np.where(np.arange(CLASSES)[:, None] == labels, 1.0, -1.0)
    else:
        target = np.stack([labels / 9, np.sin(labels), labels % 2])
    C = np.array([[0.1], [1.0], [3.0]])
    weight = np.random.default_rng(0).uniform(0.5, 2, COUNT) * (np.arange(COUNT) % 9 > 0)
    return LinearProblems(
        target,
        C * weight,
        np.full(CLASSES, 0.0 if loss.endswith("hinge") else epsilon),
        np.full(CLASSES, intercept),
    )


def losses_of(problems, products, loss):
    """The textbook's, in NumPy."""
    target, cost, epsilon, _ = (np.asarray(part, np.float64) for part in problems)
    if loss.endswith("hinge"):
        excess = np.maximum(0, 1 - target * products)
    else:
        excess = np.maximum(0, np.abs(target - products) - epsilon[:, None])
    return cost * excess ** (2 if loss.startswith("squared") else 1)


def primal_of(problems, x, weights, intercept, loss, l1=False):
    own = np.asarray(problems.intercept_penalty, np.float64)
    lost = losses_of(problems, weights @ x.T + intercept[:, None], loss).sum(1)
    if l1:
        return np.abs(weights).sum(1) + own * np.abs(intercept) + lost
    return (np.square(weights).sum(1) + own * intercept**2) / 2 + lost


def dual_of(problems, x, variables, loss, l1=False):
    """Of feasible variables alone: whether they are is asserted."""
    target, cost, epsilon, own = (np.asarray(part, np.float64) for part in problems)
    if loss.endswith("hinge"):
        assert (variables * target >= 0).all()
    if not loss.startswith("squared"):
        assert (np.abs(variables) <= cost).all()
    assert not variables[cost == 0].any()
    value = (target * variables - epsilon[:, None] * np.abs(variables)).sum(1)
    if loss.startswith("squared"):
        value -= (variables**2 / (4 * np.where(cost > 0, cost, 1))).sum(1)
    sums, total = variables @ x, variables.sum(1)
    np.testing.assert_allclose(total[own == 0], 0, atol=1e-9)
    if l1:
        assert (np.abs(sums) <= 1 + 1e-12).all()
        assert (np.abs(total[own > 0]) <= 1 + 1e-12).all()
        return value
    return value - (np.square(sums).sum(1) + np.where(own > 0, total**2, 0)) / 2


def check(problems, rows, x, found, loss, *, tolerance=1e-4, l1=False):
    """The certificate is what NumPy computes, and the gap is small."""
    assert found.converged
    weights, intercept = found.state[:2]
    certificate = certify(problems, rows, found.state, loss=loss, penalty="l1" if l1 else "l2")
    x = x.astype(np.float64)
    expected = primal_of(problems, x, weights, intercept, loss, l1)
    np.testing.assert_allclose(certificate.primal, expected, rtol=1e-12)
    np.testing.assert_allclose(
        certificate.dual, dual_of(problems, x, certificate.variables, loss, l1), rtol=1e-10
    )
    assert (certificate.relative_gap <= 2 * tolerance).all()
    assert (certificate.relative_gap >= -1e-12).all()
    return certificate


def least(problems, x, loss, k):
    """The optimum of one smooth problem by SciPy."""

    def value(w):
        weights = np.zeros((CLASSES, x.shape[1]))
        weights[k], intercept = w[:-1], np.zeros(CLASSES)
        intercept[k] = w[-1]
        return primal_of(problems, x.astype(np.float64), weights, intercept, loss)[k]

    return scipy.optimize.minimize(value, np.zeros(x.shape[1] + 1), method="L-BFGS-B").fun


@pytest.mark.slow
@pytest.mark.parametrize("intercept", [1.0, 0.0], ids=["penalised", "free"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_optimum_is_certified(loss, intercept):
    x, _ = digits()
    problems, rows = problems_of(loss, intercept=intercept), DenseExamples(jnp.asarray(x))
    found = solve(problems, rows, loss=loss)
    certificate = check(problems, rows, x, found, loss)
    if loss == "squared_hinge":
        np.testing.assert_allclose(certificate.primal[0], least(problems, x, loss, 0), rtol=2e-4)


def test_problems_are_apart():
    """Each problem alone has the solution that it has among others."""
    x, _ = digits()
    problems, rows = problems_of("squared_hinge"), DenseExamples(jnp.asarray(x))
    together = solve(problems, rows, loss="squared_hinge", tolerance=1e-6)
    for k in range(CLASSES):
        alone = LinearProblems(*(part[k : k + 1] for part in problems))
        found = solve(alone, rows, loss="squared_hinge", tolerance=1e-6)
        np.testing.assert_allclose(
            found.state.weights[0], together.state.weights[k], atol=2e-4, rtol=1e-3
        )


@pytest.mark.slow
def test_examples_of_cost_zero_are_excluded():
    x, _ = digits()
    problems = problems_of("hinge")
    stays = np.flatnonzero(np.asarray(problems.cost[0]))
    some = problems._replace(target=problems.target[:, stays], cost=problems.cost[:, stays])
    one = solve(problems, DenseExamples(jnp.asarray(x)), loss="hinge")
    other = solve(some, DenseExamples(jnp.asarray(x[stays])), loss="hinge")
    np.testing.assert_allclose(one.progress.primal, other.progress.primal, rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", ["by examples", "conjugate gradients", "streamed", "sharded", "nested"]
)
@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_every_way_ends_at_the_same_point(monkeypatch, loss, way):
    x, _ = digits()
    rows = DenseExamples(jnp.asarray(x))
    problems = problems_of(loss)
    expected = solve(problems, rows, loss=loss)
    if way in ("by examples", "conjugate gradients"):
        monkeypatch.setattr(_newton_system, "_MAX_FEATURES", 0)
    if way == "conjugate gradients":
        monkeypatch.setattr(_newton_system, "_MAX_EXAMPLES", 0)
    if way == "streamed":
        rows = StreamedExamples(x, block=100)
    if way == "sharded":
        devices = Mesh(np.array(jax.devices()[:2]), "rows")
        rows = DenseExamples(jax.device_put(x, NamedSharding(devices, PartitionSpec("rows"))))
    if way == "nested":
        monkeypatch.setattr(_newton, "_MIN_SUBSAMPLED", COUNT)
    found = solve(problems, rows, loss=loss)
    check(problems, rows, x, found, loss)
    np.testing.assert_allclose(found.progress.primal, expected.progress.primal, rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("intercept", [1.0, 0.0], ids=["penalised", "free"])
def test_an_l1_penalty_is_solved_and_certified(intercept):
    x, _ = digits()
    problems, rows = (
        problems_of("squared_hinge", intercept=intercept),
        DenseExamples(jnp.asarray(x)),
    )
    found = solve_l1(problems, rows)
    check(problems, rows, x, found, "squared_hinge", l1=True)
    share = np.mean(np.abs(np.asarray(found.state.weights)) < 1e-7, axis=1)
    assert (share > 0.4).all()  # of L2 only those of pixels that are always white


@pytest.mark.slow
@pytest.mark.parametrize("l1_penalty", [False, True], ids=["l2", "l1"])
def test_a_run_that_reached_its_limit_can_be_resumed(l1_penalty):
    x, _ = digits()
    problems, rows = problems_of("squared_hinge"), DenseExamples(jnp.asarray(x))
    solver = solve_l1 if l1_penalty else functools.partial(solve, loss="squared_hinge")
    first = solver(problems, rows, max_steps=2)
    assert not first.converged
    assert first.progress.steps == 2
    whole, second = solver(problems, rows), solver(problems, rows, start=first.state)
    assert second.converged
    assert second.progress.steps < whole.progress.steps
    np.testing.assert_allclose(second.progress.primal, whole.progress.primal, rtol=2e-4)


@pytest.mark.parametrize("l1_penalty", [False, True], ids=["l2", "l1"])
def test_an_interruption_keeps_what_was_found(l1_penalty):
    x, _ = digits()
    problems, rows = problems_of("squared_hinge"), DenseExamples(jnp.asarray(x))
    solver = solve_l1 if l1_penalty else functools.partial(solve, loss="squared_hinge")

    def report(progress):
        if progress.steps == 2:
            raise KeyboardInterrupt

    found = solver(problems, rows, report=report)
    assert found.interrupted
    assert not found.converged
    budget = solver(problems, rows, max_steps=2)
    np.testing.assert_array_equal(found.state.weights, budget.state.weights)


def test_an_interruption_before_anything_is_known_leaves_the_start(monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_l1._ProximalNewton, "update_dual", stopped)
    found = solve_l1(problems_of("squared_hinge"), DenseExamples(jnp.asarray(digits()[0])))
    assert found.interrupted
    assert not np.asarray(found.state.weights).any()


def test_an_interruption_before_the_first_step_ends_the_run(monkeypatch):
    x, _ = digits()
    monkeypatch.setattr(_newton, "_MIN_SUBSAMPLED", COUNT)
    run = _newton._Newton.run

    def stopped(self, *arguments):
        part = self.scaled.examples.num_examples < COUNT
        found = run(self, *arguments)
        return dataclasses.replace(found, interrupted=part)

    monkeypatch.setattr(_newton._Newton, "run", stopped)
    rows = DenseExamples(jnp.asarray(x))
    found = solve(problems_of("squared_hinge"), rows, loss="squared_hinge")
    assert found.interrupted
    assert found.progress.steps == 0


@pytest.mark.slow
@pytest.mark.parametrize("intercept", [1.0, 0.0], ids=["penalised", "free"])
def test_some_of_many_features_are_moved_for_the_same_optimum(intercept, monkeypatch):
    x, _ = digits()
    problems, rows = (
        problems_of("squared_hinge", intercept=intercept),
        DenseExamples(jnp.asarray(x)),
    )
    expected = solve_l1(problems, rows)
    monkeypatch.setattr(_l1, "_FEW_FEATURES", 16)
    monkeypatch.setattr(_l1, "_SIZES", (8, 32, 48))
    found = solve_l1(problems, rows)
    check(problems, rows, x, found, "squared_hinge", l1=True)
    np.testing.assert_allclose(found.progress.primal, expected.progress.primal, rtol=2e-4)


@pytest.mark.slow
def test_l1_of_sparse_rows_is_that_of_dense_ones(monkeypatch):
    x, _ = digits()
    problems = problems_of("squared_hinge")
    monkeypatch.setattr(_l1, "_FEW_FEATURES", 16)
    found = solve_l1(problems, SparseExamples(scipy.sparse.csr_matrix(x)))
    check(problems, DenseExamples(jnp.asarray(x)), x, found, "squared_hinge", l1=True)


@pytest.mark.slow
def test_an_l1_penalty_leaves_too_many_weights(monkeypatch):
    x, _ = digits()
    monkeypatch.setattr(_l1, "_FEW_FEATURES", 16)
    monkeypatch.setattr(_l1, "_SIZES", (4, 8))
    with pytest.raises(
        ValueError,
        match="penalty='l1' supports at most 8 non-zero weights of 64 features",
    ):
        solve_l1(problems_of("squared_hinge"), DenseExamples(jnp.asarray(x)))
