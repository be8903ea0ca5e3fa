"""The Linen shells: which parameters they hold, and that the functions get them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxml.initializers import ones
from jaxml.models import BatchNorm, Conv, Dense
from tests import references

IMAGES = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
NORM = {
    "params": {
        "scale": np.array([0.5, 1.0, 2.0], np.float32),
        "bias": np.array([-1.0, 0.0, 3.0], np.float32),
    },
    "batch_stats": {
        "mean": np.array([0.1, 0.2, 0.3], np.float32),
        "var": np.array([0.5, 1.5, 2.5], np.float32),
    },
}


def init(module, x=IMAGES, **options):
    draw = references.plain_jit(lambda seed, x: module.init(jax.random.key(seed), x, **options))
    return draw(np.uint32(0), x)


def parameters(shapes):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in sorted(shapes.items())}


def shapes_and_dtypes(module, x=IMAGES, **options):
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(partial(module.init, **options), key, x)
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), variables)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_parameters_are_float32_whatever_the_computation_is(dtype):
    conv = shapes_and_dtypes(Conv(6, kernel_size=2, use_bias=True, dtype=dtype))
    assert conv["params"] == {"kernel": ((2, 2, 3, 6), "float32"), "bias": ((6,), "float32")}
    dense = shapes_and_dtypes(Dense(7, dtype=dtype))
    assert dense["params"] == {"kernel": ((3, 7), "float32"), "bias": ((7,), "float32")}
    norm = shapes_and_dtypes(BatchNorm(), IMAGES.astype(dtype), train=True)
    assert norm == {
        "params": {"scale": ((3,), "float32"), "bias": ((3,), "float32")},
        "batch_stats": {"mean": ((3,), "float32"), "var": ((3,), "float32")},
    }


def test_a_convolution_has_no_bias_unless_asked_for():
    assert list(shapes_and_dtypes(Conv(6))["params"]) == ["kernel"]


@pytest.mark.parametrize("module", [Conv(64, kernel_size=5), Dense(512)], ids=["conv", "dense"])
def test_kernels_are_drawn_by_he_and_biases_are_zero(module):
    x = np.zeros((1, 4, 4, 32), np.float32)
    params = init(module, x)["params"]
    kernel = np.asarray(params["kernel"], np.float64)
    fan_in = kernel[..., 0].size
    assert kernel.var() * fan_in == pytest.approx(2.0, rel=4 * np.sqrt(2 / kernel.size))
    assert not np.any(params.get("bias", 0))


def test_initial_scales_are_one_and_biases_zero_and_initialising_averages_nothing():
    variables = init(BatchNorm(), train=True)
    expected = {
        "params": {"scale": np.ones(3), "bias": np.zeros(3)},
        "batch_stats": {"mean": np.zeros(3), "var": np.ones(3)},
    }
    references.assert_trees_close(variables, expected, rtol=0)


def test_another_initializer_is_used_if_given():
    for module in (Conv(2, kernel_init=ones), Dense(2, kernel_init=ones)):
        kernel = init(module)["params"]["kernel"]
        np.testing.assert_array_equal(kernel, np.ones(kernel.shape))


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_convolution_is_padded_by_half_of_its_kernel(size, strides):
    params = parameters({"kernel": (size, size, 3, 2), "bias": (2,)})
    module = Conv(2, kernel_size=size, strides=strides, use_bias=True)
    y = jax.jit(module.apply)({"params": params}, IMAGES)
    x, wide = references.float64([IMAGES, params])
    half = (size - 1) // 2
    expected = references.conv(x, wide["kernel"], strides, [(half, half)] * 2)
    references.assert_close(y, expected + wide["bias"], 1e-6)


def test_a_convolution_takes_another_padding():
    params = parameters({"kernel": (3, 3, 3, 2)})
    y = jax.jit(Conv(2, strides=2, padding="SAME").apply)({"params": params}, IMAGES)
    x, kernel = references.float64([IMAGES, params["kernel"]])
    pads = references.explicit_padding((5, 4), (3, 3), 2, "SAME")
    references.assert_close(y, references.conv(x, kernel, 2, pads), 1e-6)


def test_dense_maps_the_last_dimension():
    params = parameters({"kernel": (3, 2), "bias": (2,)})
    y = jax.jit(Dense(2).apply)({"params": params}, IMAGES)
    wide = references.float64(params)
    expected = references.dense(IMAGES.astype(np.float64), wide["kernel"], wide["bias"])
    references.assert_close(y, expected, 1e-6)


@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        (Conv(2, use_bias=True, dtype=jnp.bfloat16), {"kernel": (3, 3, 3, 2), "bias": (2,)}),
        (Dense(2, dtype=jnp.bfloat16), {"kernel": (3, 2), "bias": (2,)}),
    ],
    ids=["conv", "dense"],
)
def test_the_computation_is_in_the_dtype_of_the_module(module, shapes):
    params = parameters(shapes)
    y = jax.jit(module.apply)({"params": params}, IMAGES)
    assert y.dtype == jnp.bfloat16
    rounded = jax.tree.map(lambda array: array.astype(jnp.bfloat16), [IMAGES, params])
    x, wide = references.float64(rounded)
    if isinstance(module, Conv):
        expected = references.conv(x, wide["kernel"], 1, [(1, 1)] * 2) + wide["bias"]
    else:
        expected = references.dense(x, wide["kernel"], wide["bias"])
    # The sum of products is rounded once, and the sum with the bias once more.
    references.assert_close(y, expected, 2 * references.ROUNDING["bfloat16"])


@pytest.mark.parametrize("momentum", [0.9, 0.5])
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_training_normalises_by_the_batch_and_moves_the_running_statistics(momentum, epsilon):
    module = BatchNorm(momentum=momentum, epsilon=epsilon)
    apply = jax.jit(partial(module.apply, train=True, mutable=["batch_stats"]))
    y, updated = apply(NORM, IMAGES)
    x, wide = references.float64([IMAGES, NORM])
    mean, variance = references.moments(x, (0, 1, 2))
    params, past = wide["params"], wide["batch_stats"]
    expected = references.batch_normalization(
        x, mean, variance, params["bias"], params["scale"], epsilon
    )
    references.assert_close(y, expected, 1e-6)
    moved = {
        "mean": momentum * past["mean"] + (1 - momentum) * mean,
        "var": momentum * past["var"] + (1 - momentum) * variance,
    }
    references.assert_trees_close(updated, {"batch_stats": moved}, 1e-6)


def test_the_defaults_of_batch_norm_are_those_of_the_docstring():
    apply = jax.jit(partial(BatchNorm().apply, train=True, mutable=["batch_stats"]))
    x = np.tile(np.array([[0.0], [4e-3]], np.float32), (1, 3))
    y, updated = apply(init(BatchNorm(), x, train=True), x)
    # Deviations of 2e-3 have a variance of 4e-6, which shows the epsilon of 1e-5.
    references.assert_close(y[1], np.full(3, 2e-3 / np.sqrt(4e-6 + 1e-5)), 1e-5)
    references.assert_close(updated["batch_stats"]["mean"], np.full(3, 0.1 * 2e-3), 1e-6)
    references.assert_close(updated["batch_stats"]["var"], np.full(3, 0.9 + 0.1 * 4e-6), 1e-6)


def test_evaluation_normalises_by_the_running_statistics_and_leaves_them():
    y = jax.jit(partial(BatchNorm().apply, train=False))(NORM, IMAGES)
    x, wide = references.float64([IMAGES, NORM])
    params, past = wide["params"], wide["batch_stats"]
    expected = references.batch_normalization(
        x, past["mean"], past["var"], params["bias"], params["scale"], 1e-5
    )
    references.assert_close(y, expected, 1e-6)
    _, after = jax.jit(partial(BatchNorm().apply, train=False, mutable=["batch_stats"]))(
        NORM, IMAGES
    )
    references.assert_trees_close(after, {"batch_stats": past}, 1e-7)


def test_batch_norm_of_bfloat16_keeps_float32_statistics():
    x = (IMAGES + 3).astype(jnp.bfloat16)
    apply = jax.jit(partial(BatchNorm(momentum=0.0).apply, train=True, mutable=["batch_stats"]))
    y, updated = apply(NORM, x)
    assert y.dtype == jnp.bfloat16
    mean, variance = references.moments(x.astype(np.float64), (0, 1, 2))
    moved = {"batch_stats": {"mean": mean, "var": variance}}
    references.assert_trees_close(updated, moved, 1e-6)


@pytest.mark.parametrize(
    ("module", "shapes"),
    [(Conv(2), {"kernel": (3, 3, 3, 2)}), (Dense(2), {"kernel": (3, 2), "bias": (2,)})],
    ids=["conv", "dense"],
)
def test_vmap_over_an_ensemble_of_parameters_is_a_loop(module, shapes):
    params = parameters({name: (2, *shape) for name, shape in shapes.items()})

    def apply(*leaves):
        return module.apply({"params": dict(zip(params, leaves, strict=True))}, IMAGES)

    references.assert_vmap_is_loop(apply, *params.values())


def test_gradients_through_batch_norm_fit_finite_differences():
    x, variables = references.float64([IMAGES[:, :2, :2], NORM])
    with jax.enable_x64(True):

        @jax.jit
        def function(params, x):
            statistics = jax.tree.map(jnp.asarray, variables["batch_stats"])
            variables64 = {"params": params, "batch_stats": statistics}
            return BatchNorm().apply(variables64, x, train=True, mutable=["batch_stats"])[0]

        check_grads(function, (variables["params"], x), order=1, modes=["rev"])


def test_gradients_through_convolution_and_dense_fit_finite_differences():
    conv, dense = parameters({"kernel": (3, 3, 3, 2)}), parameters({"kernel": (2, 2), "bias": (2,)})

    @jax.jit
    def function(conv, dense):
        x = Conv(2, strides=2).apply({"params": conv}, jnp.asarray(IMAGES))
        return Dense(2).apply({"params": dense}, x)

    # Central differences of a bilinear map have no truncation error, so that the step may be wide.
    check_grads(function, (conv, dense), order=1, modes=["rev"], eps=1.0, atol=1e-5, rtol=1e-5)


def test_parameters_of_another_shape_than_the_input_needs_are_an_error():
    params = parameters({"kernel": (4, 2), "bias": (2,)})
    with pytest.raises(Exception, match="kernel") as error:
        Dense(2).apply({"params": params}, jnp.asarray(IMAGES))
    assert "(3, 2)" in str(error.value)
    assert "(4, 2)" in str(error.value)
