"""Running averages against their formulas, Keras' layer and PyTorch's function."""

import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.layers import (
    moments,
    running_statistics_keras,
    running_statistics_torch,
    update_running_average,
)
from tests import properties, references


def example(shape=(5,)):
    return np.random.default_rng(0).normal(size=(2, *shape))


def by_formula(average, value, momentum):
    pairs = zip(average, value, strict=True)
    return np.array([momentum * a + (1 - momentum) * v for a, v in pairs])


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_running_average_weighs_the_past_by_the_momentum(momentum):
    arrays = example()
    properties.check(
        update_running_average, *arrays, reference=by_formula, by="NumPy float64", momentum=momentum
    )


def test_the_momentum_may_be_traced():
    average, value = jnp.zeros(3), jnp.ones(3)
    jitted = jax.jit(lambda m: update_running_average(average, value, momentum=m))
    references.assert_close(jitted(0.75), np.full(3, 0.25))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("weight", [jnp.bfloat16, jnp.float32])
def test_a_traced_momentum_leaves_the_dtype_of_the_average(dtype, weight):
    average, value = (jnp.asarray(v, dtype) for v in example())
    step = references.plain_jit(
        lambda *arrays: update_running_average(*arrays[:2], momentum=arrays[2])
    )
    updated = step(average, value, jnp.asarray(0.75, weight))
    assert updated.dtype == dtype
    expected = 0.75 * np.float64(average) + 0.25 * np.float64(value)
    # Two products and a sum in float32, and one rounding to bfloat16.
    single = 3 * references.ROUNDING["float32"]
    rtol = single if dtype == jnp.float32 else single + references.ROUNDING["bfloat16"]
    properties.agree(update_running_average, updated, expected, by="NumPy float64", rtol=rtol)


@pytest.mark.parametrize("function", [running_statistics_keras, running_statistics_torch])
def test_running_statistics_of_bfloat16_stay_so_under_a_traced_momentum(function):
    count = {"count": 6} if function is running_statistics_torch else {}
    running = jnp.zeros(3, jnp.bfloat16), jnp.ones(3, jnp.bfloat16)
    new = jnp.ones(3), jnp.full(3, 5.0)
    step = references.plain_jit(lambda momentum: function(running, new, momentum=momentum, **count))
    mean, variance = step(jnp.float32(0.5))
    assert mean.dtype == variance.dtype == jnp.bfloat16
    expected = (np.full(3, 0.5), np.full(3, 3.5 if count else 3.0))
    properties.agree(function, (mean, variance), expected, by="NumPy float64", rtol=0)


def test_the_running_average_of_a_constant_converges_to_it_geometrically():
    average, value = jnp.zeros(5), jnp.full(5, 1e4)
    for _ in range(20):
        average = update_running_average(average, value, momentum=0.9)
    references.assert_close(average, np.full(5, 1e4 * (1 - 0.9**20)), 1e-6)


def test_the_running_average_keeps_its_dtype_whatever_the_value_has():
    average, value = example().astype(np.float32)
    updated = update_running_average(
        jnp.asarray(average), jnp.asarray(value, jnp.bfloat16), momentum=0.75
    )
    assert updated.dtype == jnp.float32
    rounded = value.astype(jnp.bfloat16).astype(np.float64)
    references.assert_close(updated, 0.75 * average.astype(np.float64) + 0.25 * rounded, 1e-6)


def batch():
    rng = np.random.default_rng(1)
    x, mean = rng.normal(size=(3, 2, 4)), rng.normal(size=4)
    return x, mean, rng.uniform(0.5, 2, size=4)


def test_keras_agrees(tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")
    x, mean, variance = batch()
    layer = keras.layers.BatchNormalization(momentum=0.75, dtype="float64")
    layer.build(x.shape)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    layer(x, training=True)
    running = jnp.asarray(mean), jnp.asarray(variance)
    actual = running_statistics_keras(running, moments(jnp.asarray(x), (0, 1)), momentum=0.75)
    expected = [v.value.detach().numpy() for v in (layer.moving_mean, layer.moving_variance)]
    properties.agree(running_statistics_keras, actual, tuple(expected), by="Keras")


@pytest.mark.parametrize("counted", ["int", "scalar", "channels"])
def test_torch_agrees(counted):
    torch = pytest.importorskip("torch")
    x, mean, variance = batch()
    expected = torch.from_numpy(mean.copy()), torch.from_numpy(variance.copy())
    torch.nn.functional.batch_norm(
        torch.from_numpy(x).permute(0, 2, 1), *expected, training=True, momentum=0.25
    )
    running = jnp.asarray(mean), jnp.asarray(variance)
    count = {"int": 6, "scalar": jnp.array(6), "channels": jnp.full(4, 6.0)}[counted]
    actual = running_statistics_torch(
        running, moments(jnp.asarray(x), (0, 1)), momentum=0.25, count=count
    )
    properties.agree(
        running_statistics_torch, actual, tuple(v.numpy() for v in expected), by="torch"
    )


def test_a_masked_batch_counts_what_the_mask_keeps():
    x, mean, variance = batch()
    where = np.zeros((3, 2, 4), bool)
    where[:, 0, 0], where[:2, :, 1], where[0, 0, 2] = True, True, True
    running = jnp.asarray(mean), jnp.asarray(variance)
    actual = running_statistics_torch(
        running,
        moments(jnp.asarray(x), (0, 1), where=jnp.asarray(where)),
        momentum=1.0,
        count=jnp.asarray(where.sum((0, 1))),
    )
    kept = [x[..., c][where[..., c]] for c in range(4)]
    expected = (
        np.array([v.mean() if v.size else 0 for v in kept]),
        np.array([v.var(ddof=1) if v.size > 1 else 0 for v in kept]),
    )
    properties.agree(running_statistics_torch, actual, expected, by="NumPy float64")


def test_the_two_conventions_meet_where_the_count_is_large():
    running, new = (jnp.zeros(2), jnp.ones(2)), (jnp.ones(2), jnp.full(2, 5.0))
    ours = running_statistics_keras(running, new, momentum=0.9)
    theirs = running_statistics_torch(running, new, momentum=0.1, count=10**7)
    references.assert_trees_close(theirs, ours, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("function", [running_statistics_keras, running_statistics_torch])
def test_statistics_compile_map_and_have_gradients(function):
    count = {"count": 6} if function is running_statistics_torch else {}

    def update(*arrays):
        return function(arrays[:2], arrays[2:], momentum=0.25, **count)

    arrays = np.random.default_rng(0).uniform(0.5, 2, size=(4, 3, 5)).astype(np.float32)
    references.assert_vmap_is_loop(update, *arrays)
    properties.check_gradients(update, *arrays[:, 0].astype(np.float64))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda one: update_running_average(one, jnp.ones(4), momentum=0.9),
            "`value` must have the shape (3,) of the average, got (4,)",
        ),
        (
            lambda one: update_running_average(one, one, momentum=1.5),
            "`momentum` must be in [0, 1], got 1.5",
        ),
        (
            lambda one: running_statistics_torch((one, one), (one, one), momentum=-0.5, count=2),
            "`momentum` must be in [0, 1], got -0.5",
        ),
        (
            lambda one: running_statistics_torch((one, one), (one, one), momentum=0.1, count=1),
            "`count` must be at least 2, got 1",
        ),
        (
            lambda one: running_statistics_torch(
                (one, one), (one, one), momentum=0.1, count=one[1:]
            ),
            "`count` must be a scalar or have shape (3,), got (2,)",
        ),
    ],
)
def test_what_cannot_be_averaged_raises(call, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        call(jnp.ones(3))
