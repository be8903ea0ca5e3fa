"""Normalisation by given statistics against its formula, torch, Keras and its paper's gradients."""

import os
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import layers
from jaxml.layers import batch_norm_with_global_normalization, batch_normalization, moments
from tests import properties, references

EPSILON = 1e-5
jitted = jax.jit(partial(batch_normalization, variance_epsilon=EPSILON))


def example(shape=(4, 3, 2, 5), dtype: Any = np.float64):
    """x, mean, variance, offset and scale."""
    rng = np.random.default_rng(0)
    x, mean, offset = (rng.normal(size=s) for s in (shape, shape[-1:], shape[-1:]))
    variance, scale = rng.uniform(0.5, 2, size=(2, shape[-1]))
    return [array.astype(dtype) for array in (x, mean, variance, offset, scale)]


def by_formula(x, mean, variance, offset, scale, variance_epsilon):
    offset = np.zeros(mean.shape) if offset is None else offset
    scale = np.ones(mean.shape) if scale is None else scale
    return references.batch_normalization(x, mean, variance, offset, scale, variance_epsilon)


def by_statistics_of_x(x, offset, scale):
    mean, variance = moments(x, range(x.ndim - 1))
    return batch_normalization(x, mean, variance, offset, scale, EPSILON)


@pytest.mark.slow
def test_normalisation_is_by_the_given_statistics():
    properties.check(
        batch_normalization,
        *example((3, 2, 4)),
        reference=by_formula,
        by="NumPy float64",
        variance_epsilon=EPSILON,
    )


@pytest.mark.parametrize("absent", [(3,), (4,)], ids=str)
def test_no_offset_is_zero_and_no_scale_is_one(absent):
    arrays = [None if i in absent else array for i, array in enumerate(example((4, 3)))]
    properties.check(
        batch_normalization,
        *arrays,
        reference=by_formula,
        by="NumPy float64",
        vmap=False,
        grads=0,
        variance_epsilon=0.25,
    )


def check_values(reference, by):
    options: Any = {"vmap": False, "grads": 0, "variance_epsilon": 1e-3}
    properties.check(batch_normalization, *example(), reference=reference, by=by, **options)


def test_torch_agrees():
    torch = pytest.importorskip("torch")

    def batch_norm(x, mean, variance, offset, scale, variance_epsilon):
        x, *values = map(torch.from_numpy, (np.moveaxis(x, -1, 1), mean, variance, scale, offset))
        y = torch.nn.functional.batch_norm(x, *values, training=False, eps=variance_epsilon)
        return np.moveaxis(y.numpy(), 1, -1)

    check_values(batch_norm, by="torch")


def test_torch_agrees_on_the_statistics_of_the_batch():
    torch = pytest.importorskip("torch")
    x, _, _, offset, scale = example(dtype=np.float32)
    values = [np.moveaxis(x, -1, 1), scale, offset]
    theirs, *parameters = (torch.from_numpy(v.astype(np.float64)) for v in values)
    y = torch.nn.functional.batch_norm(theirs, None, None, *parameters, training=True)
    ours = jax.jit(by_statistics_of_x)(x, offset, scale)
    properties.agree(batch_normalization, ours, np.moveaxis(y.numpy(), 1, -1), by="torch")


def test_keras_agrees(tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")

    def batch_norm(x, mean, variance, offset, scale, variance_epsilon):
        y = keras.ops.batch_normalization(
            x, mean, variance, axis=-1, offset=offset, scale=scale, epsilon=variance_epsilon
        )
        return y.numpy()

    check_values(batch_norm, by="Keras")


@pytest.mark.slow
def test_statistics_may_have_the_dimensions_of_x():
    x, *statistics = example()
    x, moved = np.moveaxis(x, -1, 1), [v.reshape(1, 5, 1, 1) for v in statistics]

    def channels_second(x, *statistics, variance_epsilon):
        y = by_formula(
            np.moveaxis(x, 1, -1), *map(np.ravel, statistics), variance_epsilon=variance_epsilon
        )
        return np.moveaxis(y, -1, 1)

    properties.check(
        batch_normalization,
        x,
        *moved,
        reference=channels_second,
        by="NumPy float64",
        variance_epsilon=EPSILON,
    )


@pytest.mark.parametrize("scaled", [True, False])
def test_the_global_form_scales_only_on_request(scaled):
    def reference(x, mean, variance, offset, scale, variance_epsilon, scale_after_normalization):
        scale = scale if scale_after_normalization else np.ones(scale.shape)
        return by_formula(x, mean, variance, offset, scale, variance_epsilon)

    properties.check(
        batch_norm_with_global_normalization,
        *example((4, 3)),
        reference=reference,
        by="NumPy float64",
        vmap=False,
        grads=0,
        variance_epsilon=EPSILON,
        scale_after_normalization=scaled,
    )


def test_normalisation_does_not_cancel_where_the_mean_is_large():
    x, _, variance, offset, scale = example(dtype=np.float32)
    arrays = [(1e4 + x).astype(np.float32), np.full(5, 1e4, np.float32), variance, offset, scale]
    expected = references.batch_normalization(*references.float64(arrays), epsilon=EPSILON)
    references.assert_close(jitted(*arrays), expected, 1e-6)


def test_bfloat16_is_normalised_in_float32_and_rounded_once():
    x, *statistics = example(dtype=np.float32)
    for dtype in (np.float32, jnp.bfloat16):
        arrays = [x.astype(jnp.bfloat16), *(value.astype(dtype) for value in statistics)]
        y = jitted(*arrays)
        assert y.dtype == jnp.bfloat16
        expected = references.batch_normalization(*references.float64(arrays), epsilon=EPSILON)
        rtol = 1.01 * references.ROUNDING["bfloat16"]
        np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_gradients_by_the_statistics_of_the_batch_are_those_of_the_paper(mean):
    x, _, _, offset, scale = example(dtype=np.float32)
    x = (x + mean).astype(np.float32)
    cotangent = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    vjp = jax.jit(lambda c, *arrays: jax.vjp(by_statistics_of_x, *arrays)[1](c))
    x64, scale64, cotangent64 = references.float64([x, scale, cotangent])
    expected = references.batch_norm_gradients(x64, scale64, cotangent64, EPSILON)
    # The mean of values about 1e4 is a few multiples of 2^-11 off, and so is x without it.
    rtol = 1e-5 if mean == 0 else 4 * 2.0**-11
    references.assert_trees_close(vjp(cotangent, x, offset, scale), expected, rtol)


@pytest.mark.slow
def test_second_derivatives_by_the_statistics_of_the_batch_fit_finite_differences():
    x, _, _, offset, scale = example((5, 3))
    properties.check_gradients(jax.jit(by_statistics_of_x), x, offset, scale, order=2)


@pytest.mark.parametrize("magnitude", [1e4, 1e-4])
def test_a_normalised_batch_has_mean_zero_and_variance_one(magnitude):
    x, *_ = example(dtype=np.float32)
    y = jax.jit(lambda x: by_statistics_of_x(x, None, None))(magnitude * (3 * x + 7))
    mean, variance = references.moments(np.asarray(y, np.float64), (0, 1, 2))
    _, given = references.moments(magnitude * (3 * x.astype(np.float64) + 7), (0, 1, 2))
    np.testing.assert_allclose(mean, np.zeros(5), atol=1e-5)
    np.testing.assert_allclose(variance, given / (given + EPSILON), rtol=1e-4)


@pytest.mark.parametrize("name", ["mean", "variance", "offset", "scale"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 2), (1, 1, 3)], ids=str)
def test_a_statistic_that_fits_neither_way_is_an_error(name, shape):
    arrays: dict[str, Any] = {key: jnp.ones(3) for key in ("mean", "variance", "offset", "scale")}
    arrays[name] = jnp.ones(shape)
    rule = f"`{name}` must have shape (3,), or 2 sizes that are 1 or those of x of shape (2, 3)"
    with pytest.raises(ValueError, match=re.escape(f"{rule}, got {shape}")):
        batch_normalization(jnp.ones((2, 3)), **arrays, variance_epsilon=EPSILON)


def test_integers_are_an_error():
    x, one = jnp.ones((2, 3), int), jnp.ones(3)
    message = "`x` must be floating-point, got int32"
    with properties.unchecked(), pytest.raises(TypeError, match=message):
        batch_normalization(x, one, one, None, None, EPSILON)


NORMS = {
    "batch_normalization": lambda x, v, e: batch_normalization(x, v, v, None, None, e),
    "batch_norm_with_global_normalization": lambda x, v, e: batch_norm_with_global_normalization(
        x, v, v, None, v, e, True
    ),
    "batch_renormalization": lambda x, v, e: layers.batch_renormalization(
        x, v, v, v, v, None, None, e, r_max=3.0, d_max=5.0
    ),
    "layer_norm": lambda x, v, e: layers.layer_norm(x, epsilon=e),
    "rms_norm": lambda x, v, e: layers.rms_norm(x, epsilon=e),
    "group_norm": lambda x, v, e: layers.group_norm(x, groups=3, spatial_dims=0, epsilon=e),
    "instance_norm": lambda x, v, e: layers.instance_norm(x, spatial_dims=1, epsilon=e),
    "weight_standardization": lambda x, v, e: layers.weight_standardization(x, epsilon=e),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("epsilon", [-1.0, 0.0, 0, float("nan"), np.float32(-1.0)])
def test_an_epsilon_that_is_not_positive_is_an_error(name, epsilon):
    message = f"`variance_epsilon` must be positive, got {epsilon}"
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        NORMS[name](jnp.ones((2, 3)), jnp.ones(3), epsilon)


def test_the_epsilon_may_be_traced():
    x, *statistics = example(dtype=np.float32)
    with properties.unchecked():
        y = references.plain_jit(batch_normalization)(x, *statistics, jnp.float32(EPSILON))
    references.assert_close(y, jitted(x, *statistics))
