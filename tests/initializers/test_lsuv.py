"""LSUV against its algorithm in NumPy, and on networks of every kind of layer."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxml import models
from jaxml.initializers import lsuv
from tests import properties, references

KEY = jax.random.key(0)


class Net(nn.Module):
    """Convolutions around a norm, a residual, a bias, and a shared layer at the end."""

    @nn.compact
    def __call__(self, x, *, train):
        """Images to six numbers each."""
        x = models.Conv(6, name="first")(x)
        x = nn.relu(models.BatchNorm()(x, train=train))
        x = x + models.Conv(6, use_bias=True, name="second")(x)
        x = nn.relu(x.mean((1, 2)))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        shared = models.Dense(6, name="shared")
        return shared(nn.relu(shared(x)))


def images(scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(0).normal(size=(32, 5, 5, 3)), jnp.float32)


def initial(net, *inputs, **settings):
    return references.plain_jit(lambda *inputs: net.init(KEY, *inputs, **settings))(*inputs)


def test_a_perceptron_is_scaled_as_the_algorithm_in_numpy_scales_it():
    x = jax.random.normal(jax.random.key(1), (64, 8))
    sizes = [16, 12, 4]
    net = nn.Sequential([models.Dense(sizes[0]), *(
        layer for size in sizes[1:] for layer in (nn.tanh, models.Dense(size))
    )])  # fmt: skip
    # A kernel of any size: nothing but its shape counts.
    variables = jax.tree.map(lambda leaf: 7 * leaf, initial(net, x))
    params = lsuv(KEY, net, variables, x)["params"]

    h = np.asarray(x, np.float64)
    expected, actual = [], []
    for name in sorted(params, key=lambda name: int(name.removeprefix("layers_"))):
        kernel = np.asarray(params[name]["kernel"], np.float64)
        q = kernel / np.linalg.norm(kernel, ord=2)
        side = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
        references.assert_close(side, np.eye(len(side)), 1e-5)
        y = h @ q
        expected.append(q / y.std())
        actual.append(np.asarray(params[name]["kernel"]))
        h = np.tanh(y / y.std())
    properties.agree(lsuv, actual, expected, by="NumPy float64")


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
def test_every_layer_has_unit_variance_at_its_first_run(train):
    net, x = Net(), images(scale=30.0)
    variables = initial(net, x, train=False)
    params = dict(variables["params"])
    params["second"] = {**params["second"], "bias": jnp.arange(6.0)}
    variables = {**variables, "params": params}
    rngs = {"dropout": KEY}
    tuned = lsuv(KEY, net, variables, x, tolerance=0.01, rngs=rngs, train=train)
    _, state = net.apply(tuned, x, train=train, rngs=rngs, capture_intermediates=True, mutable=True)
    for name in ("first", "second", "shared"):
        y = np.asarray(state["intermediates"][name]["__call__"][0], np.float64)
        # The variance of the bias alone, 35 / 12, is out of a kernel's reach.
        reachable = name != "second"
        assert (abs(y.var() - 1) < 0.01) == reachable, name
    references.assert_trees_close(tuned["batch_stats"], variables["batch_stats"], 0)
    references.assert_close(tuned["params"]["second"]["bias"], np.arange(6.0), 0)
    assert jax.tree.structure(tuned) == jax.tree.structure(variables)


@pytest.mark.slow
def test_a_bias_takes_more_than_one_scaling():
    net, x = models.Conv(6, use_bias=True), images(scale=30.0)
    variables = initial(net, x)
    bias = jnp.asarray(np.linspace(-1, 1, 6), jnp.float32)  # of variance 0.47
    variables = {"params": {**variables["params"], "bias": bias}}

    def error(max_iterations):
        tuned = lsuv(KEY, net, variables, x, tolerance=1e-4, max_iterations=max_iterations)
        return abs(np.asarray(net.apply(tuned, x), np.float64).var() - 1)

    assert error(1) > 0.1
    assert error(2) < error(1)
    assert error(30) < 1e-4


@pytest.mark.slow
def test_kernels_keep_their_dtype_and_layers_may_compute_in_bfloat16():
    net, x = models.Dense(16, dtype=jnp.bfloat16), jax.random.normal(KEY, (256, 8))
    tuned = lsuv(KEY, net, initial(net, x), x)
    assert tuned["params"]["kernel"].dtype == jnp.float32
    y = jnp.asarray(net.apply(tuned, x))
    assert y.dtype == jnp.bfloat16
    # The scaling itself is in float32; the output is rounded.
    assert np.asarray(y, np.float64).var() == pytest.approx(1, rel=2**-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "scale", "settings", "message"),
    [
        (models.Dense(2), 1.0, {"tolerance": 0.0}, "`tolerance` must be positive, got 0.0"),
        (models.Dense(2), 1.0, {"max_iterations": 0}, "`max_iterations` must be at least 1, got 0"),
        (
            nn.Sequential([models.Dense(2)]),
            0.0,
            {},
            "every layer an output of finite positive variance, got 0.0 in layers_0",
        ),
        (nn.LayerNorm(), 1.0, {}, "`module` must have at least one layer with a kernel, got none"),
    ],
)
def test_networks_that_cannot_be_scaled_raise(net, scale, settings, message):
    x = scale * jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    with pytest.raises(ValueError, match=re.escape(message)):
        lsuv(KEY, net, initial(net, x), x, **settings)
