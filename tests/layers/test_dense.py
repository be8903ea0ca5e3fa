"""The fully connected layer against a loop over its sums."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxml.layers import dense
from tests import references

jitted = jax.jit(dense)


def example(shape=(4,), dtype: Any = np.float32, scale=1.0):
    rng = np.random.default_rng(0)
    shapes = [(*shape, 5), (5, 3), (3,)]
    return [(scale * rng.normal(size=size)).astype(dtype) for size in shapes]


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)], ids=str)
def test_the_last_dimension_is_mapped_linearly(shape):
    x, kernel, bias = example(shape)
    y = jitted(x, kernel, bias)
    assert y.dtype == jnp.float32
    references.assert_close(y, references.dense(*references.float64([x, kernel, bias])), 1e-6)


def test_dense_needs_no_jit():
    arrays = example()
    y = dense(*(jnp.asarray(array) for array in arrays))
    references.assert_close(y, references.dense(*references.float64(arrays)), 1e-6)


def test_without_a_bias_nothing_is_added():
    x, kernel, _ = example()
    expected = references.dense(*references.float64([x, kernel]), bias=np.zeros(3))
    references.assert_close(jitted(x, kernel), expected, 1e-6)


def test_vmap_over_inputs_and_parameters_is_a_loop():
    x, kernel, bias = example()
    references.assert_vmap_is_loop(lambda x: dense(x, jnp.asarray(kernel), jnp.asarray(bias)), x)
    stacks = (np.stack([array, 2 * array, array - 1]) for array in (x, kernel, bias))
    references.assert_vmap_is_loop(dense, *stacks)


def test_gradients_are_those_of_a_bilinear_map():
    x, kernel, bias = example()
    cotangent = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    gradients = jax.jit(lambda c, *arrays: jax.vjp(dense, *arrays)[1](c))(
        cotangent, x, kernel, bias
    )
    x, kernel, c = references.float64([x, kernel, cotangent])
    expected = np.zeros((4, 5)), np.zeros((5, 3)), np.zeros(3)
    for n, i, o in np.ndindex(4, 5, 3):
        expected[0][n, i] += c[n, o] * kernel[i, o]
        expected[1][i, o] += c[n, o] * x[n, i]
    for n, o in np.ndindex(4, 3):
        expected[2][o] += c[n, o]
    references.assert_trees_close(gradients, expected, 1e-6)


def test_gradients_fit_finite_differences():
    # Central differences of a bilinear map have no truncation error, so that the step may be wide.
    check_grads(jitted, example(), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


def test_bfloat16_stays_bfloat16():
    arrays = example(dtype=jnp.bfloat16)
    y = jitted(*arrays)
    assert y.dtype == jnp.bfloat16
    # The product is rounded once, and the sum with the bias once more.
    expected = references.dense(*references.float64(arrays))
    references.assert_close(y, expected, 2 * references.ROUNDING["bfloat16"])


def test_large_inputs_keep_their_relative_precision():
    arrays = example(scale=1e4)
    references.assert_close(jitted(*arrays), references.dense(*references.float64(arrays)), 1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (5,), (5, 3, 1)], ids=str)
def test_a_kernel_that_does_not_fit_is_an_error(shape):
    message = r"kernel: \[5, out\] for x \(2, 5\), not " + re.escape(str(shape))
    with pytest.raises(ValueError, match=message):
        dense(jnp.zeros((2, 5)), jnp.zeros(shape))
