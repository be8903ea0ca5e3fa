"""Local response normalisation against NumPy channel by channel, torch, and large values."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxml.layers import local_response_norm
from tests import properties


def images_of(shape, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=shape)


def reference(x, *, size=5, alpha=1e-4, beta=0.75, k=1.0):
    y = np.zeros_like(x)
    channels = x.shape[-1]
    for channel in range(channels):
        total = 0.0
        for neighbour in range(channel - size // 2, channel - size // 2 + size):
            if 0 <= neighbour < channels:
                total = total + x[..., neighbour] ** 2
        y[..., channel] = x[..., channel] / (k + alpha / size * total) ** beta
    return y


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(1, 7), st.integers(1, 6), st.sampled_from([(), (2,), (2, 3, 2)]))
def test_every_channel_sees_its_neighbours(size, channels, lead):
    x = np.float32(images_of((*lead, channels), 3.0))
    y = jax.jit(partial(local_response_norm, size=size, alpha=0.5))(x)
    expected = reference(np.float64(x), size=size, alpha=0.5)
    properties.agree(local_response_norm, y, expected, by="NumPy float64")


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"alpha": 0.3},
        {"size": 4, "alpha": 2.0, "beta": 0.5, "k": 2.0},
        {"size": 1, "alpha": 1.0, "beta": 1.0, "k": 0.1},
    ],
)
def test_it_has_the_properties_of_a_pure_function(more):
    x = images_of((2, 3, 7))
    by = "NumPy float64"
    properties.check(local_response_norm, x, reference=reference, by=by, **more)


@pytest.mark.parametrize(
    ("size", "scale"), [(1, 1.0), (2, 1e4), (4, 1.0), (5, 1.0), (5, 1e4), (9, 1e4)]
)
def test_torch_agrees(size, scale):
    torch = pytest.importorskip("torch")
    x = images_of((2, 3, 3, 6), scale)
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    expected = torch.nn.functional.local_response_norm(images, size).numpy()
    y = jax.jit(partial(local_response_norm, size=size))(jnp.asarray(x, jnp.float32))
    properties.agree(local_response_norm, y, np.moveaxis(expected, 1, -1), by="torch")


def test_zeros_and_large_values_are_finite():
    x = jnp.array([0.0, 1e15, -1e15, 0.0])
    y = local_response_norm(x)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(np.sign(y), np.sign(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "`size` must be at least 1, got 0"),
        ({"alpha": -1.0}, "`alpha` must be non-negative and finite, got -1.0"),
        ({"beta": np.nan}, "`beta` must be finite, got nan"),
        ({"k": 0.0}, "`k` must be positive and finite, got 0.0"),
        ({"k": np.inf}, "`k` must be positive and finite, got inf"),
    ],
)
def test_settings_that_are_not_allowed_raise(settings, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        local_response_norm(jnp.ones((2, 3)), **settings)


def test_arrays_that_do_not_fit_raise():
    with properties.unchecked():
        with pytest.raises(TypeError, match="`x` must be floating-point, got int32"):
            local_response_norm(jnp.ones((2, 3), jnp.int32))
        with pytest.raises(ValueError, match="`x` must have at least one dimension, got a scalar"):
            local_response_norm(jnp.ones(()))
        with pytest.raises(TypeError, match=re.escape("`size` must be an int or 1 ints, got 2.5")):
            local_response_norm(jnp.ones((2, 3)), size=2.5)  # pyright: ignore[reportArgumentType]
