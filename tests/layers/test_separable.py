"""Separable convolutions against Keras, torch and the convolution with the product of kernels."""

import re
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxml.layers import depthwise_conv, separable_conv, spatially_separable_conv
from tests import properties, references
from tests.layers.other_libraries import keras_conv, torch_conv

SMALL = st.integers(1, 3)
PADDINGS = st.one_of(st.sampled_from(["SAME", "VALID"]), st.integers(0, 2))


def draw(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


def by_scipy(x, kernel, bias, *, strides=1, padding="SAME", dilation=1):
    """The convolution of `references` with any padding."""
    dims = kernel.ndim - 2
    image, window = x.shape[-dims - 1 : -1], kernel.shape[:-2]
    steps = np.broadcast_to(dilation, dims).tolist()
    reach = [d * (taps - 1) + 1 for taps, d in zip(window, steps, strict=True)]
    pads = references.explicit_padding(image, reach, strides, padding)
    y = references.conv(x, kernel, strides, pads, dilation)
    return y if bias is None else y + bias


def spread(depthwise_kernel):
    """The kernel `[*window, in, in * multiplier]` with zeros between different channels."""
    *window, channels, multiplier = depthwise_kernel.shape
    kernel = np.zeros((*window, channels, channels * multiplier))
    for c in range(channels):
        kernel[..., c, c * multiplier : (c + 1) * multiplier] = depthwise_kernel[..., c, :]
    return kernel


def depthwise(x, kernel, bias, **settings):
    return by_scipy(x, spread(kernel), bias, **settings)


def separable(x, depthwise_kernel, pointwise_kernel, bias, **settings):
    ones = pointwise_kernel.ndim - 2
    product = spread(depthwise_kernel) @ pointwise_kernel.reshape(pointwise_kernel.shape[ones:])
    return by_scipy(x, product, bias, **settings)


def spatially_separable(x, column, row, bias, **settings):
    return by_scipy(x, np.einsum("ucm,vmo->uvco", column, row), bias, **settings)


@pytest.mark.slow
@given(st.integers(1, 3), st.integers(0, 2), SMALL, SMALL, SMALL, PADDINGS)
def test_depthwise_is_a_convolution_with_zeros_between_channels(
    dims, lead, multiplier, strides, dilation, padding
):
    shapes = [(*[2] * lead, *[4, 3, 2][:dims], 2), (*[3, 2, 1][:dims], 2, multiplier)]
    arrays = [array.astype(np.float32) for array in draw(*shapes, (2 * multiplier,))]
    settings = {"strides": strides, "dilation": dilation, "padding": padding}
    actual = references.plain_jit(partial(depthwise_conv, **settings))(*arrays)
    expected = depthwise(*references.float64(arrays), **settings)
    properties.agree(depthwise_conv, actual, expected, by="SciPy")


@pytest.mark.slow
def test_depthwise_has_the_properties_of_a_pure_function():
    arrays = draw((2, 4, 3, 2), (3, 2, 2, 2), (4,))
    properties.check(
        depthwise_conv, *arrays, reference=depthwise, by="SciPy", strides=(2, 1), padding=1
    )


def test_depthwise_of_torch_is_a_convolution_in_groups():
    x, kernel, bias = draw((2, 5, 4, 3), (3, 2, 3, 2), (6,))

    def reference(x, kernel, bias, **settings):
        kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
        return torch_conv("conv", x, kernel, bias, groups=3, **settings)

    arrays = (array.astype(np.float32) for array in (x, kernel, bias))
    actual = references.plain_jit(partial(depthwise_conv, strides=2, padding=1))(*arrays)
    expected = reference(x, kernel, bias, strides=2, padding=1)
    properties.agree(depthwise_conv, actual, expected, by="torch")


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_keras_agrees(padding, strides, dilation):
    arrays = draw((2, 6, 5, 3), (3, 2, 3, 2), (1, 1, 6, 4))
    x, depthwise_kernel, pointwise_kernel = (jnp.asarray(a, jnp.float32) for a in arrays)
    settings = {"strides": strides, "padding": padding, "dilation": dilation}
    actual = depthwise_conv(x, depthwise_kernel, **settings)
    expected = keras_conv("depthwise_conv", *arrays[:2], **settings)
    properties.agree(depthwise_conv, actual, expected, by="Keras")
    actual = separable_conv(x, depthwise_kernel, pointwise_kernel, **settings)
    expected = keras_conv("separable_conv", *arrays, **settings)
    properties.agree(separable_conv, actual, expected, by="Keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ([(2, 5, 2), (3, 2, 2), (1, 4, 3), (3,)], {"strides": 2}),
        ([(3, 4, 2), (2, 3, 2, 1), (1, 1, 2, 3), None], {"padding": 1, "dilation": (1, 2)}),
    ],
)
def test_separable_is_the_convolution_with_the_product(shapes, options):
    arrays = [None if shape is None else draw(shape)[0] for shape in shapes]
    # The depthwise result is rounded as well.
    properties.check(
        separable_conv, *arrays, reference=separable, by="SciPy", bfloat16=4, **options
    )


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ([(2, 4, 5, 2), (3, 2, 3), (2, 3, 2), (2,)], {"strides": (1, 2)}),
        ([(4, 3, 2), (2, 2, 1), (3, 1, 3), None], {"padding": ((1, 0), (2, 1)), "dilation": 2}),
    ],
)
def test_spatially_separable_is_the_convolution_with_the_product(shapes, options):
    arrays = [None if shape is None else draw(shape)[0] for shape in shapes]
    # The result of the column is rounded as well.
    properties.check(
        spatially_separable_conv,
        *arrays,
        reference=spatially_separable,
        by="SciPy",
        bfloat16=4,
        **options,
    )


@pytest.mark.parametrize(
    ("function", "shapes", "options", "message"),
    [
        (
            depthwise_conv,
            [(4, 3), (3, 2, 3)],
            {},
            "`kernel` must be [*window, 3, multiplier] for x of shape (4, 3), got shape (3, 2, 3)",
        ),
        (
            depthwise_conv,
            [(4, 3), (3, 3)],
            {},
            "`kernel` must be [*window, ., .] with 1 to 3 window sizes, got shape (3, 3)",
        ),
        (depthwise_conv, [(4, 3), (3, 3, 2), (3,)], {}, "`bias` must have shape (6,), got (3,)"),
        (
            depthwise_conv,
            [(4, 3), (3, 3, 2)],
            {"strides": 0},
            "`strides` must be at least 1, got 0",
        ),
        (
            separable_conv,
            [(4, 3), (3, 3, 2), (6, 4)],
            {},
            "shape (1, 6) and out for a depthwise_kernel of shape (3, 3, 2), got (6, 4)",
        ),
        (
            separable_conv,
            [(4, 3), (3, 3, 2), (1, 3, 4)],
            {},
            "shape (1, 6) and out for a depthwise_kernel of shape (3, 3, 2), got (1, 3, 4)",
        ),
        (
            spatially_separable_conv,
            [(4, 3), (3, 3, 2), (3, 2, 2)],
            {},
            "must be [..., height, width, in], [taps, in, between] and [taps, between, out], "
            "got shapes (4, 3), (3, 3, 2) and (3, 2, 2)",
        ),
        (
            spatially_separable_conv,
            [(4, 4, 3), (3, 3, 2), (3, 3, 2)],
            {},
            "must be [..., height, width, in], [taps, in, between] and [taps, between, out], "
            "got shapes (4, 4, 3), (3, 3, 2) and (3, 3, 2)",
        ),
        (
            spatially_separable_conv,
            [(4, 4, 3), (3, 3, 2), (3, 2, 2)],
            {"dilation": (1, 0)},
            "`dilation` must be at least 1, got (1, 0)",
        ),
        (
            spatially_separable_conv,
            [(4, 4, 3), (3, 3, 2), (3, 2, 2)],
            {"padding": "same"},
            "`padding` must be 'SAME', 'VALID', an int or 2 pairs of ints, got 'same'",
        ),
    ],
)
def test_shapes_and_settings_that_do_not_fit_raise(function, shapes, options, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        function(*map(jnp.zeros, shapes), **options)


def test_integers_raise():
    with properties.unchecked(), pytest.raises(TypeError, match="one floating-point dtype"):
        depthwise_conv(jnp.zeros((4, 3), jnp.int32), jnp.zeros((3, 3, 2)))
