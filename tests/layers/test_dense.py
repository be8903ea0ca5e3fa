"""The fully connected layer against NumPy and torch."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxml.layers import dense
from tests import properties, references

SIZES = st.integers(1, 5)


def example(lead, n_in, n_out, scale=1.0):
    rng = np.random.default_rng(0)
    return [scale * rng.normal(size=size) for size in ((*lead, n_in), (n_in, n_out), (n_out,))]


@pytest.mark.slow
@given(arrays.array_shapes(min_dims=0, max_dims=3, max_side=4, min_side=0), SIZES, SIZES)
def test_the_last_dimension_is_mapped_linearly(lead, n_in, n_out):
    x, kernel, bias = example(lead, n_in, n_out)
    properties.check(
        dense, x, kernel, bias, reference=references.dense, by="NumPy float64", grads=0
    )


@pytest.mark.slow
def test_gradients_and_vmap_with_a_bias_and_without():
    x, kernel, bias = example((2, 3), 5, 4)
    properties.check(
        dense, x, kernel, bias, reference=references.dense, by="NumPy float64", grads=2
    )

    def without(x, kernel, bias):
        return references.dense(x, kernel, np.zeros(kernel.shape[1]))

    properties.check(dense, x, kernel, None, reference=without, by="NumPy float64")


def test_torch_agrees():
    torch = pytest.importorskip("torch")

    def linear(*arrays):
        x, kernel, bias = map(torch.from_numpy, arrays)
        return torch.nn.functional.linear(x, kernel.T, bias).numpy()

    properties.check(dense, *example((7,), 5, 3, scale=1e4), reference=linear, by="torch", grads=0)


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        (
            "kernel",
            [(2, 5), (4, 3), (3,)],
            "`kernel` must be [5, out] for x of shape (2, 5), got (4, 3)",
        ),
        (
            "kernel",
            [(2, 5), (5,), (3,)],
            "`kernel` must be [5, out] for x of shape (2, 5), got (5,)",
        ),
        ("kernel", [(), (5, 3), (3,)], "`x` must have at least one dimension, got a scalar"),
        ("bias", [(2, 5), (5, 3), (4,)], "`bias` must be [3] for a kernel (5, 3), got (4,)"),
    ],
)
def test_shapes_that_do_not_fit_raise(name, shapes, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        dense(*map(jnp.zeros, shapes))


@pytest.mark.parametrize(
    ("dtypes", "message"),
    [
        (("int32", "int32", "int32"), "must have one floating-point dtype, got int32, int32"),
        (("float32", "int32", None), "must have one floating-point dtype, got float32, int32"),
        (
            ("float32", "bfloat16", None),
            "must have one floating-point dtype, got float32, bfloat16",
        ),
        (
            ("bfloat16", "bfloat16", "float32"),
            "one floating-point dtype, got bfloat16, bfloat16, float",
        ),
    ],
)
def test_dtypes_that_do_not_fit_raise(dtypes, message):
    shapes = [(2, 5), (5, 3), (3,)]
    arrays = [d and jnp.zeros(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    with properties.unchecked(), pytest.raises(TypeError, match=re.escape(message)):
        dense(*arrays)
