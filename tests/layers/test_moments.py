"""Mean and variance against exactly rounded sums, masked ones against NumPy, and torch."""

import re
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml.layers import batch_normalization, moments
from tests import properties, references

jitted = jax.jit(moments, static_argnames="axes")


@wraps(moments)
def masked(x, where, **choice):
    return moments(x, where=where, **choice)


def masked_reference(x, where, axes, keepdims=False):
    """NumPy's, and 0 where no value counts."""
    where = np.broadcast_to(where, x.shape)
    count = np.maximum(where.sum(tuple(axes), keepdims=True), 1)
    mean = np.where(where, x, 0).sum(tuple(axes), keepdims=True) / count
    variance = np.where(where, x - mean, 0) ** 2
    variance = variance.sum(tuple(axes), keepdims=True) / count
    return (mean, variance) if keepdims else (mean.squeeze(axes), variance.squeeze(axes))


def example(shape=(4, 3, 2, 5), dtype: Any = np.float64):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.slow
def test_moments_are_the_mean_and_the_biased_variance():
    x = example((4, 2, 3))
    properties.check(moments, x, reference=references.moments, by="NumPy float64", axes=(0, -2))


def test_torch_agrees():
    torch = pytest.importorskip("torch")

    def var_mean(x, axes, keepdims):
        variance, mean = torch.var_mean(torch.from_numpy(x), axes, correction=0, keepdim=keepdims)
        return mean.numpy(), variance.numpy()

    choice: dict = {"axes": (1, 3), "keepdims": True}
    properties.check(
        moments, example(), reference=var_mean, by="torch", vmap=False, grads=0, **choice
    )


@pytest.mark.slow
@settings(max_examples=8)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.booleans(), st.data())
def test_any_axes_of_any_shape_under_a_mask_or_not(shape, keepdims, data):
    axes = data.draw(st.sets(st.integers(-len(shape), -1), min_size=1).map(tuple))
    lead = data.draw(st.integers(0, len(shape)))
    x = example(shape)
    where = np.random.default_rng(data.draw(st.integers(0, 9))).random(shape[lead:]) < 0.7

    @references.plain_jit
    def both(x, where):
        return moments(x, axes, keepdims=keepdims), moments(x, axes, keepdims=keepdims, where=where)

    unmasked, masked = both(x.astype(np.float32), where)
    everywhere = np.ones(shape, bool)
    expected = masked_reference(x, everywhere, axes, keepdims)
    properties.agree(moments, unmasked, expected, by="NumPy float64")
    expected = masked_reference(x, where, axes, keepdims)
    properties.agree(moments, masked, expected, by="NumPy float64")


@pytest.mark.slow
def test_masked_moments_have_the_properties_of_pure_functions():
    x, where = example((4, 3, 5)), example((4, 3, 1)) > -0.5
    properties.check(masked, x, where, reference=masked_reference, by="NumPy float64", axes=(0, 1))


@pytest.mark.slow
def test_what_is_masked_may_be_anything_and_gets_no_gradient():
    x = np.array([np.nan, 1.0, np.inf, 3.0, -np.inf], np.float32)
    where = np.array([False, True, False, True, False])

    def both(x):
        mean, variance = moments(x, [0], where=jnp.asarray(where))
        return 10 * mean + variance

    assert moments(jnp.asarray(x), [0], where=jnp.asarray(where)) == (2.0, 1.0)
    gradient = jax.grad(both)(jnp.asarray(x))
    np.testing.assert_array_equal(gradient, [0.0, 4.0, 0.0, 6.0, 0.0])


@pytest.mark.slow
def test_where_no_value_counts_both_are_zero_and_so_is_the_gradient():
    x, where = jnp.full((3, 2), jnp.nan), jnp.zeros((3, 1), bool)
    (mean, variance), vjp = jax.vjp(lambda x: moments(x, [0], where=where), x)
    np.testing.assert_array_equal([mean, variance], np.zeros((2, 2)))
    np.testing.assert_array_equal(vjp((mean + 1, variance + 1))[0], np.zeros((3, 2)))


@pytest.mark.parametrize("mask", [False, True])
def test_the_variance_keeps_its_digits_where_the_mean_is_large(mask):
    x = (1e4 + np.random.default_rng(1).normal(size=(4, 3, 2, 5))).astype(np.float32)
    where = jnp.ones(5, bool) if mask else None
    mean, variance = jitted(x, axes=(0, 1, 2), where=where)
    expected = references.moments(x.astype(np.float64), (0, 1, 2))
    references.assert_close(mean, expected[0], 4 * references.ROUNDING["float32"])
    # The mean is off by up to 2^-9 of a deviation, and the variance by the square of that.
    references.assert_close(variance, expected[1], 1e-5)


@pytest.mark.parametrize("distance", [1.0, 1e2, 1e4])
def test_the_variance_keeps_its_digits_where_the_first_value_is_far_from_the_others(distance):
    x = example((60, 5), np.float32)
    x[0] += distance
    _, variance = jitted(x, axes=(0,))
    _, expected = references.moments(x.astype(np.float64), (0,))
    # A sum of this many is up to 4 roundings off, and the variance by up to 50 times that.
    rtol = 50 * 4 * references.ROUNDING["float32"]
    np.testing.assert_allclose(np.asarray(variance, np.float64), expected, rtol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2**17, 2), (0,)),
        ((2, 2**17), (1,)),
        ((8, 128, 128, 2), (0, 1, 2)),
        ((2, 256, 512, 2), (1, 2)),
        ((10**6, 1), (0,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("far", ["the first value", "the first of the first axis", "the sample"])
def test_the_variance_of_many_values_does_not_depend_on_those_of_the_shift(shape, axes, far):
    x = (1e4 + np.random.default_rng(0).normal(size=shape)).astype(np.float32)
    longest = max(axes, key=lambda axis: shape[axis])
    places = {
        "the first value": dict.fromkeys(axes, slice(1)),
        "the first of the first axis": {axes[0]: slice(1)},
        "the sample": {longest: slice(None, None, 16)},
    }
    x[tuple(places[far].get(axis, slice(None)) for axis in range(x.ndim))] = 0
    mean, variance = jitted(x, axes=axes)
    expected = references.moments(x.astype(np.float64), axes)
    # A sum of this many is up to 8 roundings off; where the sample is far, 50 times that.
    rtol = 8 * references.ROUNDING["float32"]
    references.assert_close(mean, expected[0], rtol)
    references.assert_close(variance, expected[1], 50 * rtol if far == "the sample" else rtol)


def test_the_variance_under_a_mask_does_not_depend_on_what_is_masked():
    x = example((60, 5), np.float32)
    where = np.arange(60)[:, None] > 9
    far = np.where(where, x, np.float32(1e30))
    for values in (x, far):
        _, variance = jitted(values, axes=(0,), where=where)
        _, expected = references.moments(x[10:].astype(np.float64), (0,))
        references.assert_close(variance, expected, 8 * references.ROUNDING["float32"])


def test_the_variance_of_a_constant_is_zero_and_never_less():
    values = np.array([0.0, 1e-3, 0.1, 7.7, 1e4, -1e10], np.float32)
    x = np.broadcast_to(values, (7, 3, 3, 6))
    _, variance = jitted(x, axes=(0, 1, 2))
    np.testing.assert_array_equal(variance, np.zeros(6))
    _, variance = jitted(x, axes=(0, 1, 2), where=jnp.ones((3, 6), bool))
    assert np.min(variance) >= 0
    # What is left is the rounding of the mean: at most one for each addition.
    bound = (7 * 3 * 3 * references.ROUNDING["float32"] * values.astype(np.float64)) ** 2
    assert (np.asarray(variance, np.float64) <= bound).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_moments_of_half_precision_are_float32(dtype):
    x = example(dtype=dtype)
    mean, variance = jitted(x, axes=(0, 1, 2))
    assert mean.dtype == variance.dtype == jnp.float32
    expected = references.moments(x.astype(np.float64), (0, 1, 2))
    references.assert_trees_close((mean, variance), expected, 1e-6)


def test_the_second_derivative_of_the_variance_reaches_it_through_the_mean():
    x = np.array([1.0, 2.0, 5.0, 4.0], np.float32)
    hessian = jax.jit(jax.hessian(lambda x: moments(x, [0])[1]))(x)
    expected = 2 / 4 * (np.eye(4) - np.full((4, 4), 1 / 4))
    references.assert_close(hessian, expected, 1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axes": []}, ValueError, "`axes` must be in [-2, 1], got ()"),
        ({"axes": [2]}, ValueError, "`axes` must be in [-2, 1], got (2,)"),
        ({"axes": [0, -2]}, ValueError, "`axes` must be distinct, got (0, -2)"),
        (
            {"x": jnp.zeros((0, 2)), "axes": [0]},
            ValueError,
            "`x` must have at least one value along the axes (0,), got shape (0, 2)",
        ),
        ({"x": jnp.zeros(2, int), "axes": [0]}, TypeError, "`x` must be floating-point, got int32"),
        (
            {"axes": [0], "where": jnp.ones((3, 1), int)},
            TypeError,
            "`where` must be boolean, got int32",
        ),
        (
            {"axes": [0], "where": jnp.ones(3, bool)},
            ValueError,
            "`where` must broadcast to x of shape (3, 2), got shape (3,)",
        ),
        (
            {"axes": [0], "where": jnp.ones((1, 3, 2), bool)},
            ValueError,
            "`where` must broadcast to x of shape (3, 2), got shape (1, 3, 2)",
        ),
    ],
)
def test_what_cannot_be_averaged_raises(arguments, error, message):
    with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
        moments(**({"x": jnp.zeros((3, 2))} | arguments))


def test_devices_communicate_only_to_sum():
    """Axes of size 1 would be sharded, and each use of a statistic would communicate."""
    mesh = jax.make_mesh((2,), ("data",), (AxisType.Auto,), devices=jax.devices()[:2])
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct((4, 6, 6, 3), jnp.float32, sharding=sharding)

    @jax.jit
    def normalize_and_differentiate(x, y):
        def normalize(x):
            mean, variance = moments(x, (0, 1, 2))
            return batch_normalization(x, mean, variance, None, None, 1e-5)

        return jax.vjp(normalize, x)[1](y)

    program: Any = normalize_and_differentiate.lower(x, x).compile().as_text()
    # The origin, the mean of the sample, both sums, and both of the gradient.
    assert len(re.findall(r" all-reduce(?:-start)?\(", program)) <= 4
    assert "all-gather" not in program
