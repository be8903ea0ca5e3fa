"""Activations against their formulas in NumPy and SciPy, torch and Keras."""

import functools
import os
import re
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxml import activations
from jaxml.activations import ACTIVATIONS
from tests import properties, references

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def six(x):
    return np.clip(x + 3, 0, 6) / 6


def leaky(x, slope):
    return np.where(x < 0, slope * x, x)


def exponential(x, alpha):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


# Each formula of one argument, in float64; some come from SciPy.
FORMULAS = {
    "celu": lambda x: exponential(x, 1.0),
    "elu": lambda x: exponential(x, 1.0),
    "gelu_exact": lambda x: x * scipy.special.ndtr(x),
    "gelu": lambda x: x * scipy.special.expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)),
    "hard_sigmoid": six,
    "hard_silu": lambda x: x * six(x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "leaky_relu": lambda x: leaky(x, 0.01),
    "log_softmax": lambda x: scipy.special.log_softmax(x, axis=-1),
    # tanh(log(1 + e)) with the exponentials multiplied out.
    "mish": lambda x: x * np.where(
        x > 0, (1 + 2 * np.exp(-abs(x))) / (1 + 2 * np.exp(-abs(x)) + 2 * np.exp(-2 * abs(x))),
        (2 * np.exp(-abs(x)) + np.exp(-2 * abs(x)))
        / (2 + 2 * np.exp(-abs(x)) + np.exp(-2 * abs(x))),
    ),
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "selu": lambda x: SELU_SCALE * exponential(x, SELU_ALPHA),
    "sigmoid": scipy.special.expit,
    "silu": lambda x: x * scipy.special.expit(x),
    "softmax": lambda x: scipy.special.softmax(x, axis=-1),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
    "tanh": lambda x: np.sign(x) * -np.expm1(-2 * abs(x)) / (1 + np.exp(-2 * abs(x))),
}  # fmt: skip
ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
SETTINGS = {"gelu_exact": {"approximate": False}}
NAMES = sorted(FORMULAS)


def values():
    """No kink (-3, -1, 0, 1, 3, 6) is nearer than differences reach."""
    return np.random.default_rng(0).permutation(np.linspace(-8.03, 8.04, 24)).reshape(2, 3, 4)


def public(name):
    return getattr(activations, "gelu" if name == "gelu_exact" else name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_is_its_formula(name):
    def reference(x, **_):
        return FORMULAS[name](x)

    form = SETTINGS.get(name, {})
    properties.check(public(name), values(), reference=reference, by="NumPy, SciPy", **form)


def torch_functions():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    names = {"hard_sigmoid": f.hardsigmoid, "hard_silu": f.hardswish, "hard_tanh": f.hardtanh,
             "gelu": lambda x: f.gelu(x, approximate="tanh"), "gelu_exact": f.gelu,
             "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softmax": lambda x: f.softmax(x, -1),
             "log_softmax": lambda x: f.log_softmax(x, -1),
             "softplus": lambda x: f.softplus(x, threshold=1e5)}  # fmt: skip
    return {name: names.get(name) or getattr(f, name) for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_torch_agrees_in_values_and_gradients(name):
    torch = pytest.importorskip("torch")
    theirs = torch_functions()[name]
    x, cotangent = values(), np.random.default_rng(1).normal(size=(2, 3, 4))
    leaf = torch.from_numpy(x).requires_grad_()
    y = theirs(leaf)
    y.backward(torch.from_numpy(cotangent))
    function = functools.partial(public(name), **SETTINGS.get(name, {}))
    with jax.enable_x64(True):
        actual, pull = jax.vjp(function, jnp.asarray(x))
        properties.agree(public(name), actual, y.detach().numpy(), by="torch", rtol=1e-10)
        # In torch, the sixth of hard_sigmoid's gradient is rounded to float32.
        rtol = 2**-24 if name == "hard_sigmoid" else 1e-10
        references.assert_close(pull(jnp.asarray(cotangent))[0], leaf.grad, rtol)


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp(prefix="keras-"))
    return pytest.importorskip("keras")


@pytest.mark.parametrize("name", NAMES)
def test_keras_agrees_where_it_means_the_same(name, keras):
    theirs = {
        "gelu": lambda x: keras.activations.gelu(x, approximate=True),
        "gelu_exact": lambda x: keras.activations.gelu(x, approximate=False),
        "leaky_relu": lambda x: keras.activations.leaky_relu(x, negative_slope=0.01),
    }.get(name) or getattr(keras.activations, name)

    x = values()
    expected = theirs(keras.ops.convert_to_tensor(x)).numpy()
    with jax.enable_x64(True):
        actual = public(name)(jnp.asarray(x), **SETTINGS.get(name, {}))
    properties.agree(public(name), actual, expected, by="Keras", rtol=1e-10)


@pytest.mark.slow
def test_parameters_have_their_meaning():
    x = values()
    for slope in (0.0, 0.2, 1.5):
        properties.check(activations.leaky_relu, x, reference=lambda x, negative_slope: leaky(
            x, negative_slope), by="NumPy, SciPy", vmap=False, negative_slope=slope)  # fmt: skip
    for alpha in (0.5, 2.0):
        properties.check(
            activations.elu, x, reference=exponential, by="NumPy, SciPy", vmap=False, alpha=alpha
        )
        properties.check(activations.celu, x, reference=lambda x, alpha: exponential(
            x / alpha, 1.0) * alpha, by="NumPy, SciPy", vmap=False, alpha=alpha)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, -2, (0, -1), None])
def test_any_axis_may_be_normalised(name, axis):
    def reference(x, axis):
        return getattr(scipy.special, name)(x, axis=axis)

    function = getattr(activations, name)
    properties.check(
        function, values(), reference=reference, by="NumPy, SciPy", vmap=False, axis=axis
    )


@pytest.mark.slow
def test_masked_entries_are_left_out_of_the_softmax():
    x, where = values(), np.random.default_rng(0).random((2, 3, 4)) > 0.4
    where[0, 0] = True
    where[1, 2] = False

    def reference(x, where):
        y = np.zeros(x.shape)
        for index in np.ndindex(x.shape[:-1]):
            if where[index].any():
                y[index][where[index]] = scipy.special.softmax(x[index][where[index]])
        return y

    def masked(x, where):
        return activations.softmax(x, where=where)

    masked.__module__, masked.__qualname__ = "jaxml.activations", "softmax"
    properties.check(masked, x, where, reference=reference, by="NumPy, SciPy")

    logs = np.asarray(
        activations.log_softmax(jnp.asarray(x, jnp.float32), where=jnp.asarray(where))
    )
    references.assert_close(np.exp(logs), reference(x, where), 1e-5)
    assert np.isneginf(logs[~where]).all()


def test_gradients_of_a_masked_log_softmax_are_finite_and_leave_out_what_is_masked():
    x = jnp.asarray([[1.0, -2.0, 3.0], [1e4, -1e4, 0.0]])
    where = jnp.asarray([[True, True, False], [True, True, False]])

    def kept(x):
        logs = activations.log_softmax(x, where=where)
        return jnp.where(where, logs, 0).sum()

    gradients = np.asarray(jax.grad(kept)(x), np.float64)
    p = 1 / (1 + np.exp(-3.0))
    references.assert_close(gradients, [[1 - 2 * p, 2 * p - 1, 0], [-1, 1, 0]], 1e-6)


def prelu(x, slope):
    return np.stack([leaky(x[..., c], slope[c]) for c in range(len(slope))], axis=-1)


@pytest.mark.slow
@settings(max_examples=5)
@given(arrays.array_shapes(min_dims=1, max_dims=3, max_side=3))
def test_prelu_has_a_slope_for_every_channel(shape):
    rng = np.random.default_rng(0)
    x, slope = rng.normal(size=shape), rng.normal(size=shape[-1])
    properties.check(activations.prelu, x, slope, reference=prelu, by="NumPy, SciPy", grads=0)


def test_torch_agrees_on_prelu():
    torch = pytest.importorskip("torch")
    x, slope = values(), np.array([0.25, -0.5, 0.0, 2.0])

    def reference(x, slope):
        x = torch.from_numpy(np.moveaxis(x, -1, 1))
        return np.moveaxis(torch.nn.functional.prelu(x, torch.from_numpy(slope)).numpy(), 1, -1)

    properties.check(activations.prelu, x, slope, reference=reference, by="torch", grads=2)


def maxout(x, pieces):
    y = np.full((*x.shape[:-1], x.shape[-1] // pieces), -np.inf)
    for c in range(x.shape[-1]):
        y[..., c // pieces] = np.maximum(y[..., c // pieces], x[..., c])
    return y


@pytest.mark.slow
@settings(max_examples=5)
@given(
    arrays.array_shapes(min_dims=0, max_dims=2, max_side=3), st.integers(1, 3), st.integers(1, 3)
)
def test_maxout_takes_the_largest_of_neighbours(lead, features, pieces):
    x = np.random.default_rng(0).normal(size=(*lead, features * pieces))
    properties.check(
        activations.maxout, x, reference=maxout, by="NumPy, SciPy", grads=0, pieces=pieces
    )


def test_gradients_of_maxout():
    properties.check(
        activations.maxout, values(), reference=maxout, by="NumPy, SciPy", grads=2, pieces=2
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_extreme_inputs_are_finite_and_so_are_their_gradients(name, dtype):
    x = jnp.asarray([-1e4, -88.0, -20.0, -0.0, 0.0, 1e-30, 20.0, 88.0, 1e4], dtype)
    y, pull = jax.vjp(ACTIVATIONS[name], x)
    (gradient,) = pull(jnp.ones_like(y))
    assert y.dtype == gradient.dtype == dtype
    assert np.isfinite(np.asarray(gradient, np.float64)).all()
    expected = FORMULAS[name](np.asarray(x, np.float64))
    rounding = references.ROUNDING[str(y.dtype)]
    # Each of the few operations rounds once; entries near 0 stand beside ones of 1e4.
    references.assert_close(y, expected, 4 * rounding, name)
    bounded = {"sigmoid", "tanh", "softmax", "hard_sigmoid", "hard_tanh", "relu6"}
    slopes = np.asarray(gradient, np.float64)[[0, -1]]
    if name in bounded:
        np.testing.assert_array_equal(slopes, [0, 0])
    elif name not in ("log_softmax", "leaky_relu", "selu"):
        np.testing.assert_array_equal(slopes, [0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("function", [activations.prelu, activations.maxout])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_inputs_of_the_others(function, dtype):
    x = jnp.asarray([-1e4, 1e4, -1e4, 1e4], dtype)
    second = jnp.full(4, 0.25, dtype) if function is activations.prelu else 2
    y, pull = jax.vjp(lambda x: function(x, second), x)
    expected = [-2500, 1e4, -2500, 1e4] if function is activations.prelu else [1e4, 1e4]
    references.assert_close(y, expected, 2 * references.ROUNDING[str(y.dtype)])
    slope = 0.25 if function is activations.prelu else 0
    np.testing.assert_array_equal(np.asarray(pull(jnp.ones_like(y))[0], np.float64), [slope, 1] * 2)


def test_the_sum_of_a_softmax_in_bfloat16_is_not_rounded_at_every_step():
    x = jnp.zeros(3000, jnp.bfloat16)
    expected = np.full(3000, -np.log(3000))
    references.assert_close(activations.log_softmax(x), expected, 2**-8)
    references.assert_close(activations.softmax(x), np.exp(expected), 2**-8)


def test_the_table_names_each_function_of_one_argument():
    public = set(activations.__all__) - {"ACTIVATIONS"}
    assert set(ACTIVATIONS) == public - {"prelu", "maxout"} | {"gelu_exact"}
    for name, same in ALIASES.items():
        assert ACTIVATIONS[name] is ACTIVATIONS[same]
    assert set(ACTIVATIONS) == set(FORMULAS) | set(ALIASES)


@pytest.mark.parametrize("name", [*NAMES, "prelu", "maxout"])
def test_integers_raise(name):
    x = jnp.arange(4).reshape(2, 2)
    more = {"prelu": [jnp.ones(2)], "maxout": [2]}.get(name, [])
    function = ACTIVATIONS.get(name) or getattr(activations, name)
    with (
        properties.unchecked(),
        pytest.raises(TypeError, match="`x` must be floating-point, got int32"),
    ):
        function(x, *more)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: activations.prelu(x, jnp.ones(2)), "`slope` must have shape (3,) for x of "
         "shape (2, 3), got (2,)"),
        (lambda x: activations.maxout(x, 2), "`pieces` must divide the last dimension of x of "
         "shape (2, 3), got 2"),
        (lambda x: activations.maxout(x, 0), "got 0"),
        (lambda x: activations.celu(x, alpha=0.0), "`alpha` must be positive, got 0.0"),
        (lambda x: activations.softmax(x, axis=2), "axis 2 is out of bounds"),
        (lambda x: activations.log_softmax(x, axis=-3), "axis -3 is out of bounds"),
        (lambda x: activations.softmax(x, where=jnp.ones(2, bool)),
         "for broadcasting"),
    ],
)  # fmt: skip
def test_invalid_arguments_raise(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        jax.eval_shape(call, jnp.ones((2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
@pytest.mark.parametrize("name", ["gelu", "gelu_exact", "hard_silu", "mish", "silu"])
def test_smooth_units_are_relu_where_powers_overflow(name, dtype):
    function, largest = ACTIVATIONS[name], float(jnp.finfo(dtype).max)
    first, second = jax.grad(function), jax.grad(jax.grad(function))
    for x in (1e4, largest, np.inf):
        for sign in (-1, 1):
            at = jnp.asarray(sign * x, dtype)
            got = [float(f(at)) for f in (function, first, second)]
            expected = [max(float(at), 0), sign > 0, 0]
            np.testing.assert_array_equal(got, expected, str(at))
    assert np.isnan(function(jnp.asarray(np.nan, dtype)))


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("x", [-30.0, 30.0])
def test_gelu_far_from_zero_is_relu(approximate, x):
    value, slope = jax.value_and_grad(lambda x: activations.gelu(x, approximate=approximate))(
        jnp.float32(x)
    )
    assert (float(value), float(slope)) == (float(np.float32(max(x, 0))), float(x > 0))
