"""Layer and RMS normalisation against exactly rounded sums, torch and Keras."""

import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxml.layers import layer_norm, rms_norm
from tests import properties, references


def example(shape, axes, seed=0):
    rng = np.random.default_rng(seed)
    sizes = [size for axis, size in enumerate(shape) if axis - len(shape) in axes]
    return rng.normal(size=shape), rng.normal(size=sizes), rng.normal(size=sizes)


def spread(value, x, axes):
    return value.reshape([n if i - x.ndim in axes else 1 for i, n in enumerate(x.shape)])


def by_formula(x, scale, bias, axes=(-1,), epsilon=1e-5):
    mean, variance = (v.reshape(shape_kept(x, axes)) for v in references.moments(x, axes))
    y = (x - mean) / np.sqrt(variance + epsilon)
    scale = 1 if scale is None else spread(scale, x, axes)
    return y * scale + (0 if bias is None else spread(bias, x, axes))


def rms_by_formula(x, scale, axes=(-1,), epsilon=1e-6):
    root = np.sqrt((x**2).mean(tuple(axes), keepdims=True) + epsilon)
    return x / root * (1 if scale is None else spread(scale, x, axes))


def shape_kept(x, axes):
    return [1 if i - x.ndim in axes else n for i, n in enumerate(x.shape)]


@pytest.mark.slow
@settings(max_examples=6)
@given(st.lists(st.integers(2, 3), min_size=1, max_size=3), st.data())
def test_any_axes_of_any_shape(shape, data):
    axes = tuple(sorted(data.draw(st.sets(st.integers(-len(shape), -1), min_size=1))))
    arrays = example(shape, axes)

    @references.plain_jit
    def both(x, scale, bias):
        return layer_norm(x, scale, bias, axes=axes), rms_norm(x, scale, axes=axes)

    normal, root = both(*(v.astype(np.float32) for v in arrays))
    properties.agree(layer_norm, normal, by_formula(*arrays, axes=axes), by="NumPy float64")
    properties.agree(rms_norm, root, rms_by_formula(*arrays[:2], axes=axes), by="NumPy float64")


@pytest.mark.slow
def test_both_have_the_properties_of_pure_functions():
    x, scale, bias = example((2, 3, 4), (-1, -3))
    choice: dict = {"axes": (-1, -3), "epsilon": 0.1}
    properties.check(layer_norm, x, scale, bias, reference=by_formula, by="NumPy float64", **choice)
    properties.check(rms_norm, x, scale, reference=rms_by_formula, by="NumPy float64", **choice)


@pytest.mark.slow
def test_bias_defaults_to_zero_and_scale_to_one():
    x, *_ = example((3, 4), (-1,))
    expected = by_formula(x, None, None)
    properties.agree(layer_norm, layer_norm(jnp.float32(x)), expected, by="NumPy float64")
    properties.agree(
        rms_norm, rms_norm(jnp.float32(x)), rms_by_formula(x, None), by="NumPy float64"
    )


@pytest.mark.slow
def test_torch_agrees():
    torch = pytest.importorskip("torch")

    def layer(x, scale, bias, axes):
        x, scale, bias = map(torch.from_numpy, (x, scale, bias))
        return torch.nn.functional.layer_norm(x, scale.shape, scale, bias).numpy()

    def rms(x, scale, axes, epsilon):
        x, scale = map(torch.from_numpy, (x, scale))
        return torch.nn.functional.rms_norm(x, scale.shape, scale, epsilon).numpy()

    x, scale, bias = example((2, 3, 4), (-1, -2))
    none: dict = {"axes": (-2, -1), "vmap": False, "grads": 0}
    properties.check(layer_norm, x, scale, bias, reference=layer, by="torch", **none)
    properties.check(rms_norm, x, scale, reference=rms, by="torch", epsilon=1e-3, **none)


def test_keras_agrees(tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")
    x, scale, bias = example((2, 3, 4), (-1,))
    singles = [jnp.float32(v) for v in (x, scale, bias)]
    y = keras.ops.layer_normalization(x, gamma=scale, beta=bias, epsilon=1e-3)
    properties.agree(layer_norm, layer_norm(*singles, epsilon=1e-3), y.numpy(), by="Keras")
    y = keras.ops.rms_normalization(x, scale=scale, axis=-1, epsilon=1e-6)
    properties.agree(rms_norm, rms_norm(*singles[:2]), y.numpy(), by="Keras")


def test_digits_are_kept_where_the_mean_is_large():
    x, *_ = example((3, 50), (-1,))
    x = (1e4 + x).astype(np.float32)
    expected = by_formula(x.astype(np.float64), None, None)
    # The mean is rounded to a multiple of 2^-10.
    np.testing.assert_allclose(layer_norm(jnp.asarray(x)), expected, atol=2 * 2.0**-10)


@pytest.mark.slow
@pytest.mark.parametrize("function", [layer_norm, rms_norm])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_extreme_inputs_stay_finite_and_so_do_the_gradients(function, dtype):
    x = jnp.asarray([[0.0] * 4, [1e4] * 4, [1e4, -1e4, 1e4, 0.0]], dtype)
    value, vjp = jax.vjp(function, x)
    assert value.dtype == dtype
    assert np.isfinite(value).all()
    assert np.isfinite(vjp(value)[0]).all()


@pytest.mark.parametrize("function", [layer_norm, rms_norm])
@pytest.mark.parametrize(
    ("x", "choice", "error", "message"),
    [
        (jnp.ones((2, 3)), {"axes": [2]}, ValueError, "`axes` must be in [-2, 1], got (2,)"),
        (jnp.ones((2, 3)), {"axes": []}, ValueError, "`axes` must be in [-2, 1], got ()"),
        (
            jnp.ones((2, 3)),
            {"scale": jnp.ones(2)},
            ValueError,
            "`scale` must have shape (3,) for x of shape (2, 3), got (2,)",
        ),
        (jnp.ones((2, 3), int), {}, TypeError, "`x` must be floating-point, got int32"),
    ],
)
def test_invalid_arguments_raise(function, x, choice, error, message):
    with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
        function(x, **choice)


def test_a_bias_of_another_shape_raises():
    message = "`bias` must have shape (3,) for x of shape (2, 3), got (1, 3)"
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        layer_norm(jnp.ones((2, 3)), bias=jnp.ones((1, 3)))
