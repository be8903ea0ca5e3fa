"""Group and instance normalisation against a loop over groups, torch and Keras."""

import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxml.layers import group_norm, instance_norm
from tests import properties, references


def example(shape):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape), rng.normal(size=shape[-1]), rng.normal(size=shape[-1])


def by_formula(x, scale, bias, groups, epsilon=1e-5):
    y, size = np.zeros(x.shape), x.shape[-1] // groups
    for n in range(len(x)):
        for first in range(0, x.shape[-1], size):
            values = x[n, ..., first : first + size]
            normal = (values - values.mean()) / np.sqrt(values.var() + epsilon)
            y[n, ..., first : first + size] = normal
    y = y if scale is None else y * scale
    return y if bias is None else y + bias


def instances_by_formula(x, scale, bias, epsilon=1e-5):
    return by_formula(x, scale, bias, x.shape[-1], epsilon)


@pytest.mark.slow
@settings(max_examples=6)
@given(
    st.integers(1, 2), st.lists(st.integers(2, 3), max_size=3), st.integers(1, 3), st.integers(1, 3)
)
def test_any_spatial_rank_and_any_groups(batch, spatial, groups, size):
    arrays = example((batch, *spatial, groups * size))
    singles = [v.astype(np.float32) for v in arrays]

    @references.plain_jit
    def both(*arrays):
        dims = {"spatial_dims": len(spatial)}
        grouped = group_norm(*arrays, groups=groups, **dims)
        return grouped, instance_norm(*arrays, **dims) if spatial else None

    grouped, instances = both(*singles)
    properties.agree(group_norm, grouped, by_formula(*arrays, groups), by="NumPy float64")
    if spatial:
        properties.agree(
            instance_norm, instances, instances_by_formula(*arrays), by="NumPy float64"
        )


@pytest.mark.slow
def test_both_have_the_properties_of_pure_functions():
    arrays = example((2, 2, 3, 4))
    properties.check(
        group_norm, *arrays, reference=by_formula, by="NumPy float64", groups=2, epsilon=0.1
    )
    properties.check(
        instance_norm,
        *arrays,
        reference=instances_by_formula,
        by="NumPy float64",
        vmap=False,
        grads=0,
        epsilon=0.1,
    )


@pytest.mark.slow
def test_bias_defaults_to_zero_and_scale_to_one():
    x, *_ = example((2, 3, 4))
    single = jnp.asarray(x, jnp.float32)
    actual = group_norm(single, groups=2, spatial_dims=1), instance_norm(single, spatial_dims=1)
    properties.agree(group_norm, actual[0], by_formula(x, None, None, 2), by="NumPy float64")
    properties.agree(instance_norm, actual[1], by_formula(x, None, None, 4), by="NumPy float64")


@pytest.mark.slow
@pytest.mark.parametrize("lead", [(), (2,), (3, 2)], ids=str)
@pytest.mark.parametrize("spatial", [(), (4,), (3, 4), (2, 3, 2)], ids=str)
def test_any_leading_dimensions_are_examples(lead, spatial):
    arrays = example((*lead, *spatial, 6))
    flat = arrays[0].reshape(-1, *spatial, 6), *arrays[1:]
    dims: dict = {"spatial_dims": len(spatial)} if len(spatial) != 2 else {}

    @references.plain_jit
    def both(*arrays):
        grouped = group_norm(*arrays, groups=3, **dims)
        return grouped, instance_norm(*arrays, **dims) if spatial else None

    grouped, instances = both(*map(np.float32, arrays))
    expected = by_formula(*flat, 3).reshape(arrays[0].shape)
    properties.agree(group_norm, grouped, expected, by="NumPy float64")
    if spatial:
        expected = instances_by_formula(*flat).reshape(arrays[0].shape)
        properties.agree(instance_norm, instances, expected, by="NumPy float64")


@pytest.mark.slow
def test_vmap_over_images_is_the_batch():
    x = jnp.asarray(example((3, 4, 5, 6))[0], jnp.float32)
    for norm in (instance_norm, lambda x: group_norm(x, groups=2)):
        references.assert_close(jax.vmap(norm)(x), norm(x))


def test_torch_agrees():
    torch = pytest.importorskip("torch")

    def group(x, scale, bias, groups):
        x, scale, bias = map(torch.from_numpy, (np.moveaxis(x, -1, 1), scale, bias))
        y = torch.nn.functional.group_norm(x, groups, scale, bias)
        return np.moveaxis(y.numpy(), 1, -1)

    def instance(x, scale, bias):
        x, scale, bias = map(torch.from_numpy, (np.moveaxis(x, -1, 1), scale, bias))
        y = torch.nn.functional.instance_norm(x, weight=scale, bias=bias)
        return np.moveaxis(y.numpy(), 1, -1)

    arrays = example((2, 2, 3, 6))
    none: dict = {"vmap": False, "grads": 0}
    properties.check(group_norm, *arrays, reference=group, by="torch", groups=3, **none)
    properties.check(instance_norm, *arrays, reference=instance, by="torch", **none)


@pytest.mark.slow
def test_keras_agrees(tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")
    x, scale, bias = example((2, 2, 3, 6))
    layer = keras.layers.GroupNormalization(3, epsilon=1e-3, dtype="float64")
    layer.build(x.shape)
    layer.set_weights([scale, bias])
    expected = layer(x).detach().numpy()
    y = group_norm(*map(jnp.float32, (x, scale, bias)), groups=3, epsilon=1e-3)
    properties.agree(group_norm, y, expected, by="Keras")


@pytest.mark.slow
def test_digits_are_kept_where_the_mean_is_large():
    x, *_ = example((2, 5, 5, 4))
    x = (1e4 + x).astype(np.float32)
    expected = by_formula(x.astype(np.float64), None, None, 2)
    # The mean is rounded to a multiple of 2^-10.
    y = group_norm(jnp.asarray(x), groups=2)
    np.testing.assert_allclose(y, expected, atol=2 * 2.0**-10)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_extreme_inputs_stay_finite_and_so_do_the_gradients(dtype):
    x = jnp.asarray([[[0.0, 1e4], [0.0, -1e4]], [[1e4, 1e4], [1e4, 1e4]]], dtype)
    value, vjp = jax.vjp(lambda x: instance_norm(x, spatial_dims=1), x)
    assert value.dtype == dtype
    assert np.isfinite(value).all()
    assert np.isfinite(vjp(value)[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x", "choice", "error", "message"),
    [
        (
            (2, 6),
            {"groups": 4},
            ValueError,
            "`groups` must divide the 6 channels of x, got 4",
        ),
        (
            (2, 6),
            {"groups": 0},
            ValueError,
            "`groups` must divide the 6 channels of x, got 0",
        ),
        ((2, 6), {"groups": -2}, ValueError, "the 6 channels of x, got -2"),
        (
            (2, 6),
            {"groups": 2, "spatial_dims": 2},
            ValueError,
            "`spatial_dims` must be in [0, 1] for x of shape (2, 6), got 2",
        ),
        (
            (2, 6),
            {"groups": 2, "spatial_dims": -1},
            ValueError,
            "`spatial_dims` must be in [0, 1] for x of shape (2, 6), got -1",
        ),
        (
            (2, 6),
            {"groups": 2, "scale": jnp.ones((1, 6))},
            ValueError,
            "`scale` must have shape (6,) for x of shape (2, 6), got (1, 6)",
        ),
        (
            (2, 6),
            {"groups": 2, "bias": jnp.ones(2)},
            ValueError,
            "`bias` must have shape (6,) for x of shape (2, 6), got (2,)",
        ),
    ],
)
def test_invalid_arguments_raise(x, choice, error, message):
    with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
        group_norm(jnp.ones(x), **({"spatial_dims": 0} | choice))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "dims", "message"),
    [
        ((2, 1, 1, 6), 2, "at least two positions in its 2 spatial dimensions, got shape"),
        ((2, 0, 3, 6), 2, "at least two positions in its 2 spatial dimensions, got shape"),
        ((2, 6), 0, "`spatial_dims` must be in [1, 1] for x of shape (2, 6), got 0"),
        ((4, 6), 2, "`spatial_dims` must be in [1, 1] for x of shape (4, 6), got 2"),
        ((2, 4, 6), -1, "`spatial_dims` must be in [1, 2] for x of shape (2, 4, 6), got -1"),
    ],
)
def test_an_instance_of_one_position_raises(shape, dims, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        instance_norm(jnp.ones(shape), spatial_dims=dims)
