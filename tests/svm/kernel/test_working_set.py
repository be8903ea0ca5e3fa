"""Working sets: which variables, and what moving pairs of them comes to."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxml.svm.kernel import _working_set as working_set
from jaxml.svm.kernel._problems import Variables

PROBLEMS, SIZE = 3, 12


def problems(*, two_constraints, seed=0):
    """Kernels, p, and variables at a feasible start, in float64."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(PROBLEMS, SIZE, 4))
    kernel = np.einsum("pif,pjf->pij", x, x) + 0.1 * np.eye(SIZE)
    sign = np.where(np.arange(SIZE) % 2, 1.0, -1.0) * np.ones((PROBLEMS, 1))
    upper = rng.uniform(0.5, 2.0, size=(PROBLEMS, SIZE))
    upper[:, -2:] = 0  # no variables
    value = np.minimum(upper, 0.2) * (1.0 if two_constraints else 0.0)
    linear = rng.normal(size=(PROBLEMS, SIZE)) - (0 if two_constraints else 1)
    score = -sign * linear - np.einsum("pij,pj->pi", kernel, sign * value)
    return kernel, linear, Variables(value, score, sign, upper, two_constraints)


def objective(kernel, linear, sign, value):
    signed = sign * value
    return signed @ kernel @ signed / 2 + linear @ value


def best(kernel, linear, sign, upper, start, *, two_constraints):
    """The minimum by a general solver of SciPy."""
    equations = [sign > 0, sign < 0] if two_constraints else [sign != 0]
    rows = np.stack([np.where(e, 1.0 if two_constraints else sign, 0.0) for e in equations])
    found = minimize(
        lambda a: objective(kernel, linear, sign, a),
        start,
        jac=lambda a: sign * (kernel @ (sign * a)) + linear,
        bounds=list(zip(np.zeros(len(upper)), upper, strict=True)),
        constraints={"type": "eq", "fun": lambda a: rows @ (a - start), "jac": lambda a: rows},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.fun


def as_jax(variables):
    return jax.tree.map(jnp.asarray, variables)


@pytest.mark.slow
@pytest.mark.parametrize("two_constraints", [False, True])
def test_pairs_lead_to_the_minimum_of_a_general_solver(two_constraints):
    kernel, linear, variables = problems(two_constraints=two_constraints)
    with jax.enable_x64(True):
        value, steps = working_set.solve(
            jnp.asarray(kernel), as_jax(variables), jnp.full(PROBLEMS, 1e-9),
            max_steps=10_000,
        )  # fmt: skip
        value = np.asarray(value)
    assert 0 < int(steps) < 10_000
    sign = variables.sign
    for p in range(PROBLEMS):
        found = objective(kernel[p], linear[p], sign[p], value[p])
        wanted = best(
            kernel[p], linear[p], sign[p], variables.upper[p], variables.value[p],
            two_constraints=two_constraints,
        )  # fmt: skip
        np.testing.assert_allclose(found, wanted, rtol=1e-7)
    constraints = [sign > 0, sign < 0] if two_constraints else [sign != 0]
    for member in constraints:
        moved = np.where(member, sign * (value - variables.value), 0).sum(1)
        np.testing.assert_allclose(moved, 0, atol=1e-12)
    assert (value >= 0).all()
    assert (value <= variables.upper).all()
    bound = (value == 0) | (value == variables.upper)
    assert bound[:, :-2].any()  # met exactly


def test_solved_problems_are_left_as_they_are():
    kernel, _, variables = problems(two_constraints=False)
    with jax.enable_x64(True):
        tolerance = jnp.array([1e-9, jnp.inf, 1e-9])
        value, _ = working_set.solve(
            jnp.asarray(kernel), as_jax(variables), tolerance, max_steps=10_000
        )
    moved = (np.asarray(value) != variables.value).any(1)
    np.testing.assert_array_equal(moved, [True, False, True])


def test_steps_are_limited():
    kernel, _, variables = problems(two_constraints=False)
    with jax.enable_x64(True):
        value, steps = working_set.solve(
            jnp.asarray(kernel), as_jax(variables), jnp.full(PROBLEMS, 1e-9), max_steps=1
        )
    assert int(steps) == 1
    np.testing.assert_array_equal((np.asarray(value) != variables.value).sum(1), [2, 2, 2])


@pytest.mark.parametrize("two_constraints", [False, True])
def test_violation_is_the_largest_difference_of_scores_that_pairs_may_close(two_constraints):
    _, _, variables = problems(two_constraints=two_constraints, seed=3)
    with jax.enable_x64(True):
        found = as_jax(variables).violation()
    for p in range(PROBLEMS):
        value, score, sign, upper = (part[p] for part in jax.tree.leaves(variables))
        worst = -np.inf
        for i in range(SIZE):
            for j in range(SIZE):
                up = value[i] < upper[i] if sign[i] > 0 else value[i] > 0
                down = value[j] > 0 if sign[j] > 0 else value[j] < upper[j]
                if up and down and (not two_constraints or sign[i] == sign[j]):
                    worst = max(worst, score[i] - score[j])
        np.testing.assert_allclose(found[p], worst)


@pytest.mark.slow
@pytest.mark.parametrize("two_constraints", [False, True])
@pytest.mark.parametrize("size", [4, 7, SIZE])
def test_the_chosen_are_different_and_have_the_worst_pair(two_constraints, size):
    _, _, variables = problems(two_constraints=two_constraints, seed=4)
    old = np.tile(np.arange(size // 2)[::-1], (PROBLEMS, 1)).astype(np.int32)
    with jax.enable_x64(True):
        variables = as_jax(variables)
        chosen, likely = working_set.choose(variables, jnp.asarray(old), size=size, spare=2)
        chosen, likely = np.asarray(chosen), np.asarray(likely)
        part = jax.tree.map(lambda p: jnp.take_along_axis(p, jnp.asarray(chosen), 1), variables)
        here, everywhere = part.violation(), variables.violation()
    assert chosen.shape == (PROBLEMS, size)
    assert all(len(set(row)) == size for row in chosen)
    np.testing.assert_array_equal(chosen[:, size - size // 2 :], old)
    assert likely.shape[1] <= (8 if two_constraints else 4)
    assert ((likely >= 0) & (likely < SIZE)).all()
    if size - size // 2 >= (4 if two_constraints else 2):
        np.testing.assert_allclose(here, everywhere)


def test_thresholds_part_the_scores():
    value = np.array([[0.5, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    score = np.array([[2.0, 9.0, 1.0, 0.0], [4.0, 3.0, 1.0, 0.0], [4.0, 3.0, 2.0, 1.0]])
    given: Any = (value, score, np.ones((3, 4)), np.ones((3, 4)))
    variables = Variables(*given)
    with jax.enable_x64(True):
        found = np.asarray(as_jax(variables).thresholds())
    # The free one; the middle of 3 and 1; the least of those that may only fall.
    np.testing.assert_allclose(found, [[2.0, 2.0, 1.0]])


@pytest.mark.slow
def test_each_constraint_has_the_threshold_of_its_own_free_variables():
    value = np.array([[0.5, 0.5, 0.5, 0.5, 0.0, 1.0]])
    score = np.array([[2.0, 2.4, 2.2, -1.0, -9.0, 9.0]])
    sign = np.array([[1.0, 1.0, 1.0, -1.0, -1.0, 1.0]])
    variables = Variables(value, score, sign, np.ones((1, 6)), two_constraints=True)
    with jax.enable_x64(True):
        found = np.asarray(as_jax(variables).thresholds())
    np.testing.assert_allclose(found, [[2.2], [-1.0]])


def test_a_move_goes_all_the_way_to_the_least_of_its_pair():
    kernel = np.array([[[2.0, 0.7], [0.7, 1.5]]])
    given: Any = (
        np.zeros((1, 2)),
        np.array([[1.0, -0.5]]),
        np.array([[1.0, -1.0]]),
        np.full((1, 2), 9.0),
    )
    with jax.enable_x64(True):
        variables = as_jax(Variables(*given))
        value, _ = working_set.solve(jnp.asarray(kernel), variables, jnp.zeros(1), max_steps=1)
    # 1.5 less of the difference in scores for each unit, up to 2 + 1.5 - 2 * 0.7 units.
    np.testing.assert_allclose(value, np.full((1, 2), 1.5 / 2.1), rtol=1e-12)


def test_a_constraint_within_the_tolerance_does_not_end_the_search_of_the_other():
    # The first constraint violates by 1 with little gain; the second violates by less than the
    # tolerance with much gain, because its curvature is tiny.
    kernel = jnp.diag(jnp.array([500.0, 500.0, 1e-9, 1e-9], jnp.float32))[None]
    given = Variables(
        value=jnp.full((1, 4), 0.5, jnp.float32),
        score=jnp.array([[1.0, 0.0, 5e-4, 0.0]], jnp.float32),
        sign=jnp.array([[1.0, 1.0, -1.0, -1.0]], jnp.float32),
        upper=jnp.ones((1, 4), jnp.float32),
        two_constraints=True,
    )
    tolerance = jnp.array([1e-3], jnp.float32)
    value, _ = working_set.solve(kernel, given, tolerance, max_steps=50)
    change = np.asarray(given.sign * (value - given.value), np.float64)[0]
    score = np.asarray(given.score, np.float64)[0] - np.diag(np.asarray(kernel[0])) * change
    assert score[0] - score[1] <= 1e-3 + 1e-6
