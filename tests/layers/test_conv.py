"""Convolution against SciPy's correlation, a loop over every tap, torch and Keras."""

import itertools
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxml.layers import conv, dense
from tests import properties, references
from tests.layers.other_libraries import keras_conv, torch_conv

IMAGES = [(1, 1), (2, 2), (3, 3), (5, 4)]
KERNELS = [(1, 1), (2, 2), (3, 3), (5, 5)]
UNEVEN = [((1, 2), (3, 4)), ((2, 5), (3, 2))]
PADDINGS = [1, 2, "SAME", "VALID", ((1, 2), (0, 3))]
CASES = [*itertools.product(IMAGES, KERNELS), *UNEVEN]

# On a CPU, images smaller than the kernel are convolved by a matrix product.
ON_CPU = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the matrix product is for CPUs")
BOTH_PATHS = [
    pytest.param((2, 2), marks=ON_CPU, id="matrix product"),
    pytest.param((4, 5), id="XLA"),
]

jitted = jax.jit(conv, static_argnames=("strides", "padding", "dilation"))


def is_small(image, window):
    return max(image) < min(window)


def example(image, window=(3, 3), dtype: Any = np.float32, scale=1.0):
    """x, kernel and bias."""
    rng = np.random.default_rng(0)
    shapes = [(2, *image, 3), (*window, 3, 2), (2,)]
    return [(scale * rng.normal(size=shape)).astype(dtype) for shape in shapes]


def check_values_and_gradients(image, window):
    """Every stride and padding of one pair of sizes, in one compilation."""
    x, kernel, _ = example(image, window)
    wide = references.float64([x, kernel])
    settings = list(itertools.product((1, 2, 3), PADDINGS))
    pads = [references.explicit_padding(image, window, s, p) for s, p in settings]
    cotangents = []
    expected = []
    for (strides, _), pad in zip(settings, pads, strict=True):
        y = references.conv(*wide, strides=strides, pads=pad)
        cotangent = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
        gradients = references.conv_gradients(
            *wide, cotangent=cotangent.astype(np.float64), strides=strides, pads=pad
        )
        cotangents.append(cotangent)
        expected.append((y, gradients))

    def all_settings(x, kernel, cotangents):
        results = []
        for (strides, padding), cotangent in zip(settings, cotangents, strict=True):
            y, vjp = jax.vjp(partial(conv, strides=strides, padding=padding), x, kernel)
            results.append((y, vjp(cotangent)))
        return results

    results = references.plain_jit(all_settings)(x, kernel, cotangents)
    for setting, result, wanted in zip(settings, results, expected, strict=True):
        for got, array in zip(jax.tree.leaves(result), jax.tree.leaves(wanted), strict=True):
            references.assert_close(got, array, 1e-6, f"strides, padding: {setting}")


@pytest.mark.slow
@pytest.mark.parametrize(("image", "window"), CASES, ids=str)
def test_values_and_gradients_are_those_of_the_correlation(image, window):
    check_values_and_gradients(image, window)


@pytest.mark.slow
@pytest.mark.parametrize(("image", "window"), [case for case in CASES if is_small(*case)], ids=str)
def test_xla_gives_the_same_for_images_smaller_than_the_kernel(monkeypatch, image, window):
    monkeypatch.setattr(jax, "default_backend", lambda: "another than cpu")
    check_values_and_gradients(image, window)


@ON_CPU
@pytest.mark.parametrize(("image", "window"), CASES, ids=str)
def test_only_images_smaller_than_the_kernel_are_convolved_by_a_matrix_product(image, window):
    x, kernel, _ = example(image, window)
    program = str(jax.make_jaxpr(lambda x, kernel: conv(x, kernel))(x, kernel))
    assert ("conv_on_cpu" in program) is not is_small(image, window)
    assert ("dot_general" in program) is is_small(image, window)


@pytest.mark.slow
@pytest.mark.parametrize("image", BOTH_PATHS)
def test_the_bias_is_added_to_its_channel(image):
    arrays = example(image)
    x, kernel, bias = references.float64(arrays)
    expected = references.conv(x, kernel, 1, [(1, 1), (1, 1)]) + bias
    references.assert_close(jitted(*arrays), expected, 1e-6)
    eager = conv(*(jnp.asarray(array) for array in arrays))
    references.assert_close(eager, expected, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("image", BOTH_PATHS)
def test_vmap_over_images_and_parameters_is_a_loop(image):
    x, kernel, bias = example(image)
    stacks = [np.stack([array, 2 * array, array - 1]) for array in (x, kernel, bias)]
    references.assert_vmap_is_loop(partial(conv, strides=2, padding=1), *stacks)
    references.assert_vmap_is_loop(lambda x: conv(x, jnp.asarray(kernel)), stacks[0])
    references.assert_vmap_is_loop(lambda kernel: conv(jnp.asarray(x), kernel), stacks[1])


@pytest.mark.parametrize("image", BOTH_PATHS)
def test_gradients_fit_finite_differences(image):
    # Central differences of a bilinear map have no truncation error, so that the step may be wide.
    function = partial(jitted, strides=2, padding=1)
    check_grads(function, example(image), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("image", BOTH_PATHS)
def test_bfloat16_stays_bfloat16(image):
    arrays = example(image, dtype=jnp.bfloat16)
    y = jitted(*arrays)
    assert y.dtype == jnp.bfloat16
    x, kernel, bias = references.float64(arrays)
    expected = references.conv(x, kernel, 1, [(1, 1), (1, 1)]) + bias
    # The sum of products is rounded once, and the sum with the bias once more.
    references.assert_close(y, expected, 2 * references.ROUNDING["bfloat16"])


@pytest.mark.parametrize("image", BOTH_PATHS)
def test_large_values_keep_their_relative_precision(image):
    x, kernel, _ = example(image, scale=1e4)
    expected = references.conv(*references.float64([x, kernel]), strides=1, pads=[(1, 1), (1, 1)])
    references.assert_close(jitted(x, kernel), expected, 1e-6)


@pytest.mark.parametrize("image", BOTH_PATHS)
def test_no_images_give_no_results(image):
    x, kernel, bias = example(image)
    assert jitted(x[:0], kernel, bias).shape == (0, *image, 2)


def test_same_and_one_zero_on_every_side_sample_other_places_with_strides():
    x = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 1
    same = jitted(x, kernel, strides=2, padding="SAME")
    one = jitted(x, kernel, strides=2, padding=1)
    assert np.ravel(same).tolist() == [5, 7, 13, 15]
    assert np.ravel(one).tolist() == [0, 2, 8, 10]


@pytest.mark.parametrize(("image", "window"), [((2,), 3), ((3, 2), 3), ((2, 4, 4), 3)])
def test_a_window_larger_than_the_padded_image_has_no_place(image, window):
    x, kernel = jnp.ones((2, *image, 3)), jnp.ones((*[window] * len(image), 3, 2))
    sizes = [max(size - window + 1, 0) for size in image]
    assert conv(x, kernel, padding="VALID").shape == (2, *sizes, 2)


def each(number, least, most):
    """A list of so many ints."""
    return st.lists(st.integers(least, most), min_size=number, max_size=number)


@st.composite
def cases(draw):
    """x, kernel and bias, the settings of `conv`, and explicit padding."""
    dims = draw(st.integers(1, 3))
    lead = draw(st.lists(st.integers(0, 2), max_size=2))
    image, window = draw(each(dims, 1, 5)), draw(each(dims, 1, 3))
    numbers = st.one_of(st.integers(1, 3), each(dims, 1, 3))
    groups, n_in, n_out = (draw(st.integers(1, 2)) for _ in range(3))
    pairs = st.lists(each(2, 0, 2).map(tuple), min_size=dims, max_size=dims)
    settings = {
        "strides": draw(numbers),
        "padding": draw(st.one_of(st.sampled_from(["SAME", "VALID"]), st.integers(0, 2), pairs)),
        "dilation": draw(numbers),
        "groups": groups,
    }
    steps = np.broadcast_to(settings["dilation"], dims).tolist()
    reach = [d * (taps - 1) + 1 for taps, d in zip(window, steps, strict=True)]
    pads = references.explicit_padding(image, reach, settings["strides"], settings["padding"])
    rng = np.random.default_rng(0)
    shapes = [(*lead, *image, n_in * groups), (*window, n_in, n_out * groups), (n_out * groups,)]
    return [rng.normal(size=shape) for shape in shapes], settings, pads


@pytest.mark.slow
@given(cases())
@settings(max_examples=40)
def test_any_dimensions_strides_padding_dilation_and_groups(case):
    arrays, settings, pads = case
    arrays = [array.astype(np.float32) for array in arrays]
    x, kernel, bias = references.float64(arrays)
    y = references.conv(
        x, kernel, settings["strides"], pads, settings["dilation"], settings["groups"]
    )
    actual = references.plain_jit(partial(conv, **settings))(*arrays)
    properties.agree(conv, actual, y + bias, by="SciPy")


@pytest.mark.parametrize(
    "options", [{"strides": (1, 2)}, {"strides": (2, 1), "dilation": (2, 1)}, {"groups": 2}]
)
def test_images_smaller_than_the_kernel_with_any_settings(options):
    dilation, groups = options.get("dilation", 1), options.get("groups", 1)
    rng = np.random.default_rng(0)
    x, kernel = (
        rng.normal(size=size).astype(np.float32) for size in ((2, 2, 2, 2), (3, 3, 2 // groups, 4))
    )
    wide = references.float64([x, kernel])
    expected = references.conv(
        wide[0], wide[1], options.get("strides", 1), [(2, 2), (2, 3)], dilation, groups
    )
    call = partial(conv, padding=((2, 2), (2, 3)), **options)
    properties.agree(conv, references.plain_jit(call)(x, kernel), expected, by="SciPy")


SETTINGS = [
    ((2, 7, 4), (3, 2, 6), {"strides": 2, "padding": 1, "dilation": 2, "groups": 2}),
    ((2, 5, 4, 3), (3, 2, 3, 2), {"strides": (2, 1), "padding": 2, "dilation": (1, 2)}),
    ((2, 5, 4, 4), (2, 3, 2, 4), {"strides": (1, 2), "padding": 0, "groups": 2}),
    ((1, 3, 2, 4, 2), (2, 1, 3, 2, 2), {"strides": (1, 2, 1), "padding": 1}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("x", "kernel", "options"), SETTINGS)
def test_torch_agrees(x, kernel, options):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=size) for size in (x, kernel, kernel[-1:])]
    reference = partial(torch_conv, "conv")
    properties.check(conv, *arrays, reference=reference, by="torch", **options)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_keras_agrees(padding, strides, dilation):
    x, kernel, _ = example((6, 5), (3, 2))
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    expected = keras_conv("conv", *references.float64([x, kernel]), **options)
    properties.agree(conv, jitted(x, kernel, **options), expected, by="Keras")


def test_a_convolution_of_one_pixel_is_dense_at_each():
    x, kernel, bias = map(jnp.asarray, example((3, 4), (1, 1)))
    actual = conv(x, kernel, bias)
    references.assert_close(actual, dense(x, kernel[0, 0], bias), 1e-6)


def test_the_program_of_a_batch_of_images_is_one_convolution():
    x, kernel, _ = example((4, 5))
    program = jax.make_jaxpr(partial(conv, strides=2, padding=1))(x, kernel)
    names = [equation.primitive.name for equation in program.jaxpr.eqns]
    assert names == ["conv_on_cpu" if jax.default_backend() == "cpu" else "conv_general_dilated"]


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (
            [(3,), (3, 3)],
            {},
            "`kernel` must be [*window, ., .] with 1 to 3 window sizes, got shape (3, 3)",
        ),
        (
            [(1, 2, 2, 2, 2, 3), (1, 1, 1, 1, 3, 2)],
            {},
            "must be [*window, ., .] with 1 to 3 window sizes, got shape (1, 1, 1, 1, 3, 2)",
        ),
        (
            [(4, 3), (3, 3, 3, 2)],
            {},
            "at least 3 dimensions for a kernel of shape (3, 3, 3, 2), got shape (4, 3)",
        ),
        ([(4, 4, 3), (3, 0, 3, 2)], {}, "`kernel.shape[:-2]` must be at least 1, got (3, 0)"),
        (
            [(1, 4, 4, 3), (3, 3, 2, 3)],
            {},
            "must be [*window, 3, out] for x of shape (1, 4, 4, 3) and groups=1, got shape (3",
        ),
        (
            [(1, 4, 4, 4), (3, 3, 4, 2)],
            {"groups": 2},
            "must be [*window, 2, out] for x of shape (1, 4, 4, 4) and groups=2, got shape (3",
        ),
        (
            [(1, 4, 4, 3), (3, 3, 3, 2)],
            {"groups": 2},
            "`groups` must divide the 3 channels of x and the 2 of the result, got 2",
        ),
        (
            [(1, 4, 4, 4), (3, 3, 2, 3)],
            {"groups": 2},
            "`groups` must divide the 4 channels of x and the 3 of the result, got 2",
        ),
        ([(1, 4, 3), (3, 3, 2)], {"groups": 0}, "`groups` must be at least 1, got 0"),
        ([(1, 4, 3), (3, 3, 2), (3,)], {}, "`bias` must have shape (2,), got (3,)"),
        ([(1, 4, 3), (3, 3, 2), (1, 2)], {}, "`bias` must have shape (2,), got (1, 2)"),
        ([(1, 4, 3), (3, 3, 2)], {"strides": 0}, "`strides` must be at least 1, got 0"),
        ([(1, 4, 3), (3, 3, 2)], {"strides": -2}, "`strides` must be at least 1, got -2"),
        (
            [(4, 4, 3), (3, 3, 3, 2)],
            {"strides": (1, 0)},
            "`strides` must be at least 1, got (1, 0)",
        ),
        (
            [(1, 4, 3), (3, 3, 2)],
            {"strides": (1, 1)},
            "`strides` must be an int or 1 ints, got (1, 1)",
        ),
        ([(1, 4, 3), (3, 3, 2)], {"dilation": 0}, "`dilation` must be at least 1, got 0"),
        (
            [(4, 4, 3), (3, 3, 3, 2)],
            {"padding": "same"},
            "`padding` must be 'SAME', 'VALID', an int or 2 pairs of ints, got 'same'",
        ),
        ([(4, 4, 3), (3, 3, 3, 2)], {"padding": -1}, "`padding` must be non-negative, got -1"),
    ],
)
def test_shapes_and_settings_that_do_not_fit_raise(shapes, options, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        conv(*map(jnp.zeros, shapes), **options)


@pytest.mark.parametrize(
    ("dtypes", "message"),
    [
        (("int32", "int32"), "must have one floating-point dtype, got int32, int32"),
        (("uint8", "float32"), "must have one floating-point dtype, got uint8, float32"),
        (("float32", "bfloat16"), "must have one floating-point dtype, got float32, bfloat16"),
        (
            ("bfloat16", "bfloat16", "float32"),
            "`x`, `kernel` and `bias` must have one floating-point dtype, got bfloat16",
        ),
    ],
)
def test_dtypes_that_do_not_fit_raise(dtypes, message):
    shapes = [(1, 4, 3), (3, 3, 2), (2,)]
    arrays = [jnp.zeros(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=False)]
    with properties.unchecked(), pytest.raises(TypeError, match=re.escape(message)):
        conv(*arrays)
