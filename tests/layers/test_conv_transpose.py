"""Transposed convolution as the adjoint of convolution, and against NumPy, torch and Keras."""

import itertools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxml.layers import conv, conv_transpose
from tests import properties, references
from tests.layers.other_libraries import keras_conv, torch_conv


def scatter(x, kernel, bias, *, strides, padding, output_padding=0, dilation=1, groups=1):
    """Every x adds its multiple of the window to a wide result, whose padding is cut off."""
    window = kernel.shape[:-2]
    s, d, extra = (np.broadcast_to(v, len(window)) for v in (strides, dilation, output_padding))
    n_in, n_out = kernel.shape[-1] // groups, kernel.shape[-2]
    lead, image = x.shape[: -len(window) - 1], x.shape[-len(window) - 1 : -1]
    whole = [int(s[a] * (image[a] - 1) + d[a] * (window[a] - 1) + 1) for a in range(len(window))]
    pads = [(padding, padding)] * len(window) if isinstance(padding, int) else padding
    y = np.zeros((*lead, *(w + int(e) for w, e in zip(whole, extra, strict=True)), n_out * groups))
    for tap, g in itertools.product(np.ndindex(*window), range(groups)):
        places = [slice(d[a] * t, d[a] * t + s[a] * image[a], s[a]) for a, t in enumerate(tap)]
        own, outputs = slice(g * n_in, (g + 1) * n_in), slice(g * n_out, (g + 1) * n_out)
        y[..., *places, outputs] += x[..., own] @ kernel[*tap, :, own].T
    cut = [
        slice(low, size - high)
        for (low, high), size in zip(pads, y.shape[len(lead) :], strict=False)
    ]
    return y[..., *cut, :] + bias


@st.composite
def cases(draw):
    """x, kernel and bias, and the settings of `conv_transpose`."""
    dims = draw(st.integers(1, 3))

    def each(least, most):
        return st.lists(st.integers(least, most), min_size=dims, max_size=dims).map(tuple)

    image, window, strides, dilation = (draw(each(1, 3)) for _ in range(4))
    lead = draw(st.lists(st.integers(0, 2), max_size=2))
    extra = tuple(draw(st.integers(0, s - 1)) for s in strides)
    cut = [
        s * (size - 1) + d * (taps - 1) + 1 + more
        for size, taps, s, d, more in zip(image, window, strides, dilation, extra, strict=True)
    ]
    lows = [draw(st.integers(0, min(2, size))) for size in cut]
    highs = [draw(st.integers(0, min(2, size - low))) for size, low in zip(cut, lows, strict=True)]
    groups, n_in, n_out = (draw(st.integers(1, 2)) for _ in range(3))
    rng = np.random.default_rng(0)
    shapes = [(*lead, *image, n_in * groups), (*window, n_out, n_in * groups), (n_out * groups,)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes], {
        "strides": strides,
        "padding": tuple(zip(lows, highs, strict=True)),
        "output_padding": extra,
        "dilation": dilation,
        "groups": groups,
    }


@pytest.mark.slow
@given(cases())
def test_any_dimensions_strides_padding_dilation_and_groups(case):
    arrays, settings = case
    actual = references.plain_jit(partial(conv_transpose, **settings))(*arrays)
    expected = scatter(*references.float64(arrays), **settings)
    properties.agree(conv_transpose, actual, expected, by="NumPy float64")


SETTINGS = [
    ((2, 4, 4), (3, 3, 4), {"strides": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    ((2, 3, 2, 3), (3, 2, 2, 3), {"strides": (2, 1), "padding": 1, "dilation": (1, 2)}),
    ((1, 2, 3, 2, 2), (2, 1, 3, 2, 2), {"strides": (1, 2, 1), "padding": 0, "groups": 2}),
]


def example(x, kernel, groups=1):
    rng = np.random.default_rng(0)
    return [rng.normal(size=size) for size in (x, kernel, (kernel[-2] * groups,))]


@pytest.mark.slow
@pytest.mark.parametrize(("x", "kernel", "options"), SETTINGS)
def test_torch_agrees(x, kernel, options):
    arrays = example(x, kernel, options.get("groups", 1))
    reference = partial(torch_conv, "conv_transpose")
    properties.check(conv_transpose, *arrays, reference=reference, by="torch", **options)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("window", "strides", "dilation"),
    [((3, 2), 1, 1), ((3, 2), 2, 1), ((5, 4), 2, 1), ((2, 1), 3, 1), ((3, 3), 1, 2)],
)
def test_keras_agrees(padding, window, strides, dilation):
    x, kernel, _ = references.float64(example((2, 4, 3, 3), (*window, 2, 3)))
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    expected = keras_conv("conv_transpose", x, kernel, **options)
    actual = conv_transpose(
        jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), **options
    )
    properties.agree(conv_transpose, actual, expected, by="Keras")


ADJOINT = [
    ((3, 3), {"strides": 1}),
    ((3, 3), {"strides": 2, "padding": "SAME"}),
    ((2, 3), {"strides": 2, "padding": "SAME", "groups": 2}),
    ((3, 2), {"strides": (1, 2), "padding": "VALID", "dilation": (2, 1)}),
    ((3, 3), {"strides": 2, "padding": 1, "output_padding": 1}),
    ((3, 3), {"strides": (3, 2), "padding": ((0, 2), (1, 0)), "output_padding": (2, 0)}),
    ((9, 9), {"strides": 2, "padding": "SAME"}),  # larger than the 6x8 pixels of the result
]


@pytest.mark.slow
@pytest.mark.parametrize(("window", "options"), ADJOINT)
def test_it_is_the_adjoint_of_the_convolution_with_the_same_kernel(window, options):
    """`<conv(a), x> = <a, conv_transpose(x)>` for all a, in float64."""
    with jax.enable_x64(True):
        x, kernel, _ = map(jnp.asarray, example((2, 3, 4, 4), (*window, 2, 4)))
        kernel = kernel[..., : 2 // options.get("groups", 1), :]
        y = conv_transpose(x, kernel, **options)
        a = jnp.asarray(np.random.default_rng(1).normal(size=y.shape))
        forward = {name: v for name, v in options.items() if name != "output_padding"}
        b, pull = jax.vjp(lambda a: conv(a, kernel, **forward), a)
        assert b.shape == x.shape
        np.testing.assert_allclose(jnp.vdot(b, x), jnp.vdot(a, y), rtol=1e-12)
        np.testing.assert_allclose(pull(x)[0], y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"padding": "SAME", "strides": 1}, 4),
        ({"padding": "SAME", "strides": 2}, 8),
        ({"padding": "SAME", "strides": 5}, 20),
        ({"padding": "VALID", "strides": 1}, 6),
        ({"padding": "VALID", "strides": 2}, 9),
        ({"padding": "VALID", "strides": 5}, 20),
        ({"padding": "VALID", "strides": 2, "dilation": 2}, 11),
        ({"padding": 0, "strides": 2}, 9),
        ({"padding": 0, "strides": 5}, 18),
        ({"padding": 1, "strides": 2}, 7),
        ({"padding": 1, "strides": 2, "output_padding": 1}, 8),
        ({"padding": [(1, 2)], "strides": 2, "dilation": 2}, 8),
        ({"padding": [(4, 5)], "strides": 2}, 0),
    ],
)
def test_sizes_are_those_of_the_convention_that_is_named(options, size):
    y = jax.eval_shape(
        partial(conv_transpose, **options), jnp.zeros((1, 4, 3)), jnp.zeros((3, 2, 3))
    )
    assert y.shape == (1, size, 2)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (
            [(3,), (3, 3)],
            {},
            "`kernel` must be [*window, ., .] with 1 to 3 window sizes, got shape (3, 3)",
        ),
        (
            [(4, 3), (3, 3, 2, 3)],
            {},
            "at least 3 dimensions for a kernel of shape (3, 3, 2, 3), got shape (4, 3)",
        ),
        (
            [(4, 3), (3, 3, 2)],
            {},
            "must be [*window, out / groups, 3] for x of shape (4, 3), got shape (3, 3, 2)",
        ),
        ([(4, 3), (3, 2, 3)], {"groups": 2}, "`groups` must divide the 3 channels of x, got 2"),
        ([(4, 3), (3, 2, 3)], {"groups": 0}, "`groups` must be at least 1, got 0"),
        ([(4, 3), (3, 2, 3), (3,)], {}, "`bias` must have shape (2,), got (3,)"),
        ([(4, 3), (3, 2, 3)], {"strides": 0}, "`strides` must be at least 1, got 0"),
        ([(4, 3), (3, 2, 3)], {"dilation": -1}, "`dilation` must be at least 1, got -1"),
        ([(4, 3), (3, 2, 3)], {"padding": -1}, "`padding` must be non-negative, got -1"),
        (
            [(4, 3), (3, 2, 3)],
            {"padding": "full"},
            "`padding` must be 'SAME', 'VALID', an int or 1 pairs of ints, got 'full'",
        ),
        (
            [(4, 3), (3, 2, 3)],
            {"padding": [(3, 4)]},
            "`padding` must crop at most [6] pixels, got [(3, 4)]",
        ),
        (
            [(4, 3), (3, 2, 3)],
            {"output_padding": -1, "padding": 1},
            "`output_padding` must be at least 0, got -1",
        ),
        (
            [(4, 3), (3, 2, 3)],
            {"output_padding": 2, "padding": 1, "strides": 2},
            "`output_padding` must be less than strides=(2,), got (2,)",
        ),
        (
            [(4, 3), (3, 2, 3)],
            {"output_padding": 1, "strides": 2},
            "`output_padding` must be 0 for padding='SAME', got (1,)",
        ),
    ],
)
def test_shapes_and_settings_that_do_not_fit_raise(shapes, options, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        conv_transpose(*map(jnp.zeros, shapes), **options)


def test_integers_raise():
    message = "`x` and `kernel` must have one floating-point dtype, got int32, float32"
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        conv_transpose(jnp.zeros((4, 3), jnp.int32), jnp.zeros((3, 2, 3)))
