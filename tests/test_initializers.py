"""Initializers against the distributions that they promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxml import initializers
from tests import references

KERNELS = [((3, 3, 32, 256), 3 * 3 * 32), ((256, 256), 256)]


@functools.cache
def jitted(name, shape, dtype):
    initializer = getattr(initializers, name)()
    return references.plain_jit(lambda seed: initializer(jax.random.key(seed), shape, dtype))


def draw(name, shape, seed=0, dtype=jnp.float32):
    return jitted(name, shape, dtype)(np.uint32(seed))


@pytest.mark.parametrize(("shape", "fan_in"), KERNELS)
def test_he_normal_draws_an_untruncated_normal_of_variance_two_over_fan_in(shape, fan_in):
    kernel = np.asarray(draw("he_normal", shape))
    assert kernel.shape == shape
    assert kernel.dtype == np.float32
    sigma = np.sqrt(2 / fan_in)
    assert scipy.stats.kstest(kernel.ravel(), "norm", args=(0, sigma)).pvalue > 0.01
    assert np.abs(kernel).max() > 3.5 * sigma


def test_he_normal_keeps_the_second_moment_of_activations_under_relu():
    x = np.random.default_rng(0).normal(size=(64, 256))
    for seed in range(4):
        x = np.maximum(x, 0) @ np.asarray(draw("he_normal", (256, 256), seed), np.float64)
    # The mean square of 64 * 256 correlated values after four layers strays by about a tenth.
    assert np.mean(x**2) == pytest.approx(1.0, rel=0.2)


def test_he_normal_draws_entries_that_do_not_depend_on_each_other_or_on_another_key():
    first, second = (
        np.asarray(draw("he_normal", (256, 256), seed), np.float64).ravel() for seed in (0, 1)
    )
    bound = 4 / np.sqrt(first.size)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < bound
    assert abs(np.corrcoef(first, second)[0, 1]) < bound


@pytest.mark.parametrize("name", ["he_normal", "zeros", "ones"])
def test_vmap_over_keys_is_a_loop_over_keys(name):
    initializer = getattr(initializers, name)()
    references.assert_vmap_is_loop(
        lambda seed: initializer(jax.random.key(seed), (4, 5), jnp.float32),
        np.arange(3, dtype=np.uint32),
    )


@pytest.mark.parametrize(("name", "value"), [("zeros", 0.0), ("ones", 1.0)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_zeros_and_ones_are_constant_in_every_dtype(name, value, dtype):
    array = draw(name, (2, 3), dtype=dtype)
    assert array.dtype == dtype
    np.testing.assert_array_equal(np.asarray(array, np.float64), np.full((2, 3), value))


def test_he_normal_has_its_variance_in_bfloat16():
    kernel = draw("he_normal", (64, 1024), dtype=jnp.bfloat16)
    assert kernel.dtype == jnp.bfloat16
    # The sample variance of n normals has a relative standard deviation of sqrt(2 / n).
    expected = pytest.approx(2 / 64, rel=4 * np.sqrt(2 / kernel.size))
    assert np.asarray(kernel, np.float64).var() == expected


@pytest.mark.parametrize(("shape", "fan_in"), [((1, 20_000), 1), ((20_000, 1), 20_000)])
def test_he_normal_scales_at_the_ends_of_fan_in(shape, fan_in):
    kernel = np.asarray(draw("he_normal", shape, seed=5), np.float64)
    assert kernel.var() * fan_in == pytest.approx(2.0, rel=4 * np.sqrt(2 / kernel.size))


def test_he_normal_of_a_vector_is_an_error():
    with pytest.raises(ValueError, match=r"1-dimensional weights tensor .* at least 2D"):
        initializers.he_normal()(jax.random.key(0), (3,))
