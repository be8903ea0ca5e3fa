"""Boxes cut by a plane against SciPy and loops."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from jaxml.svm.objectives import box
from tests import properties, references
from tests.svm.objectives import definitions

_project = references.plain_jit(box.project)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.5]), st.sampled_from([1.0, np.inf]))
def test_the_projection_is_the_nearest_point(seed, total, reach):
    rng = np.random.default_rng(seed)
    point, lower = 2 * rng.normal(size=6), -rng.uniform(size=6) * (rng.uniform(size=6) > 0.4)
    upper = np.where(rng.uniform(size=6) > 0.3, reach, 0.6)
    with jax.enable_x64(True):
        nearest = np.asarray(_project(point, lower, upper, np.array(total)))
    expected = definitions.nearest(point, lower, upper, total)
    properties.agree(box.project, nearest, expected, by="SciPy", rtol=1e-10)


@pytest.mark.slow
def test_gradients_of_the_projection_are_those_of_differences():
    properties.check_gradients(
        jax.jit(lambda p: box.project(p, -jnp.ones_like(p), jnp.ones_like(p), 0.5)),
        np.array([2.0, 0.3, -0.2, -3.0, 0.1]),
    )  # fmt: skip


def test_the_excess_is_that_of_the_furthest_entry():
    lower, upper = np.array([-1.0, 0.0, -1.0]), np.array([0.5, np.inf, 0.0])
    points = np.random.default_rng(0).normal(size=(80, 3)) * 2
    points[0] = 0.5, 3.0, -1.0  # on its bounds

    def terms(point):
        bounded = np.isfinite(upper)
        return np.concatenate([lower - point, (point - upper)[bounded]])

    calls = jax.vmap(box.excess, (0, None, None))
    reference = definitions.farthest(terms, points.astype(np.float32).astype(np.float64))
    with jax.enable_x64(True):
        exact = calls(*map(jnp.asarray, (points, lower, upper)))
    properties.agree(
        box.excess, exact, definitions.farthest(terms, points), by="NumPy float64", rtol=1e-12
    )
    single = calls(*(jnp.asarray(a, jnp.float32) for a in (points, lower, upper)))
    properties.agree(box.excess, single, reference, by="NumPy float64", rtol=1e-6)


@pytest.mark.parametrize("pairs", [True, False])
def test_the_violation_is_the_fastest_way_up(pairs):
    rng = np.random.default_rng(0)
    lower, upper = np.array([0.0, -1.0, -1.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
    # On either bound and between them, and one entry that cannot move.
    points = np.array(list(np.ndindex(3, 3, 3))) / 2
    points = np.hstack([points * (upper - lower)[:3] + lower[:3], np.zeros((27, 1))])
    slopes = rng.normal(size=(27, 4))
    kinks = slopes - rng.uniform(size=(27, 4))  # slower up than down

    def reference(kinks, slopes, points):
        def of_one(up, down, point):
            def value(moved):
                change = moved - point
                return np.where(change > 0, up, down) @ change

            def allowed(moved):
                return ((moved >= lower) & (moved <= upper)).all()

            return definitions.steepest(value, point, definitions.moves(4, pairs=pairs), allowed)

        return np.array([of_one(*rows) for rows in zip(kinks, slopes, points, strict=True)])

    def call(up, down, point):
        bounds = jnp.asarray(lower, up.dtype), jnp.asarray(upper, up.dtype)
        return box.violation(up, down, point, *bounds, pairs=pairs)

    each = functools.update_wrapper(jax.vmap(call), box.violation)
    definitions.check(each, kinks, slopes, points, reference=reference)


def test_nothing_that_cannot_move_is_in_violation():
    zeros, rates = jnp.zeros(3), jnp.arange(3.0)
    for pairs in (True, False):
        assert box.violation(rates, rates, zeros, zeros, zeros, pairs=pairs) == 0


def test_the_root_is_where_scipy_finds_it():
    def increasing(x):
        return x**3 + x - 1e-3

    exact: Any = {"xtol": 1e-18, "rtol": 1e-15}
    root = scipy.optimize.brentq(increasing, -5, 7, **exact)
    definitions.check(
        functools.update_wrapper(functools.partial(box.bisect, increasing), box.bisect),
        np.array(-5.0), np.array(7.0), reference=lambda *_: root,
    )  # fmt: skip


def test_the_root_of_a_flat_piece_is_its_upper_end():
    found = box.bisect(lambda x: jnp.maximum(x - 1, 0), jnp.array(0.0), jnp.array(4.0))
    np.testing.assert_allclose(found, 1.0, rtol=1e-6)
