"""Convolution against SciPy's correlation and a loop over every tap."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxml.layers import conv
from tests import references

IMAGES = [(1, 1), (2, 2), (3, 3), (5, 4)]
KERNELS = [(1, 1), (2, 2), (3, 3), (5, 5)]
UNEVEN = [((1, 2), (3, 4)), ((2, 5), (3, 2))]
PADDINGS = [1, 2, "SAME", "VALID", ((1, 2), (0, 3))]
CASES = [*itertools.product(IMAGES, KERNELS), *UNEVEN]

# On a CPU, images smaller than the kernel are convolved by a matrix product, others by XLA.
ON_CPU = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the matrix product is for CPUs")
BOTH_PATHS = [
    pytest.param((2, 2), marks=ON_CPU, id="matrix product"),
    pytest.param((4, 5), id="XLA"),
]

jitted = jax.jit(conv, static_argnames=("strides", "padding"))


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


@pytest.mark.parametrize(("image", "window"), CASES, ids=str)
def test_values_and_gradients_are_those_of_the_correlation(image, window):
    check_values_and_gradients(image, window)


@pytest.mark.parametrize(("image", "window"), [case for case in CASES if is_small(*case)], ids=str)
def test_xla_gives_the_same_for_images_smaller_than_the_kernel(monkeypatch, image, window):
    monkeypatch.setattr(jax, "default_backend", lambda: "another than cpu")
    check_values_and_gradients(image, window)


@ON_CPU
@pytest.mark.parametrize(("image", "window"), CASES, ids=str)
def test_only_images_smaller_than_the_kernel_avoid_the_convolution_of_xla(image, window):
    x, kernel, _ = example(image, window)
    program = str(jax.make_jaxpr(lambda x, kernel: conv(x, kernel))(x, kernel))
    assert ("conv_general_dilated" in program) is not is_small(image, window)


@pytest.mark.parametrize("image", BOTH_PATHS)
def test_the_bias_is_added_to_its_channel(image):
    arrays = example(image)
    x, kernel, bias = references.float64(arrays)
    expected = references.conv(x, kernel, 1, [(1, 1), (1, 1)]) + bias
    references.assert_close(jitted(*arrays), expected, 1e-6)
    eager = conv(*(jnp.asarray(array) for array in arrays))
    references.assert_close(eager, expected, 1e-6)


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


@pytest.mark.parametrize(
    ("x", "kernel"),
    [((4, 4, 3), (3, 3, 3, 2)), ((1, 4, 4, 3), (3, 3, 2)), ((1, 4, 4, 3), (3, 3, 2, 3))],
    ids=str,
)
def test_shapes_that_do_not_fit_are_an_error_that_shows_both(x, kernel):
    message = r"x, kernel: \[batch, height, width, in\] and .* not \(.*\) and \(.*\)"
    with pytest.raises(ValueError, match=message) as error:
        conv(jnp.zeros(x), jnp.zeros(kernel))
    assert str(error.value).endswith(f"not {x} and {kernel}")


@pytest.mark.parametrize("strides", [0, -2])
def test_strides_below_one_are_an_error(strides):
    with pytest.raises(ValueError, match=f"strides: at least 1, not {strides}"):
        conv(jnp.zeros((1, 4, 4, 1)), jnp.zeros((3, 3, 1, 1)), strides=strides)


def test_an_unknown_padding_is_an_error():
    message = "padding: 'SAME', 'VALID', an int or pairs of ints, not 'same'"
    with pytest.raises(ValueError, match=message):
        conv(jnp.zeros((1, 4, 4, 1)), jnp.zeros((3, 3, 1, 1)), padding="same")
