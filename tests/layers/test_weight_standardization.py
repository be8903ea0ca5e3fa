"""Weight standardisation against its formula and torch."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import weight_standardization
from tests import properties


def example(shape=(3, 2, 4, 5)):
    return np.random.default_rng(0).normal(1.0, 0.2, size=shape)


def by_formula(kernel, epsilon=1e-6):
    y = np.zeros(kernel.shape)
    for o in range(kernel.shape[-1]):
        weights = kernel[..., o]
        y[..., o] = (weights - weights.mean()) / np.sqrt(weights.var() + epsilon)
    return y


@pytest.mark.slow
def test_the_weights_of_every_output_are_standardised():
    properties.check(weight_standardization, example(), reference=by_formula, by="NumPy float64")


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 5), (2, 2, 2, 3, 2)], ids=str)
def test_dense_kernels_and_those_of_other_ranks_too(shape):
    kernel = example(shape)
    y = weight_standardization(jnp.float32(kernel), epsilon=0.1)
    properties.agree(weight_standardization, y, by_formula(kernel, 0.1), by="NumPy float64")


def test_torch_agrees_by_the_batch_normalisation_of_filters():
    torch = pytest.importorskip("torch")

    def batch_norm(kernel):
        filters = torch.from_numpy(kernel.reshape(1, -1, kernel.shape[-1])).permute(0, 2, 1)
        y = torch.nn.functional.batch_norm(filters, None, None, training=True, eps=1e-6)
        return y.permute(0, 2, 1).numpy().reshape(kernel.shape)

    properties.check(
        weight_standardization, example(), reference=batch_norm, by="torch", vmap=False, grads=0
    )


@pytest.mark.slow
def test_a_constant_filter_becomes_zero_and_its_gradient_is_finite():
    kernel = jnp.full((3, 3, 2, 4), 0.1)
    y, vjp = jax.vjp(weight_standardization, kernel)
    np.testing.assert_array_equal(y, np.zeros(kernel.shape))
    assert np.isfinite(vjp(kernel)[0]).all()


@pytest.mark.slow
def test_digits_are_kept_where_the_mean_is_large():
    kernel = (1e4 + 5 * (example((5, 5, 4, 3)) - 1)).astype(np.float32)
    # The mean is rounded to a multiple of 2^-10.
    y = weight_standardization(jnp.asarray(kernel))
    np.testing.assert_allclose(y, by_formula(kernel.astype(np.float64)), atol=2 * 2.0**-10)


@pytest.mark.parametrize(
    ("kernel", "error", "message"),
    [
        (jnp.ones(3), ValueError, "`kernel` must be [..., in, out], got shape (3,)"),
        (jnp.ones((3, 2), int), TypeError, "`kernel` must be floating-point, got int32"),
    ],
)
def test_what_is_no_kernel_raises(kernel, error, message):
    with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
        weight_standardization(kernel)
