"""Windowed pooling against NumPy window by window, torch, and Keras for SAME."""

import itertools
import math
import os
import re
import tempfile
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxml.layers import average_pool, l2_pool, lp_pool, max_pool
from tests import properties, references

POOLS = [max_pool, average_pool, l2_pool]


def images_of(shape, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=shape)


def starts_of(size, taps, stride, low, high, ceil_mode):
    """First pixels of the windows, one after the other until they leave."""
    starts, start = [], -low
    while start + taps <= size + high:
        starts.append(start)
        start += stride
    if ceil_mode and starts[-1] + taps < size + high and start < size:
        starts.append(start)
    return starts


def windows_of(x, window_shape, strides=None, padding: Any = "VALID", ceil_mode=False):
    """For each window its place in the result, its values `[..., pixels, channels]`, and its size.

    The size is that of the window within x and its padding.
    """
    dims = 2 if isinstance(window_shape, int) else len(window_shape)
    window = (window_shape,) * dims if isinstance(window_shape, int) else window_shape
    strides = 1 if strides is None else strides
    strides = (strides,) * dims if isinstance(strides, int) else strides
    sizes = x.shape[-dims - 1 : -1]
    if isinstance(padding, int):
        padding = [(padding, padding)] * dims
    elif padding == "VALID":
        padding = [(0, 0)] * dims
    elif padding == "SAME":
        totals = [
            max((math.ceil(n / s) - 1) * s + k - n, 0)
            for n, k, s in zip(sizes, window, strides, strict=True)
        ]
        padding = [(total // 2, total - total // 2) for total in totals]
    axes = [
        starts_of(n, k, s, low, high, ceil_mode)
        for n, k, s, (low, high) in zip(sizes, window, strides, padding, strict=True)
    ]
    shape = tuple(map(len, axes))
    for index in np.ndindex(*shape):
        spans, held = [], 1
        for axis, i, k, n, (low, high) in zip(axes, index, window, sizes, padding, strict=True):
            first, last = axis[i], axis[i] + k
            spans.append(slice(max(first, 0), min(last, n)))
            held *= min(last, n + high) - max(first, -low)
        values = x[(..., *spans, slice(None))]
        lead = x.shape[: x.ndim - dims - 1]
        yield shape, index, values.reshape(*lead, -1, x.shape[-1]), held


def reference(of_window):
    def pool(x, *, window_shape, **settings):
        y = None
        for shape, index, values, held in windows_of(x, window_shape, **settings):
            pooled = of_window(values, held)
            if y is None:
                y = np.zeros((*pooled.shape[:-1], *shape, pooled.shape[-1]))
            y[(..., *index, slice(None))] = pooled
        return y

    return pool


def reference_average(x, *, count_include_pad=False, **settings):
    def mean(values, held):
        return values.sum(-2) / (held if count_include_pad else values.shape[-2])

    return reference(mean)(x, **settings)


def reference_lp(x, *, p, **settings):
    norm = reference(lambda values, held: (np.abs(values) ** p).sum(-2) ** (1 / p))
    return norm(x, **settings)


REFERENCES = {
    max_pool: reference(lambda values, held: values.max(-2)),
    average_pool: reference_average,
    lp_pool: reference_lp,
    l2_pool: reference(lambda values, held: np.linalg.norm(values, axis=-2)),
}


@st.composite
def windows(draw):
    """An image of one to three spatial dimensions and the windows over it."""
    dims = draw(st.integers(1, 3))
    window = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    strides = draw(st.none() | st.tuples(*[st.integers(1, 3)] * dims))
    pairs = [st.tuples(*[st.integers(0, taps - 1)] * 2) for taps in window]
    padding = draw(st.sampled_from(["SAME", "VALID"]) | st.tuples(*pairs))
    sizes = [draw(st.integers(taps, 5)) for taps in window]
    lead = draw(st.sampled_from([(), (2,), (2, 1)]))
    ceil_mode = draw(st.booleans())
    shape = (*lead, *sizes, 2)
    return images_of(shape), {
        "window_shape": window, "strides": strides, "padding": padding, "ceil_mode": ceil_mode
    }  # fmt: skip


@pytest.mark.slow
@settings(max_examples=24)
@given(windows(), st.sampled_from(POOLS))
def test_every_window_is_pooled(example, pool):
    x, windows = example
    expected = REFERENCES[pool](np.float64(np.float32(x)), **windows)
    y = pool(jnp.asarray(x, jnp.float32), **windows)
    properties.agree(pool, y, expected, by="NumPy float64")


@pytest.mark.slow
@settings(max_examples=8)
@given(windows())
def test_the_padding_may_be_counted(example):
    x, windows = example
    expected = reference_average(np.float64(np.float32(x)), count_include_pad=True, **windows)
    y = average_pool(jnp.asarray(x, jnp.float32), count_include_pad=True, **windows)
    properties.agree(average_pool, y, expected, by="NumPy float64")


@pytest.mark.parametrize(
    ("pool", "more"),
    [
        (max_pool, {}),
        (average_pool, {}),
        (average_pool, {"count_include_pad": True}),
        (l2_pool, {}),
        (lp_pool, {"p": 3.0}),
        (lp_pool, {"p": 1.5}),
    ],
)
def test_pooling_has_the_properties_of_a_pure_function(pool, more):
    x = images_of((2, 5, 4, 2))
    windows = {"window_shape": (3, 2), "strides": (2, 1), "padding": ((1, 2), (1, 0))}
    settings = {**windows, "ceil_mode": True, **more}
    properties.check(pool, x, reference=REFERENCES[pool], by="NumPy float64", **settings)


@pytest.mark.slow
def test_an_int_is_a_window_of_two_dimensions():
    x = jnp.asarray(images_of((2, 5, 5, 3)))
    for pool in POOLS:
        expected = pool(x, window_shape=(2, 2), strides=(2, 2), padding=((1, 1), (1, 1)))
        np.testing.assert_array_equal(pool(x, 2, 2, 1), expected)


# torch: symmetric padding of at most half a window, one leading dimension.


def torch_pool(name, x, *, window_shape, strides, padding, **settings):
    torch = pytest.importorskip("torch")
    window, dims = window_shape, len(window_shape)
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    if not name.startswith("lp_pool"):
        settings["padding"] = padding
    pool = getattr(torch.nn.functional, f"{name}{dims}d")
    if dims == 1:
        window, strides = window[0], strides[0]
    y = pool(images, kernel_size=window, stride=strides, **settings)
    return np.moveaxis(y.numpy(), 1, -1)


SYMMETRIC = [
    ((7,), (3,), (2,), (1,)),
    ((6,), (2,), (3,), (1,)),
    ((4,), (2,), (3,), (1,)),
    ((5, 6), (2, 3), (2, 2), (1, 1)),
    ((5, 4), (3, 2), (1, 3), (0, 1)),
    ((4, 5, 6), (2, 3, 2), (3, 2, 1), (1, 0, 1)),
]


@pytest.mark.slow
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("sizes", "window", "strides", "padding"), SYMMETRIC, ids=str)
def test_torch_agrees(sizes, window, strides, padding, ceil_mode):
    x = images_of((2, *sizes, 3), 1e4)
    pairs = tuple((p, p) for p in padding)
    grid = {"window_shape": window, "strides": strides, "ceil_mode": ceil_mode}
    calls = [(max_pool, "max_pool", {})]
    calls += [(average_pool, "avg_pool", {"count_include_pad": flag}) for flag in (False, True)]
    for pool, name, more in calls:
        expected = torch_pool(name, x, **grid, padding=padding, **more)
        y = pool(jnp.asarray(x, jnp.float32), padding=pairs, **grid, **more)
        properties.agree(pool, y, expected, by="torch")
    if not ceil_mode:  # torch scales a last window as if it were full
        expected = torch_pool("lp_pool", x, norm_type=2.0, **grid, padding=None)
        properties.agree(
            l2_pool, l2_pool(jnp.asarray(x, jnp.float32), **grid), expected, by="torch"
        )
        x = np.abs(x) / 1e4  # torch keeps the sign of odd powers
        expected = torch_pool("lp_pool", x, norm_type=3.0, **grid, padding=None)
        properties.agree(
            lp_pool, lp_pool(jnp.asarray(x, jnp.float32), p=3.0, **grid), expected, by="torch"
        )


def test_torch_agrees_on_the_gradient_among_equals():
    torch = pytest.importorskip("torch")
    x = np.round(images_of((1, 6, 6, 2)))  # many equal values
    images = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    torch.nn.functional.max_pool2d(images, 3, stride=2, padding=1).sum().backward()
    expected = np.moveaxis(images.grad.numpy(), 1, -1)
    gradient = jax.grad(lambda x: max_pool(x, window_shape=3, strides=2, padding=1).sum())(
        jnp.asarray(x, jnp.float32)
    )
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize(
    ("sizes", "window", "strides"),
    [((7,), (3,), (2,)), ((5, 4), (3, 3), (2, 1)), ((5, 6), (2, 3), (2, 2))],
    ids=str,
)
def test_keras_agrees_on_same(sizes, window, strides):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp())
    ops = pytest.importorskip("keras").ops
    x = np.float32(images_of((2, *sizes, 3)))
    for pool, theirs in [(max_pool, ops.max_pool), (average_pool, ops.average_pool)]:
        images = ops.convert_to_tensor(x)
        expected = theirs(images, window, strides, "same", data_format="channels_last")
        expected = expected.numpy()
        y = pool(jnp.asarray(x), window_shape=window, strides=strides, padding="SAME")
        if pool is max_pool or sizes != (5, 6):  # an uneven padding repeats the edge, on torch
            properties.agree(pool, y, expected, by="Keras")


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int8])
def test_integers_are_pooled_in_their_dtype(dtype):
    info = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(info.min, info.max, (2, 5, 5, 3), dtype, endpoint=True)
    grid: Any = {"window_shape": 2, "strides": 2, "padding": 1}
    y = max_pool(jnp.asarray(x), **grid)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, REFERENCES[max_pool](x.astype(np.float64), **grid))


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("scale", [0.0, 1e4, -1e4])
def test_extreme_images_are_finite(pool, scale):
    x = jnp.full((2, 4, 4, 2), scale)

    def total(x):
        return pool(x, window_shape=3, strides=2, padding=1, ceil_mode=True).sum()

    value, gradient = jax.value_and_grad(total)(x)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_half_precision_is_summed_in_float32():
    x = jnp.ones((64, 64, 1), jnp.bfloat16)  # bfloat16 counts to 256
    assert average_pool(x, window_shape=64).tolist() == [[[1.0]]]
    assert l2_pool(x, window_shape=64).tolist() == [[[64.0]]]


def test_no_window_lies_in_the_padding():
    """Every allowed padding leaves finite results, every other one raises."""
    x = jnp.ones((1, 2, 1))
    for low, high, stride, ceil_mode in itertools.product(
        range(4), range(4), (1, 3), (False, True)
    ):
        grid = {"window_shape": (1, 2), "strides": stride, "ceil_mode": ceil_mode}
        starts = starts_of(2, 2, stride, low, high, ceil_mode)
        padding = ((0, 0), (low, high))
        if all(-2 < start < 2 for start in starts):
            assert np.isfinite(max_pool(x, padding=padding, **grid)).all()
            assert np.isfinite(average_pool(x, padding=padding, **grid)).all()
        else:
            with pytest.raises(ValueError, match="`padding` must be smaller than the window"):
                max_pool(x, padding=padding, **grid)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_shape": 0}, "`window_shape` must be at least 1, got 0"),
        ({"window_shape": (2, -1)}, "`window_shape` must be at least 1, got (2, -1)"),
        ({"strides": -2}, "`strides` must be at least 1, got -2"),
        ({"strides": (1, 2, 3)}, "`strides` must be an int or 2 ints, got (1, 2, 3)"),
        ({"window_shape": 6}, "at most the padded size of x of shape (1, 5, 5, 2), got (6"),
        ({"window_shape": (2,) * 4}, "`x` must have 4 spatial dimensions and channels, got "),
        ({"padding": 2}, "`padding` must be smaller than the window (2, 2), got 2"),
        ({"padding": -1}, "`padding` must be non-negative, got -1"),
        ({"padding": "same"}, "must be 'SAME', 'VALID', an int or 2 pairs of ints, got 'same'"),
        ({"padding": ((1, 1),)}, "must be 'SAME', 'VALID', an int or 2 pairs of ints, got ((1"),
    ],
)
def test_invalid_windows_raise(pool, changes, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        pool(jnp.ones((1, 5, 5, 2)), **{"window_shape": 2, **changes})


def test_invalid_images_raise():
    with pytest.raises(
        ValueError, match=re.escape("`x` must have at least one pixel, got shape (0, 3, 2)")
    ):
        max_pool(jnp.ones((0, 3, 2)), window_shape=2, padding=1)
    with properties.unchecked():
        for pool in (average_pool, l2_pool):
            with pytest.raises(TypeError, match="`x` must be floating-point, got int32"):
                pool(jnp.ones((3, 3, 2), jnp.int32), window_shape=2)
        with pytest.raises(TypeError, match="`x` must be integer or floating-point, got bool"):
            max_pool(jnp.ones((3, 3, 2), bool), window_shape=2)
        with pytest.raises(TypeError, match="`window_shape` must be an int or 2 ints, got"):
            max_pool(jnp.ones((3, 3, 2)), window_shape=1.5)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 1.5])
def test_the_gradient_of_a_norm_is_zero_at_a_zero_among_others(p):
    x = jnp.array([[-3.0], [0.0], [0.0], [0.0]])
    gradient = jax.grad(lambda x: lp_pool(x, (2,), (2,), p=p).sum())(x)
    np.testing.assert_allclose(gradient, [[-1.0], [0.0], [0.0], [0.0]], rtol=1e-6)


@pytest.mark.parametrize("p", [0.5, 0.0, math.inf, math.nan])
def test_a_power_that_is_no_norm_is_an_error(p):
    with pytest.raises(ValueError, match=f"`p` must be at least 1 and finite, got {p}"):
        lp_pool(jnp.ones((3, 3, 2)), p=p, window_shape=2)


@pytest.mark.parametrize("scale", [1e-30, 1e-23, 1e20, 1e37])
@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_a_norm_scales_with_its_image(p, scale):
    # Two images and two channels of which each has a scale of its own.
    rng = np.random.default_rng(0)
    scales = np.array([[scale, 1.0], [1.0, scale]])[:, None, None]
    x = (scales * rng.normal(size=(2, 4, 4, 2))).astype(np.float32)
    cotangent = rng.normal(size=(2, 2, 2, 2)).astype(np.float32)
    y, pull = jax.vjp(lambda x: lp_pool(x, 2, 2, p=p), jnp.asarray(x))
    units = np.float64(x) / scales
    expected = np.asarray(reference_lp(units, p=p, window_shape=2, strides=2))
    references.assert_close(y / scales, expected, 1e-6)
    slopes, divisors = (np.repeat(np.repeat(a, 2, 1), 2, 2) for a in (cotangent, expected))
    slopes = slopes * np.sign(units) * (np.abs(units) / divisors) ** (p - 1)
    references.assert_close(pull(jnp.asarray(cotangent))[0], slopes, 2e-6)


def test_an_infinite_or_undefined_value_stays_in_its_windows():
    x = jnp.array([np.inf, 1.0, 3.0, 4.0, np.nan, 1.0, 0.0, 0.0])[:, None]
    y = l2_pool(x, (2,), (2,))[:, 0]
    np.testing.assert_allclose(y, [np.inf, 5.0, np.nan, 0.0], rtol=1e-6)


def derivatives_of_window(pool, values, slopes, directions, held, p):
    """The gradient of `slopes * pool(values)`, and its change along a direction as a difference."""
    slopes, none = slopes[..., None, :], np.zeros(values.shape)
    if pool is max_pool:
        first = values.argmax(-2)[..., None, :] == np.arange(values.shape[-2])[:, None]
        return slopes * first, none, none
    if pool is average_pool:
        return np.broadcast_to(slopes / held, values.shape), none, none
    norm = (np.abs(values) ** p).sum(-2, keepdims=True) ** (1 / p)
    unit = np.abs(values) / norm
    gradient = np.sign(values) * unit ** (p - 1)
    along = (gradient * directions).sum(-2, keepdims=True)
    factor = slopes * (p - 1) / norm
    return slopes * gradient, factor * unit ** (p - 2) * directions, factor * gradient * along


def draw_windows(rng):
    """Any pool, and windows of which some are larger than the image or leave pixels out."""
    dims = int(rng.integers(1, 4))
    size, window = rng.integers(1, 8 - dims, dims), rng.integers(1, 5, dims)
    low = rng.integers(0, window)
    high = np.maximum(rng.integers(0, window), window - low - size)
    grid = {
        "window_shape": tuple(map(int, window)),
        "strides": tuple(map(int, rng.integers(1, 6, dims))),
        "padding": tuple((int(a), int(b)) for a, b in zip(low, high, strict=True)),
        "ceil_mode": bool(rng.integers(2)),
    }
    sizes = zip(size, grid["window_shape"], grid["strides"], grid["padding"], strict=True)
    for n, k, s, (before, after) in sizes:
        if not all(-k < at < n for at in starts_of(n, k, s, before, after, grid["ceil_mode"])):
            return draw_windows(rng)  # a window in the padding is an error
    pool = [max_pool, average_pool, lp_pool, l2_pool][rng.integers(4)]
    more: dict[str, Any] = {"p": float(rng.choice([1.5, 2.0, 3.0, 4.5]))} if pool is lp_pool else {}
    if pool is average_pool:
        more = {"count_include_pad": bool(rng.integers(2))}
    lead = [(), (2,), (2, 3)][rng.integers(3)]
    x = rng.normal(size=(*lead, *size, int(rng.integers(1, 4)))).astype(np.float32)
    return pool, np.round(x) if pool is max_pool else x, grid, more


def check_derivatives(seed):
    """A value, a gradient and a second derivative of one drawn case."""
    rng = np.random.default_rng(seed)
    pool, x, grid, more = draw_windows(rng)
    call = partial(pool, **grid, **more)
    shape = jax.eval_shape(call, x).shape
    cotangent, direction = (rng.normal(size=n).astype(np.float32) for n in (shape, x.shape))

    @references.plain_jit
    def derivatives(x, cotangent, direction):
        def gradient(x):
            y, pull = jax.vjp(call, x)
            return pull(cotangent)[0], y

        gradients, changes, y = jax.jvp(gradient, (x,), (direction,), has_aux=True)
        return y, gradients, changes

    wide, slopes, directions = references.float64([x, cotangent, direction])
    sums = np.zeros((3, x.size))
    where = np.arange(x.size).reshape(x.shape)
    for (_, index, values, held), (*_, places, _) in zip(
        windows_of(wide, **grid), windows_of(where, **grid), strict=True
    ):
        slope = slopes[(..., *index, slice(None))]
        count = held if more.get("count_include_pad") else values.shape[-2]
        step = directions.ravel()[places]
        parts = derivatives_of_window(pool, values, slope, step, count, more.get("p", 2.0))
        for total, part in zip(sums, parts, strict=True):
            np.add.at(total, places, part)
    gradient, *terms = sums.reshape(3, *x.shape)
    y, got, change = derivatives(x, cotangent, direction)
    references.assert_close(y, REFERENCES[pool](wide, **grid, **more), 1e-5)
    references.assert_close(got, gradient, 1e-5)
    # In a window of one value the terms cancel, and nothing but their rounding is left.
    tolerance = 1e-5 * np.abs(terms).max(initial=0.0)
    np.testing.assert_allclose(change, terms[0] - terms[1], rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_derivatives_of_any_windows(seed):
    check_derivatives(seed)


@pytest.mark.large
@pytest.mark.parametrize("block", range(20))
def test_many_windows(block):
    for seed in range(1000 + 50 * block, 1050 + 50 * block):
        check_derivatives(seed)
