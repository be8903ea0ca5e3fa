"""What the studies share: measurements by name, and training with several values of a setting."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml.studies import Settings, Table
from jaxml.studies import _training as training
from jaxml.studies._deep import forward_and_backward
from jaxml.studies._study import part


def test_a_part_has_the_measurements_of_one_kind():
    found: Any = {"loss, a, b": 1, "losses, c": 2, "loss": 3, "loss, d": 4}
    assert part(found, "loss") == {"a, b": 1, "d": 4}


def test_a_table_of_columns_has_the_rows_of_the_first():
    table = Table.of("name", {"x": {"a": 1, "b": 2}, "y": {"b": 3, "c": 4}})
    assert table == Table(("name", "x", "y"), [("a", 1, "-"), ("b", 2, 3)])


def test_a_constant_has_an_entry_for_each_seed():
    assert Settings(seeds=(3, 4, 5)).constant((1, 2)).tolist() == [[1, 2]] * 3


def test_gradients_by_layer_are_those_of_jax():
    kernels = jax.random.normal(jax.random.key(0), (4, 3, 3))
    x = jnp.ones((2, 3))

    def layer(h, kernel):
        return jnp.tanh(h @ kernel)

    def loss(h, kernels):
        for kernel in kernels:
            h = layer(h, kernel)
        return (h**3).sum()

    hidden, gradients = forward_and_backward(layer, kernels, x, lambda last: 3 * last**2)
    assert hidden.shape == gradients.shape == (4, 2, 3)
    np.testing.assert_allclose(hidden[0], layer(x, kernels[0]), rtol=1e-6)
    for i in range(4):  # the gradient after layer i is that of the input of the others
        expected = jax.grad(loss)(hidden[i], kernels[i + 1 :])
        np.testing.assert_allclose(gradients[i], expected, rtol=1e-5)


def test_training_with_each_value_is_training_with_one():
    settings, inputs = Settings(seeds=(0, 1)), jnp.arange(6.0).reshape(2, 3)
    params = jnp.array([1.0, 2.0])

    def loss(w, x, value):
        return (w - value * x) ** 2

    both, history = training.descend_with_each(
        (0.5, 3.0), loss, params, inputs, optimizer=optax.sgd(0.1, 0.9)
    )
    assert history.shape == (2, len(settings.seeds), 3)
    for i, value in enumerate((0.5, 3.0)):
        one, losses = training.descend(
            lambda w, x, value=value: loss(w, x, value),
            params,
            inputs,
            optimizer=optax.sgd(0.1, 0.9),
        )
        np.testing.assert_allclose(both[i], one, rtol=1e-6)
        np.testing.assert_allclose(history[i], losses, rtol=1e-6)


def test_learning_rates_are_those_of_descent():
    params, rows = jnp.array([1.0, 2.0]), jnp.zeros((2, 3, 1), jnp.int32)
    ends, _ = training.descend_at_rates((0.1, 0.25), lambda w, _: w**2, params, rows)
    expected = np.array([[1.0, 2.0]]) * (1 - 2 * np.array([[0.1], [0.25]])) ** 3
    np.testing.assert_allclose(ends, expected, rtol=1e-6)
