"""Batch normalisation against exactly rounded sums and the gradients of its paper."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxml.layers import batch_normalization, moments, update_running_average
from tests import references

EPSILON = 1e-5
jitted_moments = jax.jit(moments, static_argnames="axes")
jitted = jax.jit(partial(batch_normalization, variance_epsilon=EPSILON))
jitted_update = jax.jit(update_running_average)


def example(shape=(4, 3, 2, 5), dtype: Any = np.float32):
    """x, mean, variance, offset and scale."""
    rng = np.random.default_rng(0)
    x, mean, offset = (rng.normal(size=s) for s in (shape, shape[-1:], shape[-1:]))
    variance, scale = rng.uniform(0.5, 2, size=(2, shape[-1]))
    return [array.astype(dtype) for array in (x, mean, variance, offset, scale)]


def by_statistics_of_x(x, offset, scale):
    mean, variance = moments(x, range(x.ndim - 1))
    return batch_normalization(x, mean, variance, offset, scale, EPSILON)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0,), (-1,), (1, 3), (-2, 0)], ids=str)
def test_moments_are_the_mean_and_the_biased_variance(axes):
    x, *_ = example()
    mean, variance = jitted_moments(x, axes=axes)
    assert mean.dtype == variance.dtype == jnp.float32
    expected = references.moments(x.astype(np.float64), axes)
    references.assert_trees_close((mean, variance), expected, 1e-6)


def test_moments_need_no_jit():
    x, *_ = example()
    expected = references.moments(x.astype(np.float64), (0, 1, 2))
    references.assert_trees_close(moments(jnp.asarray(x), range(3)), expected, 1e-6)


def test_the_variance_keeps_its_digits_where_the_mean_is_large():
    x = (1e4 + np.random.default_rng(1).normal(size=(4, 3, 2, 5))).astype(np.float32)
    mean, variance = jitted_moments(x, axes=(0, 1, 2))
    expected = references.moments(x.astype(np.float64), (0, 1, 2))
    references.assert_close(mean, expected[0], 4 * references.ROUNDING["float32"])
    # The mean is off by up to 2^-9 of a deviation, and the variance by the square of that.
    references.assert_close(variance, expected[1], 1e-5)


def test_the_variance_of_a_constant_is_zero_and_never_less():
    values = np.array([0.0, 1e-3, 0.1, 7.7, 1e4, -1e10], np.float32)
    x = np.broadcast_to(values, (7, 3, 3, 6))
    _, variance = jitted_moments(x, axes=(0, 1, 2))
    assert np.min(variance) >= 0
    # What is left is the rounding of the mean: at most one for each addition.
    bound = (7 * 3 * 3 * references.ROUNDING["float32"] * values.astype(np.float64)) ** 2
    assert (np.asarray(variance, np.float64) <= bound).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_moments_of_half_precision_are_float32(dtype):
    x, *_ = example(dtype=dtype)
    mean, variance = jitted_moments(x, axes=(0, 1, 2))
    assert mean.dtype == variance.dtype == jnp.float32
    expected = references.moments(x.astype(np.float64), (0, 1, 2))
    references.assert_trees_close((mean, variance), expected, 1e-6)


def test_moments_of_float64_are_float64():
    x, *_ = example(dtype=np.float64)
    with jax.enable_x64(True):
        mean, variance = jitted_moments(x, axes=(0, 1, 2))
    assert mean.dtype == variance.dtype == jnp.float64
    expected = references.moments(x, (0, 1, 2))
    references.assert_trees_close((mean, variance), expected, 1e-14)


def test_vmap_of_moments_is_a_loop():
    x, *_ = example()
    references.assert_vmap_is_loop(partial(moments, axes=(0, 1)), x)


def test_gradients_of_moments_fit_finite_differences_to_second_order():
    x, *_ = example((4, 2, 3), np.float64)
    with jax.enable_x64(True):
        function = jax.jit(partial(moments, axes=(0, 1)))
        check_grads(function, (x,), order=2, modes=["rev"])


def test_the_second_derivative_of_the_variance_reaches_it_through_the_mean():
    x = np.array([1.0, 2.0, 5.0, 4.0], np.float32)
    hessian = jax.jit(jax.hessian(lambda x: moments(x, [0])[1]))(x)
    expected = 2 / 4 * (np.eye(4) - np.full((4, 4), 1 / 4))
    references.assert_close(hessian, expected, 1e-6)


@pytest.mark.parametrize("shape", [(5,), (6, 5), (4, 3, 2, 5)], ids=str)
def test_normalisation_is_by_the_given_statistics(shape):
    arrays = example(shape)
    y = jitted(*arrays)
    assert y.dtype == jnp.float32
    expected = references.batch_normalization(*references.float64(arrays), epsilon=EPSILON)
    references.assert_close(y, expected, 1e-6)


def test_normalisation_needs_no_jit():
    arrays = example()
    y = batch_normalization(*(jnp.asarray(array) for array in arrays), variance_epsilon=EPSILON)
    expected = references.batch_normalization(*references.float64(arrays), epsilon=EPSILON)
    references.assert_close(y, expected, 1e-6)


@pytest.mark.parametrize(("has_offset", "has_scale"), [(True, False), (False, True)])
def test_no_offset_is_zero_and_no_scale_is_one(has_offset, has_scale):
    x, mean, variance, offset, scale = example()
    y = jitted(x, mean, variance, offset if has_offset else None, scale if has_scale else None)
    offset, scale = offset if has_offset else np.zeros(5), scale if has_scale else np.ones(5)
    expected = references.batch_normalization(
        *references.float64([x, mean, variance, offset, scale]), epsilon=EPSILON
    )
    references.assert_close(y, expected, 1e-6)


def test_epsilon_is_added_to_the_variance():
    x, mean, _, offset, scale = example()
    variance = np.zeros(5, np.float32)
    y = jax.jit(partial(batch_normalization, variance_epsilon=0.25))(
        x, mean, variance, offset, scale
    )
    expected = references.batch_normalization(
        *references.float64([x, mean, variance, offset, scale]), epsilon=0.25
    )
    references.assert_close(y, expected, 1e-6)


def test_normalisation_does_not_cancel_where_the_mean_is_large():
    x, _, variance, offset, scale = example()
    arrays = [(1e4 + x).astype(np.float32), np.full(5, 1e4, np.float32), variance, offset, scale]
    expected = references.batch_normalization(*references.float64(arrays), epsilon=EPSILON)
    references.assert_close(jitted(*arrays), expected, 1e-6)


def test_bfloat16_is_normalised_in_float32_and_rounded_once():
    x, *statistics = example()
    arrays = [x.astype(jnp.bfloat16), *statistics]
    y = jitted(*arrays)
    assert y.dtype == jnp.bfloat16
    expected = references.batch_normalization(*references.float64(arrays), epsilon=EPSILON)
    np.testing.assert_allclose(
        np.asarray(y, np.float64), expected, rtol=1.01 * references.ROUNDING["bfloat16"], atol=1e-6
    )


def test_vmap_of_normalisation_over_inputs_and_statistics_is_a_loop():
    x, *statistics = example((3, 4, 5))

    def function(x, mean, variance, offset, scale):
        return batch_normalization(x, mean, variance, offset, scale, EPSILON)

    references.assert_vmap_is_loop(
        lambda x: function(x, *(jnp.asarray(array) for array in statistics)), x
    )
    stacks = (np.stack([array, array + 1, 2 * array]) for array in statistics)
    references.assert_vmap_is_loop(function, x, *stacks)


def test_gradients_of_normalisation_fit_finite_differences_to_second_order():
    arrays = example((4, 3), np.float64)
    with jax.enable_x64(True):
        check_grads(jitted, arrays, order=2, modes=["rev"])


@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_gradients_by_the_statistics_of_the_batch_are_those_of_the_paper(mean):
    x, _, _, offset, scale = example()
    x = (x + mean).astype(np.float32)
    cotangent = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    vjp = jax.jit(lambda c, *arrays: jax.vjp(by_statistics_of_x, *arrays)[1](c))
    x64, scale64, cotangent64 = references.float64([x, scale, cotangent])
    expected = references.batch_norm_gradients(x64, scale64, cotangent64, EPSILON)
    # The mean of values about 1e4 is a few multiples of 2^-11 off, and so is x without it.
    rtol = 1e-5 if mean == 0 else 4 * 2.0**-11
    references.assert_trees_close(vjp(cotangent, x, offset, scale), expected, rtol)


def test_second_derivatives_by_the_statistics_of_the_batch_fit_finite_differences():
    x, _, _, offset, scale = example((5, 3), np.float64)
    with jax.enable_x64(True):
        check_grads(jax.jit(by_statistics_of_x), (x, offset, scale), order=2, modes=["rev"])


def test_a_normalised_batch_has_mean_zero_and_variance_one():
    x, *_ = example()
    y = jax.jit(lambda x: by_statistics_of_x(x, None, None))(3 * x + 7)
    mean, variance = references.moments(np.asarray(y, np.float64), (0, 1, 2))
    np.testing.assert_allclose(mean, np.zeros(5), atol=1e-6)
    np.testing.assert_allclose(variance, np.ones(5), atol=2 * EPSILON)


@pytest.mark.parametrize("name", ["mean", "variance", "offset", "scale"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 3)], ids=str)
def test_a_statistic_without_one_value_a_channel_is_an_error(name, shape):
    arrays: dict[str, Any] = {key: jnp.ones(3) for key in ("mean", "variance", "offset", "scale")}
    arrays[name] = jnp.ones(shape)
    x: Any = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=rf"{name}: shape \(3,\) for x \(2, 3\), not \("):
        batch_normalization(x, **arrays, variance_epsilon=EPSILON)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 1.0])
def test_the_running_average_weighs_the_past_by_the_momentum(momentum):
    _, average, value, *_ = example()
    updated = jitted_update(average, value, momentum=momentum)
    assert updated.dtype == jnp.float32
    past, new = references.float64([average, value])
    expected = [momentum * a + (1 - momentum) * v for a, v in zip(past, new, strict=True)]
    references.assert_close(updated, expected, 1e-6)


def test_the_running_average_of_a_constant_converges_to_it_geometrically():
    average, value = np.zeros(5, np.float32), np.full(5, 1e4, np.float32)
    for _ in range(20):
        average = update_running_average(jnp.asarray(average), jnp.asarray(value), momentum=0.9)
    references.assert_close(average, np.full(5, 1e4 * (1 - 0.9**20)), 1e-6)


def test_the_running_average_keeps_its_dtype_whatever_the_value_has():
    _, average, value, *_ = example()
    updated = jitted_update(average, value.astype(jnp.bfloat16), momentum=0.75)
    assert updated.dtype == jnp.float32
    rounded = value.astype(jnp.bfloat16).astype(np.float64)
    references.assert_close(updated, 0.75 * average.astype(np.float64) + 0.25 * rounded, 1e-6)


def test_vmap_of_the_running_average_is_a_loop():
    rng = np.random.default_rng(0)
    average, value = rng.normal(size=(2, 3, 4)).astype(np.float32)
    references.assert_vmap_is_loop(partial(update_running_average, momentum=0.9), average, value)


def test_gradients_of_the_running_average_fit_finite_differences():
    _, average, value, *_ = example()
    function = partial(jitted_update, momentum=0.9)
    # A linear function has no truncation error, so that the step may be wide.
    check_grads(function, (average, value), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


def test_averaging_values_of_another_shape_is_an_error():
    with pytest.raises(TypeError, match=r"incompatible shapes for broadcasting: \(3,\), \(4,\)"):
        update_running_average(jnp.zeros(3), jnp.zeros(4), momentum=0.9)
