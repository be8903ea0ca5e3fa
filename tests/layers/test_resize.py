"""Upsampling against NumPy, torch and Keras."""

import math
import os
import re
import tempfile

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import upsample
from tests import properties

METHODS = ["nearest", "bilinear"]


def images_of(shape, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=shape)


def line(x, factor, method):
    """One dimension, the first, pixel by pixel."""
    y = np.zeros((len(x) * factor, *x.shape[1:]))
    for i in range(len(y)):
        if method == "nearest":
            y[i] = x[i // factor]
            continue
        place = min(max((i + 0.5) / factor - 0.5, 0), len(x) - 1)
        low = math.floor(place)
        high = min(low + 1, len(x) - 1)
        y[i] = (low + 1 - place) * x[low] + (place - low) * x[high]
    return y


def reference_upsample(x, *, factor, method="nearest"):
    factors = (factor, factor) if isinstance(factor, int) else factor
    for axis, f in zip((-3, -2), factors, strict=True):
        x = np.moveaxis(line(np.moveaxis(x, axis, 0), f, method), 0, axis)
    return x


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("shape", "factor"),
    [((2, 3, 4, 2), 2), ((3, 2, 1), (3, 1)), ((2, 1, 1, 3, 2), (4, 3))],
    ids=str,
)
def test_every_pixel_is_where_it_should_be(shape, factor, method):
    settings = {"factor": factor, "method": method}
    x = images_of(shape)
    properties.check(upsample, x, reference=reference_upsample, by="NumPy float64", **settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [2, 3, (1, 4)])
def test_torch_and_keras_agree(factor, method):
    torch = pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp())
    x = images_of((2, 3, 4, 2), 1e4)
    y = upsample(jnp.asarray(x, jnp.float32), factor=factor, method=method)
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    corners = {} if method == "nearest" else {"align_corners": False}
    factors = (factor, factor) if isinstance(factor, int) else factor
    expected = torch.nn.functional.interpolate(
        images, scale_factor=tuple(map(float, factors)), mode=method, **corners
    )
    properties.agree(upsample, y, np.moveaxis(expected.numpy(), 1, -1), by="torch")
    keras = pytest.importorskip("keras")
    layer = keras.layers.UpSampling2D(
        factor, interpolation=method, data_format="channels_last", dtype="float64"
    )
    expected = layer(torch.from_numpy(x)).detach().numpy()
    properties.agree(upsample, y, expected, by="Keras")


def test_integers_are_repeated_and_not_interpolated():
    x = jnp.arange(6, dtype=jnp.int32).reshape(2, 3, 1)
    y = upsample(x, factor=2)
    assert y.dtype == jnp.int32
    np.testing.assert_array_equal(y, np.repeat(np.repeat(x, 2, 0), 2, 1))
    with pytest.raises(TypeError, match="`x` must be floating-point, got int32"):
        upsample(x, factor=2, method="bilinear")


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((4, 4), {"factor": 2}, "`x` must be [..., height, width, channels], got shape (4, 4)"),
        ((4, 4, 1), {"factor": 0}, "`factor` must be at least 1, got 0"),
        ((4, 4, 1), {"factor": (2, 2, 2)}, "`factor` must be an int or 2 ints, got (2, 2, 2)"),
        (
            (4, 4, 1),
            {"factor": 2, "method": "bicubic"},
            "`method` must be 'nearest' or 'bilinear', got 'bicubic'",
        ),
    ],
)
def test_invalid_arguments_raise(shape, settings, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        upsample(jnp.zeros(shape), **settings)


def test_a_factor_that_is_no_int_is_an_error():
    with (
        properties.unchecked(),
        pytest.raises(TypeError, match=r"`factor` must be an int or 2 ints, got 1\.5"),
    ):
        upsample(jnp.zeros((4, 4, 1)), factor=1.5)  # pyright: ignore[reportArgumentType]
