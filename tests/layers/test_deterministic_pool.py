"""The deterministic gradient of max-pooling has the bits of select-and-scatter."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxml.layers import _pool, max_pool
from tests.layers import test_pool

KINDS = ["normal", "ties", "infinities", "nan"]


def _values(rng, shape, kind):
    x = rng.normal(size=shape)
    if kind == "ties":
        return np.round(x)
    chance = rng.random(shape)
    if kind == "infinities":
        return np.where(chance < 0.4, -np.inf, np.where(chance < 0.5, np.inf, x))
    return np.where(chance < 0.2, np.nan, x) if kind == "nan" else x


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_have_the_bits_of_select_and_scatter(seed, kind, dtype):
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    _, image, grid, _ = test_pool.draw_windows(rng)
    pool = partial(max_pool, **grid)
    x = jnp.asarray(_values(rng, image.shape, kind), dtype)
    cotangent = jnp.asarray(rng.normal(size=jax.eval_shape(pool, x).shape), dtype)

    @partial(jax.jit, static_argnums=2)
    def value_and_gradient(x, cotangent, deterministic):
        y, pull = jax.vjp(partial(pool, deterministic=deterministic), x)
        return y, pull(cotangent)[0]

    found, expected = (value_and_gradient(x, cotangent, how) for how in (True, False))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == dtype
        # In float32 because NumPy cannot compare NaN in bfloat16.
        np.testing.assert_array_equal(np.asarray(one, np.float32), np.asarray(other, np.float32))


@pytest.mark.slow
def test_an_image_of_usual_size_has_the_same_bits():
    rng = np.random.default_rng(0)
    x = jnp.asarray(np.maximum(rng.normal(size=(4, 17, 16, 8)), 0.0), jnp.float32)  # many ties

    def loss(x, deterministic):
        y = max_pool(x, 3, 2, "SAME", deterministic=deterministic)
        return jnp.sum(jnp.sin(y) * y)

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    np.testing.assert_array_equal(gradient(x, True), gradient(x, False))


@pytest.mark.slow
def test_both_modes_work_and_the_second_derivative():
    x = jnp.asarray(np.random.default_rng(1).permutation(60).reshape(1, 6, 5, 2), jnp.float32)
    pool = partial(max_pool, window_shape=(3, 2), strides=2, padding=1, deterministic=True)
    square = jax.jit(lambda x: pool(x / 10) ** 2)
    check_grads(square, (x,), order=2, modes=("fwd", "rev"), rtol=2e-2)
    direction = jnp.cos(x)
    plain = partial(pool, deterministic=False)
    found, expected = (jax.jvp(f, (x,), (direction,)) for f in (pool, plain))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    batched = jax.vmap(jax.grad(lambda x: jnp.sum(pool(x) ** 2)))(jnp.stack([x, -x]))
    for one, image in zip(batched, (x, -x), strict=True):
        np.testing.assert_array_equal(one, jax.grad(lambda x: jnp.sum(plain(x) ** 2))(image))


def _operations(deterministic):
    def gradient(x):
        pool = partial(max_pool, window_shape=3, strides=2, padding=1, deterministic=deterministic)
        return jax.grad(lambda x: jnp.sum(pool(x)))(x)

    text = jax.jit(gradient).lower(jnp.ones((1, 6, 6, 2))).as_text()
    return set(re.findall(r"stablehlo\.(\w+)", text))


def test_the_program_has_no_scatter():
    assert "select_and_scatter" in _operations(False)
    assert not {name for name in _operations(True) if "scatter" in name or "gather" in name}


@pytest.mark.parametrize(
    ("flags", "backend", "required"),
    [
        ("", "gpu", False),
        ("--xla_gpu_deterministic_ops", "gpu", True),
        ("--a=1 --xla_gpu_deterministic_ops=true --b", "gpu", True),
        ("--xla_gpu_exclude_nondeterministic_ops=1", "gpu", True),
        ("--xla_gpu_exclude_nondeterministic_ops=false", "gpu", False),
        ("--xla_gpu_deterministic_ops_more=true", "gpu", False),
        ("--xla_gpu_deterministic_ops=true", "cpu", False),
    ],
)
def test_it_is_used_where_xla_must_be_deterministic(monkeypatch, flags, backend, required):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert _pool._is_determinism_required(flags) is required
    assert ("select_and_scatter" not in _operations(None)) is required
