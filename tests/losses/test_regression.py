"""Losses of real predictions against the formulas, torch and Keras."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.losses import absolute_error, huber, squared_error
from tests import properties

jitted = jax.jit(jax.grad(lambda x: huber(x, jnp.zeros(()), delta=2.0)))


def example(shape=(2, 5)):
    rng = np.random.default_rng(0)
    return rng.normal(scale=2, size=shape), rng.normal(scale=2, size=shape)


@pytest.mark.slow
def test_squared_error_is_the_square_without_a_half():
    def reference(predictions, targets):
        return np.array([(p - t) ** 2 for p, t in zip(predictions.flat, targets.flat, strict=True)])

    def flat(predictions, targets):
        return reference(predictions, targets).reshape(predictions.shape)

    properties.check(squared_error, *example(), reference=flat, by="NumPy float64", grads=2)


def test_absolute_error_is_the_magnitude():
    def reference(predictions, targets):
        return np.maximum(predictions, targets) - np.minimum(predictions, targets)

    properties.check(absolute_error, *example(), reference=reference, by="NumPy float64")


@pytest.mark.slow
@pytest.mark.parametrize("delta", [0.5, 3.0])
def test_huber_is_quadratic_near_the_target_and_linear_away(delta):
    def reference(predictions, targets, *, delta):
        r = np.abs(predictions - targets)
        return np.where(r <= delta, r**2 / 2, delta * (r - delta / 2))

    properties.check(huber, *example(), reference=reference, by="NumPy float64", delta=delta)


@pytest.mark.parametrize(
    ("loss", "name", "settings"),
    [
        (squared_error, "mse_loss", {}),
        (absolute_error, "l1_loss", {}),
        (huber, "huber_loss", {"delta": 1.5}),
    ],
)
def test_torch_agrees(loss, name, settings):
    torch = pytest.importorskip("torch")

    def reference(predictions, targets, **settings):
        function = getattr(torch.nn.functional, name)
        arrays = torch.from_numpy(predictions), torch.from_numpy(targets)
        return function(*arrays, reduction="none", **settings).numpy()

    properties.check(
        loss, *example(), reference=reference, by="torch", vmap=False, grads=0, **settings
    )


def test_huber_is_delta_times_the_smooth_l1_of_torch():
    torch = pytest.importorskip("torch")

    def reference(predictions, targets, *, delta):
        arrays = torch.from_numpy(predictions), torch.from_numpy(targets)
        loss = torch.nn.functional.smooth_l1_loss(*arrays, beta=delta, reduction="none")
        return delta * loss.numpy()

    arrays = example()
    properties.check(
        huber, *arrays, reference=reference, by="torch", vmap=False, grads=0, delta=1.5
    )


def test_gradients_at_the_target_are_zero_and_those_of_huber_are_bounded():
    assert jax.grad(absolute_error)(jnp.array(2.0), jnp.array(2.0)) == 0
    gradients = [float(jitted(x)) for x in (-1e4, -2.0, -1.0, 0.0, 1.0, 1e4)]
    assert gradients == [-2.0, -2.0, -1.0, 0.0, 1.0, 2.0]


def test_predictions_and_targets_may_differ_in_precision():
    losses = squared_error(jnp.ones(2, jnp.bfloat16), jnp.full(2, 1.001, jnp.float32))
    np.testing.assert_allclose(losses, [1e-6, 1e-6], rtol=1e-3)
