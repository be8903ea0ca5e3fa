"""Batch renormalisation against its formula and torch's gradients."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import batch_normalization, batch_renormalization, moments
from tests import properties, references

EPSILON = 1e-3


def example():
    """x, mean, variance, the running ones, offset and scale; some corrections reach the bounds."""
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=(2, 6)), rng.uniform(0.1, 4, size=(2, 6))
    offset, scale = rng.normal(size=(2, 6))
    x = rng.normal(size=(3, 2, 6))
    return x, means[0], variances[0], means[1], variances[1], offset, scale


def by_formula(
    x, mean, variance, past, past_variance, offset, scale, variance_epsilon, r_max, d_max
):
    """The paper's algorithm 1, channel by channel."""
    y = np.zeros(x.shape)
    for c in range(x.shape[-1]):
        sigma, past_sigma = np.sqrt(np.array([variance[c], past_variance[c]]) + variance_epsilon)
        r = min(max(sigma / past_sigma, 1 / r_max), r_max)
        d = min(max((mean[c] - past[c]) / past_sigma, -d_max), d_max)
        y[..., c] = (x[..., c] - mean[c]) / sigma * r + d
        y[..., c] *= 1 if scale is None else scale[c]
        y[..., c] += 0 if offset is None else offset[c]
    return y


def by_statistics_of_x(x, past, past_variance, offset, scale, r_max, d_max):
    batch = moments(x, range(x.ndim - 1))
    return batch_renormalization(
        x, *batch, past, past_variance, offset, scale, EPSILON, r_max=r_max, d_max=d_max
    )


@pytest.mark.slow
@pytest.mark.parametrize("absent", [(), (5,), (6,)], ids=str)
def test_it_is_the_algorithm_of_the_paper(absent):
    properties.check(
        batch_renormalization,
        *(None if i in absent else array for i, array in enumerate(example())),
        reference=by_formula,
        by="NumPy float64",
        vmap=not absent,
        grads=0,  # r and d are constants to the gradient, not to differences
        variance_epsilon=EPSILON,
        r_max=1.5,
        d_max=0.5,
    )


def test_torch_agrees_on_the_gradients_with_r_and_d_held_constant():
    torch = pytest.importorskip("torch")
    x, _, _, *parameters = example()
    cotangent = np.random.default_rng(1).normal(size=x.shape)
    leaves = [torch.from_numpy(v).requires_grad_() for v in (x, *parameters)]
    theirs, past, past_variance, offset, scale = leaves
    variance, mean = torch.var_mean(theirs, (0, 1), correction=0)
    sigma, past_sigma = torch.sqrt(variance + EPSILON), torch.sqrt(past_variance + EPSILON)
    r = torch.clamp(sigma / past_sigma, 1 / 1.5, 1.5).detach()
    d = torch.clamp((mean - past) / past_sigma, -0.5, 0.5).detach()
    y = ((theirs - mean) / sigma * r + d) * scale + offset
    (y * torch.from_numpy(cotangent)).sum().backward()
    ours = partial(by_statistics_of_x, r_max=1.5, d_max=0.5)

    def pull(cotangent, *arrays):
        return jax.vjp(ours, *arrays)[1](cotangent)

    arrays = [v.astype(np.float32) for v in (cotangent, x, *parameters)]
    grads = references.plain_jit(pull)(*arrays)
    expected = [np.zeros(6) if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]
    properties.agree(batch_renormalization, grads, tuple(expected), by="torch")


def test_bounds_of_one_and_zero_leave_batch_normalisation():
    x, mean, variance, past, past_variance, offset, scale = map(jnp.float32, example())
    y = batch_renormalization(
        x, mean, variance, past, past_variance, offset, scale, EPSILON, r_max=1.0, d_max=0.0
    )
    expected = batch_normalization(x, mean, variance, offset, scale, EPSILON)
    references.assert_close(y, expected, 1e-6)


def test_without_bounds_it_normalises_by_the_running_statistics():
    x, mean, variance, past, past_variance, offset, scale = map(jnp.float32, example())
    bound = jnp.float32(1e4)
    renormalize = partial(batch_renormalization, variance_epsilon=EPSILON)
    y = references.plain_jit(renormalize)(
        x, mean, variance, past, past_variance, offset, scale, r_max=bound, d_max=bound
    )
    expected = batch_normalization(x, past, past_variance, offset, scale, EPSILON)
    references.assert_close(y, expected, 1e-5)


@pytest.mark.slow
def test_extreme_inputs_stay_finite_and_so_do_the_gradients():
    x = jnp.float32([[1e4, -1e4, 0.0], [1e4, 1e4, 0.0]])
    one, zero = jnp.ones(3), jnp.zeros(3)

    def total(x):
        return by_statistics_of_x(x, zero, zero, zero, one, 3.0, 5.0).sum()

    value, gradient = jax.value_and_grad(total)(x)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"r_max": 0.5}, "`r_max` must be at least 1, got 0.5"),
        ({"r_max": float("nan")}, "`r_max` must be at least 1, got nan"),
        ({"d_max": -1}, "`d_max` must be at least 0, got -1"),
        (
            {"running_mean": jnp.ones(2)},
            "`running_mean` must have shape (3,) for x of shape (2, 3), got (2,)",
        ),
        (
            {"variance": jnp.ones(())},
            "`variance` must have shape (3,) for x of shape (2, 3), got ()",
        ),
        (
            {"scale": jnp.ones((1, 3))},
            "`scale` must have shape (3,) for x of shape (2, 3), got (1, 3)",
        ),
    ],
)
def test_invalid_arguments_raise(wrong, message):
    names = ("mean", "variance", "running_mean", "running_variance", "offset", "scale")
    arguments = dict.fromkeys(names, jnp.ones(3)) | {"r_max": 3.0, "d_max": 5.0} | wrong
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        batch_renormalization(jnp.ones((2, 3)), variance_epsilon=EPSILON, **arguments)
