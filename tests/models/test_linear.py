"""Linear models and the perceptron against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import ModelConfig
from jaxml.errors import InputError
from jaxml.models import create_model
from tests import references


def run(config, shape=(4, 3, 2)):
    model = create_model(config, num_classes=5)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    params = model.init(jax.random.key(0), jnp.asarray(x), train=False)["params"]
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params)
    outputs = model.apply({"params": params}, jnp.asarray(x), train=True)
    return x.reshape(len(x), -1).astype(np.float64), references.float64(params), outputs


@pytest.mark.slow
def test_a_linear_model_is_one_product():
    x, params, outputs = run(ModelConfig(name="linear"))
    expected = references.dense(x, params["head"]["kernel"], params["head"]["bias"])
    references.assert_close(outputs, expected, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "function"), [(None, lambda z: np.maximum(z, 0)), ("tanh", np.tanh)]
)
def test_a_perceptron_is_products_with_an_activation_between(activation, function):
    config = ModelConfig(name="mlp", hidden_features=(7, 6), activation=activation)
    x, params, outputs = run(config)
    for name in ("hidden1", "hidden2"):
        x = function(references.dense(x, params[name]["kernel"], params[name]["bias"]))
    expected = references.dense(x, params["head"]["kernel"], params["head"]["bias"])
    references.assert_close(outputs, expected, 1e-5)


def test_a_linear_model_starts_at_zero():
    model = create_model(ModelConfig(name="linear"), num_classes=2)
    params = model.init(jax.random.key(0), jnp.ones((1, 3)), train=False)["params"]
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ModelConfig(name="linear", shortcut="zero_pad"),
            "config.model.shortcut must be unset for linear, .*, got 'zero_pad'",
        ),
        (
            ModelConfig(name="resnet20v1", hidden_features=(3,)),
            r"config.model.hidden_features must be unset for resnet20v1, .*, got \(3,\)",
        ),
        (
            ModelConfig(name="mlp", activation="rleu"),
            "config.model.activation must be one of .*, got 'rleu'; did you mean 'relu'",
        ),
        (
            ModelConfig(name="lineer"),
            "config.model.name must be .*, got 'lineer'; did you mean 'linear'",
        ),
    ],
)
def test_an_option_that_a_network_does_not_have_is_an_error(config, message):
    with pytest.raises(InputError, match=message):
        create_model(config, num_classes=2)
