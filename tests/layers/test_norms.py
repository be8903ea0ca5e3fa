"""Norms against NumPy in float64, at magnitudes whose squares float32 does not hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import _norms
from tests import properties, references

# Smaller ones have entries below 2**-126, which XLA flushes to 0.
SCALES = [1e-34, 1e-25, 1e-3, 1.0, 1e25, 1e37]


def example(scale):
    x = np.random.default_rng(0).uniform(0.1, 1, size=(3, 4, 5)) * [1, -1, 1, -1, 1]
    return (scale * x).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
@pytest.mark.parametrize("scale", SCALES)
def test_norms_and_directions_at_any_scale(scale, axis):
    x = example(scale)
    wide = x.astype(np.float64)
    expected = np.sqrt((wide**2).sum(axis, keepdims=True))
    norm = jax.jit(_norms.euclidean_norm, static_argnums=1)(x, axis)
    properties.agree(_norms.euclidean_norm, norm, expected, by="NumPy float64", rtol=1e-6)
    unit = _norms.direction(jnp.asarray(x), axis)
    properties.agree(_norms.direction, unit, wide / expected, by="NumPy float64", rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_the_norm_of_a_tree_is_that_of_its_leaves_in_a_row(scale):
    x = example(scale)
    tree = {"a": x[0], "b": [1e-2 * x[1], x[2].astype(jnp.bfloat16)]}
    row = np.concatenate([np.float64(leaf).ravel() for leaf in jax.tree.leaves(tree)])
    norm = jax.jit(_norms.tree_norm)(tree)
    properties.agree(_norms.tree_norm, norm, np.linalg.norm(row), by="NumPy float64", rtol=1e-6)
    expected = jax.tree.map(lambda leaf: np.float64(leaf) / np.linalg.norm(row), tree)
    units = jax.jit(_norms.tree_direction)(tree)
    properties.agree(_norms.tree_direction, units, expected, by="NumPy float64", rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_gradients_are_directions(scale):
    x = example(scale)
    wide = x.astype(np.float64)
    slopes = jax.grad(lambda x: _norms.euclidean_norm(x).squeeze())(x)
    references.assert_close(slopes, wide / np.linalg.norm(wide), 1e-6)
    slopes = jax.grad(_norms.tree_norm)([jnp.asarray(x)])[0]
    references.assert_close(slopes, wide / np.linalg.norm(wide), 1e-6)


@pytest.mark.slow
def test_gradients_of_directions_fit_differences():
    with jax.enable_x64(True):
        properties.check_gradients(
            lambda x: _norms.direction(x, 0), jnp.asarray(np.float64(example(1)))
        )


@pytest.mark.slow
def test_zeros_have_no_direction_and_no_gradient():
    zeros = jnp.zeros((2, 3))
    assert float(_norms.tree_norm([zeros])) == 0
    np.testing.assert_array_equal(_norms.direction(zeros), zeros)
    np.testing.assert_array_equal(_norms.tree_direction([zeros])[0], zeros)
    np.testing.assert_array_equal(jax.grad(lambda x: _norms.tree_norm([x]))(zeros), zeros)
    np.testing.assert_array_equal(jax.grad(lambda x: _norms.euclidean_norm(x).sum())(zeros), zeros)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_visible(bad):
    x = jnp.array([1.0, bad, 2.0])
    np.testing.assert_array_equal(_norms.euclidean_norm(x), [abs(bad)])
    np.testing.assert_array_equal(_norms.tree_norm([x]), abs(bad))
    assert np.isnan(_norms.direction(x)[1])
    assert np.isnan(_norms.tree_direction([x])[0][1])


def test_no_leaves_have_a_norm_of_0():
    assert float(_norms.tree_norm({})) == 0
    assert float(_norms.tree_norm([jnp.zeros((0, 3))])) == 0


@pytest.mark.slow
def test_a_norm_that_is_too_large_has_a_direction_all_the_same():
    x = jnp.full((2, 2), 3e38)
    for unit in (_norms.direction, jax.jit(_norms.direction)):
        references.assert_close(unit(x), np.full((2, 2), 0.5), 1e-6)
    for unit in (_norms.tree_direction, jax.jit(_norms.tree_direction)):
        references.assert_trees_close(
            unit([x, x[0]]), [np.full(s, 6**-0.5) for s in ((2, 2), 2)], 1e-6
        )
    assert float(_norms.tree_norm([x])) == np.inf
