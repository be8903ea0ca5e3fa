"""Pooling to a given size against NumPy region by region, torch and Keras."""

import itertools
import math
import os
import re
import tempfile
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxml.layers import adaptive_average_pool, average_pool
from tests import properties


def images_of(shape, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=shape)


def reference(x, *, size):
    sizes = (size, size) if isinstance(size, int) else size
    first = x.ndim - 1 - len(sizes)
    y = np.zeros((*x.shape[:first], *sizes, x.shape[-1]))
    for index in itertools.product(*map(range, sizes)):
        region = [
            slice(math.floor(i * n / m), math.ceil((i + 1) * n / m))
            for i, m, n in zip(index, sizes, x.shape[first:-1], strict=True)
        ]
        axes = tuple(range(first, x.ndim - 1))
        place = (slice(None),) * first
        y[(*place, *index)] = x[(*place, *region)].mean(axes)
    return y


@st.composite
def examples(draw):
    """An image of one to three spatial dimensions and a size for each."""
    dims = draw(st.integers(1, 3))
    pixels = [draw(st.integers(1, 8)) for _ in range(dims)]
    size = tuple(draw(st.integers(1, 6)) for _ in range(dims))
    return images_of((*draw(st.sampled_from([(), (2,), (2, 1)])), *pixels, 2)), size


@pytest.mark.slow
@settings(max_examples=8)
@given(examples())
def test_every_region_is_averaged(example):
    x, size = example
    y = jax.jit(partial(adaptive_average_pool, size=size))(jnp.asarray(x, jnp.float32))
    expected = reference(np.float64(np.float32(x)), size=size)
    properties.agree(adaptive_average_pool, y, expected, by="NumPy float64")


@pytest.mark.slow
def test_it_has_the_properties_of_a_pure_function():
    x = images_of((2, 5, 3, 2))
    properties.check(adaptive_average_pool, x, reference=reference, by="NumPy float64", size=(2, 4))


def test_where_the_size_divides_the_image_it_is_average_pooling():
    x = jnp.asarray(images_of((2, 8, 6, 3)), jnp.float32)
    y = adaptive_average_pool(x, size=(4, 2))
    np.testing.assert_allclose(y, average_pool(x, (2, 3), (2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "size"),
    [((7,), (3,)), ((14, 14), 4), ((13, 9), (4, 7)), ((2, 3), (4, 4)), ((3, 4, 5), (2, 3, 4))],
    ids=str,
)
def test_torch_agrees(sizes, size):
    torch = pytest.importorskip("torch")
    x = images_of((2, *sizes, 3), 1e4)
    pool = getattr(torch.nn.functional, f"adaptive_avg_pool{len(sizes)}d")
    expected = pool(torch.from_numpy(np.moveaxis(x, -1, 1).copy()), size).numpy()
    y = jax.jit(partial(adaptive_average_pool, size=size))(jnp.asarray(x, jnp.float32))
    properties.agree(adaptive_average_pool, y, np.moveaxis(expected, 1, -1), by="torch")


def test_keras_agrees():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp(prefix="keras-"))
    pytest.importorskip("torch")
    layers = pytest.importorskip("keras").layers
    x = np.float32(images_of((2, 7, 9, 3)))
    expected = layers.AdaptiveAveragePooling2D((4, 2))(x).numpy()
    y = adaptive_average_pool(jnp.asarray(x), size=(4, 2))
    properties.agree(adaptive_average_pool, y, expected, by="Keras")


def test_a_region_sees_nothing_of_others():
    x = jnp.array([[1.0], [jnp.inf], [3.0], [5.0], [7.0]])
    assert adaptive_average_pool(x, size=(3,)).tolist() == [[math.inf], [math.inf], [6.0]]
    x = jnp.array([[1.0], [2.0], [3.0], [jnp.nan]])
    assert adaptive_average_pool(x, size=(2,)).tolist()[0] == [1.5]


def test_half_precision_is_summed_in_float32():
    x = jnp.ones((64, 64, 1), jnp.bfloat16)  # bfloat16 counts to 256
    assert adaptive_average_pool(x, size=1).tolist() == [[[1.0]]]


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((5, 5, 2), 0, "`size` must be at least 1, got 0"),
        ((5, 5, 2), (2, -1), "`size` must be at least 1, got (2, -1)"),
        ((5, 2), 3, "`x` must have 2 spatial dimensions and channels, got shape (5, 2)"),
        ((0, 5, 2), 3, "`x` must have at least one pixel, got shape (0, 5, 2)"),
    ],
)
def test_invalid_arguments_raise(shape, size, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        adaptive_average_pool(jnp.ones(shape), size=size)


def test_types_that_do_not_fit_raise():
    with properties.unchecked():
        with pytest.raises(TypeError, match="`x` must be floating-point, got int32"):
            adaptive_average_pool(jnp.ones((5, 5, 2), jnp.int32), size=2)
        with pytest.raises(TypeError, match=re.escape("`size` must be an int or 2 ints, got 1.5")):
            adaptive_average_pool(
                jnp.ones((5, 5, 2)),
                size=1.5,  # pyright: ignore[reportArgumentType]
            )
