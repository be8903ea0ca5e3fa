"""A Linen network inside Flax NNX, as launch/README.md shows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxml.models import MODELS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Flax, inside the bridge
def test_a_network_with_given_variables_is_the_same_in_nnx():
    network = MODELS["resnet_tiny"](num_classes=3)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 1)), jnp.float32)
    variables = network.init(jax.random.key(1), images, train=False)

    model = nnx.bridge.ToNNX(network, rngs=nnx.Rngs(0)).lazy_init(images, train=False)
    for name, value in nnx.bridge.variables.linen_vars_to_nnx_attrs(variables).items():
        setattr(model, name, nnx.data(value))

    expected = np.asarray(network.apply(variables, images, train=False))
    np.testing.assert_allclose(model(images, train=False), expected, rtol=1e-5, atol=1e-6)

    def loss(model):
        return (model(images, train=True, mutable=["batch_stats"]) ** 2).sum()

    gradients: Any = nnx.state(nnx.grad(loss)(model))
    wanted = jax.grad(
        lambda params: (
            network.apply({**variables, "params": params}, images, train=True,
                          mutable=["batch_stats"])[0] ** 2
        ).sum()
    )(variables["params"])  # fmt: skip
    np.testing.assert_allclose(
        gradients["head"]["kernel"][...], wanted["head"]["kernel"], rtol=1e-4, atol=1e-5
    )
