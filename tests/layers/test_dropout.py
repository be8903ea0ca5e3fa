"""Dropout in its four forms: statistics against theory, values and gradients against the mask."""

import functools
import itertools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import drop_block, dropout, spatial_dropout, stochastic_depth
from tests import properties, references

KEY = jax.random.key(0)
FORMS = [dropout, spatial_dropout, stochastic_depth, functools.partial(drop_block, block_size=2)]
NAMES = ["dropout", "spatial_dropout", "stochastic_depth", "drop_block"]
SHAPE = (6, 4, 4, 8)
SIGMAS = 5.0  # a right sampler is that far off once in two million draws; the keys are fixed

forms = pytest.mark.parametrize("form", FORMS, ids=NAMES)


def function_of(form):
    return getattr(form, "func", form)


def images_of(shape, scale=1.0):
    return np.float32(scale * np.random.default_rng(0).normal(size=shape))


@functools.cache
def jitted(form, settings=()):
    """The function of a traced share: one program for all of them."""

    def call(key, x, keep_prob):
        return form(key, x, keep_prob=keep_prob, train=True, **dict(settings))

    return references.plain_jit(call)


def mask_of(form, shape, keep_prob, key=KEY, dtype: Any = np.float32, **settings):
    """Which entries are kept, by a pass of ones."""
    call = jitted(form, tuple(settings.items()))
    return np.asarray(call(key, jnp.ones(shape, dtype), jnp.float32(keep_prob))) > 0


def assert_frequency(function, kept, probability):
    """The share of kept among independent draws is that of the theory."""
    bound = SIGMAS * math.sqrt((1 - probability) / probability / kept.size)
    share = np.float32(np.mean(kept, dtype=np.float64))
    properties.agree(function, share, np.float64(probability), by="theory", rtol=bound)


@pytest.mark.parametrize("keep_prob", [0.1, 0.5, 0.9])
def test_entries_are_kept_at_their_rate_and_apart(keep_prob):
    kept = mask_of(dropout, (100, 1000), keep_prob=keep_prob)
    assert_frequency(dropout, kept, keep_prob)
    for one, other in [(kept[0::2], kept[1::2]), (kept[:, 0::2], kept[:, 1::2])]:
        assert_frequency(dropout, one & other, keep_prob**2)


@pytest.mark.parametrize("keep_prob", [0.2, 0.7])
def test_channels_are_kept_whole(keep_prob):
    kept = mask_of(spatial_dropout, (100, 3, 2, 100), keep_prob=keep_prob)
    assert (kept == kept[:, :1, :1]).all()
    kept = kept[:, 0, 0]
    assert_frequency(spatial_dropout, kept, keep_prob)
    assert_frequency(spatial_dropout, kept[0::2] & kept[1::2], keep_prob**2)
    assert_frequency(spatial_dropout, kept[:, 0::2] & kept[:, 1::2], keep_prob**2)


@pytest.mark.parametrize("dims", [0, 1, 3])
def test_channels_are_dropped_in_as_many_dimensions_as_are_named(dims):
    shape = (20, *(2,) * dims, 30)
    kept = mask_of(spatial_dropout, shape, keep_prob=0.5, spatial_dims=dims)
    kept = kept.reshape(20, -1, 30)
    assert (kept == kept[:, :1]).all()
    assert_frequency(spatial_dropout, kept[:, 0], 0.5)


def test_examples_are_kept_whole():
    kept = mask_of(stochastic_depth, (10_000, 2, 3), keep_prob=0.8)
    assert (kept == kept[:, :1, :1]).all()
    assert_frequency(stochastic_depth, kept[:, 0, 0], 0.8)
    kept = mask_of(stochastic_depth, (50, 60, 3), keep_prob=0.8, batch_dims=2)
    assert (kept == kept[..., :1]).all()
    assert_frequency(stochastic_depth, kept[..., 0], 0.8)


def test_a_single_example_is_kept_or_dropped_under_vmap():
    def branch(key, x):
        return stochastic_depth(key, x, keep_prob=0.5, train=True, batch_dims=0)

    kept = np.asarray(jax.vmap(branch)(jax.random.split(KEY, 1000), jnp.ones((1000, 3)))) > 0
    assert (kept == kept[:, :1]).all()
    assert_frequency(stochastic_depth, kept[:, 0], 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width", "size"), [(5, 4, 2), (4, 6, 3), (3, 3, 3)])
def test_blocks_are_dropped_at_the_rate_of_the_paper(height, width, size):
    keep_prob, channels = 0.7, 10_000
    shape = (height, width, channels)
    kept = mask_of(drop_block, shape, keep_prob=keep_prob, block_size=size)
    rows, columns = height - size + 1, width - size + 1
    gamma = (1 - keep_prob) / size**2 * height * width / (rows * columns)
    for i, j in itertools.product(range(height), range(width)):
        # The blocks that hold a pixel: those whose first row and column are near enough.
        holding = sum(u <= i < u + size for u in range(rows))
        holding *= sum(v <= j < v + size for v in range(columns))
        assert_frequency(drop_block, kept[i, j], (1 - gamma) ** holding)


def test_what_is_dropped_are_blocks():
    kept = mask_of(drop_block, (2, 6, 7, 40), keep_prob=0.8, block_size=3)
    windows = np.lib.stride_tricks.sliding_window_view(kept, (3, 3), axis=(1, 2))
    corners = ~windows.any((-1, -2))
    rebuilt = np.ones_like(kept)
    for n, i, j, c in zip(*np.nonzero(corners), strict=True):
        rebuilt[n, i : i + 3, j : j + 3, c] = False
    np.testing.assert_array_equal(rebuilt, kept)
    assert 0 < corners.sum() < corners.size


def test_blocks_keep_the_sum_of_ones():
    y = drop_block(KEY, jnp.ones((2, 6, 7, 40)), keep_prob=0.8, block_size=3, train=True)
    properties.agree(
        drop_block,
        np.float32(np.asarray(y, np.float64).sum()),
        np.float64(y.size),
        by="theory",
        rtol=1e-6,
    )


def test_an_image_without_a_kept_pixel_is_zero():
    y = drop_block(KEY, jnp.ones((3, 3, 2)), keep_prob=1e-7, block_size=3, train=True)
    np.testing.assert_array_equal(y, np.zeros(y.shape))


def test_the_gradient_of_an_image_without_a_kept_pixel_is_zero():
    def total(x):
        return drop_block(KEY, x, keep_prob=1e-7, block_size=3, train=True).sum()

    value, gradient = jax.value_and_grad(total)(jnp.ones((3, 3, 2)))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


@pytest.mark.slow
@forms
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_what_is_kept_is_divided_by_the_share_and_rounded_once(form, dtype):
    function = function_of(form)
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(images_of(SHAPE, 1e4), dtype)
        mask = mask_of(form, SHAPE, keep_prob=0.9)
        share = mask.mean() if function is drop_block else 0.9
        run = references.plain_jit(functools.partial(form, keep_prob=0.9, train=True))
        y = run(KEY, x)
        assert y.dtype == x.dtype
        tolerance = {"float32": 1e-6, "bfloat16": 2.0**-8, "float64": 1e-15}[dtype]
        expected = np.asarray(x, np.float64) * mask / share
        properties.agree(function, y, expected, by="NumPy float64", rtol=tolerance)


@pytest.mark.parametrize("keep_prob", [0.9, 0.3])
def test_the_mean_is_kept_in_bfloat16(keep_prob):
    x = 1 + jax.random.uniform(KEY, (400, 500))
    x = x.astype(jnp.bfloat16)
    y = np.asarray(dropout(jax.random.key(1), x, keep_prob=keep_prob, train=True), np.float64)
    x = np.asarray(x, np.float64)
    # The noise of the mask, and one rounding of each entry: random in sign, so negligible in sum.
    deviation = math.sqrt(np.mean(x**2) * (1 - keep_prob) / keep_prob / x.size)
    assert abs(y.mean() - x.mean()) < SIGMAS * deviation


@forms
def test_the_gradient_is_the_mask_divided_by_the_share(form):
    x = jnp.asarray(images_of(SHAPE))
    mask = mask_of(form, SHAPE, keep_prob=0.3)
    dropped = functools.partial(form, keep_prob=0.3, train=True)
    gradient = references.plain_jit(jax.grad(lambda x: dropped(KEY, x).sum()))(x)
    share = mask.mean() if function_of(form) is drop_block else np.float32(0.3)
    np.testing.assert_array_equal(gradient, np.where(mask, 1 / np.float32(share), 0))


@pytest.mark.slow
@forms
def test_gradients_fit_finite_differences(form):
    x = images_of((2, 2, 2, 2))
    properties.check_gradients(lambda x: form(KEY, x, keep_prob=0.6, train=True), x, order=1)


@pytest.mark.slow
@forms
def test_vmap_over_keys_and_examples_is_a_loop(form):
    run = functools.partial(form, keep_prob=0.5, train=True)
    references.assert_vmap_is_loop(run, jax.random.split(KEY, 3), images_of((3, *SHAPE)))


@pytest.mark.slow
@forms
def test_the_mask_is_that_of_the_key_in_every_dtype(form):
    mask = mask_of(form, SHAPE, keep_prob=0.5)
    half = mask_of(form, SHAPE, keep_prob=0.5, dtype=jnp.bfloat16)
    with jax.enable_x64(True):
        double = mask_of(form, SHAPE, keep_prob=0.5, dtype=np.float64)
    np.testing.assert_array_equal(half, mask)
    np.testing.assert_array_equal(double, mask)
    assert (mask_of(form, SHAPE, keep_prob=0.5, key=jax.random.key(1)) != mask).any()


@forms
def test_a_traced_share_of_one_keeps_everything(form):
    x = jnp.asarray(images_of(SHAPE))
    np.testing.assert_array_equal(jitted(form)(KEY, x, jnp.float32(1)), x)


@forms
def test_evaluation_and_a_share_of_one_are_the_identity(form):
    x = jnp.asarray(images_of(SHAPE))
    assert form(KEY, x, keep_prob=0.5, train=False) is x
    assert form(KEY, x, keep_prob=1.0, train=True) is x


@pytest.mark.slow
@forms
def test_what_is_dropped_is_zero_even_if_infinite(form):
    x = jnp.full(SHAPE, jnp.inf)
    y = jitted(form)(KEY, x, jnp.float32(0.5))
    kept = mask_of(form, SHAPE, keep_prob=0.5)
    np.testing.assert_array_equal(y, np.where(kept, np.inf, 0))


@forms
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("keep_prob", [0.0, -0.5, 1.5, math.nan, np.float32(2)])
def test_a_share_that_is_none_is_an_error(form, train, keep_prob):
    message = f"`keep_prob` must be in (0, 1], got {keep_prob}"
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        form(KEY, jnp.ones((4, 4, 4, 2)), keep_prob=keep_prob, train=train)


@forms
def test_integers_are_an_error(form):
    message = "`x` must be floating-point, got int32"
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        form(KEY, jnp.ones((4, 4, 4, 2), jnp.int32), keep_prob=0.5, train=False)


@pytest.mark.parametrize(
    ("function", "settings", "message"),
    [
        (
            spatial_dropout,
            {"spatial_dims": 3},
            "`spatial_dims` must be in [0, 2] for x of shape (4, 5, 2), got 3",
        ),
        (
            spatial_dropout,
            {"spatial_dims": -1},
            "`spatial_dims` must be in [0, 2] for x of shape (4, 5, 2), got -1",
        ),
        (
            stochastic_depth,
            {"batch_dims": 4},
            "`batch_dims` must be in [0, 3] for x of shape (4, 5, 2), got 4",
        ),
        (
            stochastic_depth,
            {"batch_dims": -1},
            "`batch_dims` must be in [0, 3] for x of shape (4, 5, 2), got -1",
        ),
        (drop_block, {"block_size": 5}, "`block_size` must be in [1, 4] for images of 4x5, got 5"),
        (drop_block, {"block_size": 0}, "`block_size` must be in [1, 4] for images of 4x5, got 0"),
    ],
)
def test_settings_that_do_not_fit_raise(function, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(KEY, jnp.ones((4, 5, 2)), keep_prob=0.5, train=False, **settings)


def test_blocks_need_images():
    message = re.escape("`x` must be [..., height, width, channels], got shape (4, 5)")
    with properties.unchecked(), pytest.raises(ValueError, match=message):
        drop_block(KEY, jnp.ones((4, 5)), keep_prob=0.5, block_size=2, train=True)


def test_a_traced_probability_of_zero_drops_everything():
    @jax.jit
    def value_and_slope(x, keep_prob):
        def total(x):
            return dropout(jax.random.key(0), x, keep_prob=keep_prob, train=True).sum()

        return jax.value_and_grad(total)(x)

    value, slope = value_and_slope(jnp.ones(4), 0.0)
    assert float(value) == 0
    assert slope.tolist() == [0.0] * 4
