"""Initializers against the distributions that they promise, SciPy, torch and Keras."""

import functools
import math
import os
import re
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxml import initializers
from jaxml.layers import conv, conv_transpose
from tests import properties, references

# Kernels of a dense, a convolution, a depthwise and a 3-D convolution, with their fans.
KERNELS = {
    (128, 192): (128, 192),
    (3, 3, 32, 96): (288, 864),
    (5, 5, 1, 512): (25, 12800),
    (2, 3, 2, 24, 80): (288, 960),
}

# Name -> the scale, the mode, SciPy's distribution of variance 1, and its kurtosis.
NORMAL, UNIFORM = scipy.stats.norm(), scipy.stats.uniform(-math.sqrt(3), math.sqrt(12))
TRUNCATED = scipy.stats.truncnorm(-2, 2, scale=1 / 0.8796256610342398)
SCALED: dict[str, tuple[Any, ...]] = {
    "lecun_normal": (1.0, "fan_in", TRUNCATED, 2.37),
    "lecun_uniform": (1.0, "fan_in", UNIFORM, 9 / 5),
    "xavier_normal": (1.0, "fan_avg", TRUNCATED, 2.37),
    "xavier_uniform": (1.0, "fan_avg", UNIFORM, 9 / 5),
    "he_normal": (2.0, "fan_in", TRUNCATED, 2.37),
    "he_uniform": (2.0, "fan_in", UNIFORM, 9 / 5),
}
DTYPES = [jnp.float32, jnp.bfloat16]


@functools.cache
def jitted(initializer, shape, dtype):
    return references.plain_jit(lambda seed: initializer(jax.random.key(seed), shape, dtype))


def draw(initializer, shape, seed=0, dtype=jnp.float32):
    array = jitted(initializer, shape, dtype)(np.uint32(seed))
    assert array.shape == shape
    assert array.dtype == dtype
    return np.asarray(array, np.float64)


def fan(mode, fan_in, fan_out):
    return {
        "fan_in": fan_in,
        "fan_out": fan_out,
        "fan_avg": (fan_in + fan_out) / 2,
        "fan_geo_avg": math.sqrt(fan_in * fan_out),
    }[mode]


def assert_distribution(values, distribution, kurtosis):
    """Mean and variance within four standard errors, and Kolmogorov-Smirnov."""
    values, n = values.ravel(), values.size
    mean, variance = distribution.mean(), distribution.var()
    assert abs(values.mean() - mean) < 4 * math.sqrt(variance / n)
    # The variance of a sample variance is (kurtosis - 1) / n of the square of the variance.
    assert abs(values.var() / variance - 1) < 4 * math.sqrt((kurtosis - 1) / n)
    assert scipy.stats.kstest(values, distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", SCALED)
def test_named_ones_have_their_variance_over_every_kernel(name):
    scale, mode, distribution, kurtosis = SCALED[name]
    factory = getattr(initializers, name)
    initializer, variances = factory(), []
    for shape, fans in KERNELS.items():
        sigma = math.sqrt(scale / fan(mode, *fans))
        kernel = draw(initializer, shape) / sigma
        assert_distribution(kernel, distribution, kurtosis)
        variances.append(scale * kernel.var())
    smallest = min(math.prod(shape) for shape in KERNELS)
    properties.agree(
        factory, np.asarray(variances, np.float32), np.full(len(KERNELS), scale), by="theory",
        rtol=4 * math.sqrt((kurtosis - 1) / smallest),
    )  # fmt: skip


def test_glorot_is_xavier_and_kaiming_is_he():
    assert initializers.glorot_normal is initializers.xavier_normal
    assert initializers.glorot_uniform is initializers.xavier_uniform
    assert initializers.kaiming_normal is initializers.he_normal
    assert initializers.kaiming_uniform is initializers.he_uniform


@pytest.mark.slow
def test_normals_are_truncated_at_two_deviations_unless_asked_otherwise():
    for name in ("lecun_normal", "xavier_normal", "he_normal"):
        scale, mode, *_ = SCALED[name]
        sigma = math.sqrt(scale / fan(mode, 128, 192))
        kernel = draw(getattr(initializers, name)(), (128, 192))
        assert abs(kernel).max() <= 2 * sigma / 0.8796, name
        kernel = draw(initializers.variance_scaling(scale, mode, "normal"), (128, 192))
        assert abs(kernel).max() > 3.5 * sigma, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distribution", "theory", "kurtosis"),
    [
        ("normal", NORMAL, 3.0),
        ("uniform", UNIFORM, 9 / 5),
        ("truncated_normal", TRUNCATED, 2.37),
    ],
)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
def test_variance_scaling_has_every_distribution_in_every_mode(
    mode, distribution, theory, kurtosis
):
    assert theory.var() == pytest.approx(1, rel=1e-6)
    assert theory.stats("k") + 3 == pytest.approx(kurtosis, rel=0.01)
    factory = initializers.variance_scaling
    shape, scale = (3, 3, 32, 96), 1.7
    sigma = math.sqrt(scale / fan(mode, *KERNELS[shape]))
    kernel = draw(factory(scale, mode, distribution), shape) / sigma
    assert_distribution(kernel, theory, kurtosis)
    properties.agree(
        factory,
        np.float32(kernel.var()),
        1.0,
        by="theory",
        rtol=4 * math.sqrt((kurtosis - 1) / kernel.size),
    )


def same_distribution(first, second):
    """By Kolmogorov and Smirnov, for two samples."""
    result: Any = scipy.stats.ks_2samp(first.ravel(), second.ravel())
    return result.pvalue > 1e-3


def torch_fans(shape):
    """Of a kernel `[*window, in, out]`, which is `[out, in, *window]` there."""
    torch = pytest.importorskip("torch")
    *window, inputs, outputs = shape
    kernel = torch.empty(outputs, inputs, *window)
    return torch.nn.init._calculate_fan_in_and_fan_out(kernel)


MODES: list[Any] = ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]


def drawn_fans(shape, **axes):
    """Fans in every mode, from what a draw is to the standard normal draw of the same key."""

    def ratios(seed):
        key = jax.random.key(seed)
        unit = initializers.normal(1.0)(key, shape, jnp.float32)
        scaled = [initializers.variance_scaling(1.0, m, "normal", **axes) for m in MODES]
        return [unit / draw(key, shape, jnp.float32) for draw in scaled]

    fans = []
    for array in references.plain_jit(ratios)(np.uint32(3)):
        array = np.asarray(array, np.float64)
        references.assert_close(array, np.full(shape, array.mean()), 1e-5)
        fans.append(array.mean() ** 2)
    return np.asarray(fans)


def every(fan_in, fan_out):
    return np.asarray([fan(mode, fan_in, fan_out) for mode in MODES])


@pytest.mark.slow
@settings(max_examples=4)
@given(arrays.array_shapes(min_dims=2, max_dims=5, max_side=4))
def test_fans_are_those_of_torch(shape):
    expected = every(*torch_fans(shape))
    properties.agree(initializers.variance_scaling, drawn_fans(shape), expected, by="torch")


@pytest.mark.slow
@settings(max_examples=4)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_fans_of_a_grouped_kernel_are_those_of_one_of_its_groups(window, inputs, outputs, groups):
    expected = every(*torch_fans((window, 2, inputs, outputs)))
    actual = drawn_fans((window, 2, inputs, outputs * groups), groups=groups)
    references.assert_close(actual, expected)
    shape = (inputs, window, 2, outputs * groups)
    actual = drawn_fans(shape, in_axis=0, out_axis=-1, groups=groups)
    references.assert_close(actual, expected)


@pytest.mark.slow
@settings(max_examples=4)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_fans_of_a_grouped_transposed_kernel_are_those_of_one_of_its_groups(
    window, inputs, outputs, groups
):
    expected = every(*torch_fans((window, 2, inputs, outputs)))
    shape = (window, 2, outputs, inputs * groups)
    actual = drawn_fans(shape, in_axis=-1, out_axis=-2, groups=groups)
    references.assert_close(actual, expected)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 3])
def test_what_torch_calls_fans_of_a_layer(groups):
    torch = pytest.importorskip("torch")
    fans = torch.nn.init._calculate_fan_in_and_fan_out
    theirs = fans(torch.nn.Conv2d(6, 12, (2, 3), groups=groups).weight)
    ours = drawn_fans((2, 3, 6 // groups, 12), groups=groups)
    # It counts the outputs of all groups, and has the two the other way round where transposed.
    properties.agree(initializers.variance_scaling, ours[0], np.float64(theirs[0]), by="torch")
    assert theirs[1] == pytest.approx(groups * ours[1])
    theirs = fans(torch.nn.ConvTranspose2d(12, 6, (2, 3), groups=groups).weight)
    ours = drawn_fans((2, 3, 6 // groups, 12), in_axis=-1, out_axis=-2, groups=groups)
    properties.agree(initializers.variance_scaling, ours[1], np.float64(theirs[0]), by="torch")
    assert theirs[1] == pytest.approx(groups * ours[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["he_normal", "he_uniform", "lecun_normal", "lecun_uniform"])
@pytest.mark.parametrize("groups", [1, 4])
def test_grouped_convolutions_and_transposed_ones_keep_the_variance(name, groups):
    factory, scale = getattr(initializers, name), SCALED[name][0]
    x = np.random.default_rng(0).normal(size=(20, 8, 8, 64)).astype(np.float32)
    plain = draw(factory(groups=groups), (3, 3, 64 // groups, 32))
    turned = factory(in_axis=-1, out_axis=-2, groups=groups)
    turned = draw(turned, (3, 3, 32 // groups, 64))

    @references.plain_jit
    def both(x, plain, turned):
        return conv(x, plain, groups=groups), conv_transpose(x, turned, groups=groups)

    for y in both(x, np.float32(plain), np.float32(turned)):
        inner = np.asarray(y, np.float64)[:, 1:-1, 1:-1]  # where the window is within x
        # An output has the variance of its own weights, so what spreads is their mean square;
        # outputs that share their inputs vary together by less than that again.
        outputs, weights = 32, 9 * 64 // groups
        rtol = 4 * math.sqrt(2 / (outputs * weights)) + 4 * math.sqrt(2 / (20 * 36))
        properties.agree(factory, np.float32(inner.var()), scale, by="theory", rtol=rtol)


def test_fans_count_the_connections_of_a_grouped_convolution():
    groups, shape = 3, (3, 2, 12)  # 6 inputs, 12 outputs

    def conv(x):
        return jax.lax.conv_general_dilated(
            x, jnp.ones(shape), (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=groups,
        )  # fmt: skip

    jacobian = references.plain_jit(jax.jacobian(conv))(jnp.ones((1, 7, 6)))
    jacobian = np.asarray(jacobian)[0, :, :, 0]  # [7, 12, 7, 6]
    into, out_of = jacobian[3, 0].sum(), jacobian[:, :, 3, 0].sum()
    references.assert_close(drawn_fans(shape, groups=groups), every(into, out_of))
    assert (into, out_of) == (6, 12)


@pytest.mark.slow
def test_fans_of_a_transposed_kernel_follow_the_named_axes():
    stored_out_in = (3, 3, 5, 7)  # maps 7 channels to 5
    actual = drawn_fans(stored_out_in, in_axis=-1, out_axis=-2)
    references.assert_close(actual, every(9 * 7, 9 * 5))
    for name in SCALED:
        factory = getattr(initializers, name)
        swapped = draw(factory(in_axis=-1, out_axis=-2), stored_out_in)
        references.assert_close(swapped.ravel(), draw(factory(), (3, 3, 7, 5)).ravel(), 1e-6)


@pytest.mark.slow
def test_groups_of_xavier_count():
    for factory in (initializers.xavier_normal, initializers.xavier_uniform):
        shape = (3, 3, 4, 12)
        grouped, plain = draw(factory(groups=3), shape), draw(factory(), shape)
        references.assert_close(grouped, plain * math.sqrt((4 + 12) / (4 + 4)), 1e-6)


@pytest.mark.parametrize(
    ("initializer", "theirs"),
    [
        (initializers.variance_scaling(2.0, "fan_in", "normal"), "kaiming_normal_"),
        (initializers.he_uniform(), "kaiming_uniform_"),
        (initializers.variance_scaling(1.0, "fan_avg", "normal"), "xavier_normal_"),
        (initializers.xavier_uniform(), "xavier_uniform_"),
    ],
)
def test_torch_draws_from_the_same_distribution(initializer, theirs):
    torch = pytest.importorskip("torch")
    shape = (3, 3, 32, 96)
    torch.manual_seed(0)
    drawn = getattr(torch.nn.init, theirs)(torch.empty(96, 32, 3, 3)).double().numpy()
    kernel = draw(initializer, shape)
    assert same_distribution(kernel, drawn)
    # Two sample variances, of a kurtosis of at most 3.
    properties.agree(
        initializers.variance_scaling,
        np.float32(kernel.var()),
        drawn.var(),
        by="torch",
        rtol=4 * math.sqrt(4 / drawn.size),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("initializer", "theirs"),
    [
        (initializers.lecun_uniform(), "LecunUniform"),
        (initializers.he_uniform(), "HeUniform"),
        (initializers.xavier_uniform(), "GlorotUniform"),
        (initializers.lecun_normal(), "LecunNormal"),
        (initializers.he_normal(), "HeNormal"),
        (initializers.xavier_normal(), "GlorotNormal"),
    ],
)
def test_keras_draws_from_the_same_distribution(initializer, theirs):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp(prefix="keras-"))
    keras = pytest.importorskip("keras")
    shape = (3, 3, 32, 96)
    drawn = getattr(keras.initializers, theirs)(seed=0)(shape).cpu().numpy().astype(np.float64)
    assert same_distribution(draw(initializer, shape), drawn)


def test_normal_uniform_and_truncated_normal_have_their_parameters():
    shape, n = (160, 160), 160 * 160
    truncated = scipy.stats.truncnorm(-1.5, 3.0, scale=0.3)
    for factory, initializer, theory in [
        (initializers.normal, initializers.normal(0.3), scipy.stats.norm(0, 0.3)),
        (initializers.uniform, initializers.uniform(3.0), scipy.stats.uniform(0, 3)),
        (
            initializers.uniform_range,
            initializers.uniform_range(-1.0, 3.0),
            scipy.stats.uniform(-1, 4),
        ),
        (
            initializers.truncated_normal,
            initializers.truncated_normal(0.3, lower=-1.5, upper=3.0),
            truncated,
        ),
    ]:
        kurtosis = float(theory.stats("k")) + 3
        drawn = draw(initializer, shape)
        assert_distribution(drawn, theory, kurtosis)
        rtol = 4 * math.sqrt((kurtosis - 1) / n)
        properties.agree(factory, np.float32(drawn.var()), theory.var(), by="theory", rtol=rtol)
        low, high = theory.support()
        assert low <= drawn.min()
        assert drawn.max() <= high


def test_the_default_bounds_of_the_truncated_normal_are_two_deviations():
    drawn = draw(initializers.truncated_normal(0.5), (160, 160))
    assert_distribution(drawn, scipy.stats.truncnorm(-2, 2, scale=0.5), 2.37)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40), (3, 3, 4, 20), (2, 3, 64)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    kernel = draw(initializers.orthogonal(3.0), shape).reshape(-1, shape[-1])
    small = min(kernel.shape)
    product = kernel.T @ kernel if kernel.shape[1] == small else kernel @ kernel.T
    properties.agree(
        initializers.orthogonal, product.astype(np.float32), 9 * np.eye(small), by="theory"
    )


def test_orthogonal_is_the_q_of_torch_up_to_signs():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    # The singular values of a stack of ours and theirs: both span all directions, equally long.
    theirs = torch.nn.init.orthogonal_(torch.empty(12, 30), gain=2.0).double().numpy()
    ours = draw(initializers.orthogonal(2.0), (30, 12))
    properties.agree(
        initializers.orthogonal,
        np.linalg.svd(ours, compute_uv=False).astype(np.float32),
        np.linalg.svd(theirs, compute_uv=False),
        by="torch",
    )


def test_orthogonal_is_uniform_among_all_rotations_and_reflections():
    initializer = initializers.orthogonal()
    drawn = jax.vmap(lambda key: initializer(key, (3, 3)))(
        jax.random.split(jax.random.key(0), 2000)
    )
    drawn = np.asarray(drawn, np.float64)
    # Any entry of a uniform rotation in three dimensions is uniform in [-1, 1] (Archimedes).
    for i, j in np.ndindex(3, 3):
        assert scipy.stats.kstest(drawn[:, i, j], scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-3
    reflections = (np.linalg.det(drawn) < 0).mean()
    assert abs(reflections - 0.5) < 4 * math.sqrt(0.25 / 2000)


@pytest.mark.parametrize(("shape", "middle"), [
    ((3, 4, 6), (1,)), ((4, 3, 5, 5), (1, 1)), ((1, 2, 5, 2, 3), (0, 0, 2)),
])  # fmt: skip
def test_delta_orthogonal_is_orthogonal_in_the_middle_and_keeps_every_length(shape, middle):
    kernel = draw(initializers.delta_orthogonal(2.0), shape)
    product = (kernel[middle] @ kernel[middle].T).astype(np.float32)
    properties.agree(initializers.delta_orthogonal, product, 4 * np.eye(shape[-2]), by="theory")
    kernel[middle] = 0
    assert not kernel.any()


def test_a_delta_orthogonal_convolution_keeps_every_pixel_s_length():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4))
    for window in ((3, 3), (2, 4)):
        kernel = draw(initializers.delta_orthogonal(), (*window, 4, 7))
        y = references.conv(x, kernel, 1, references.explicit_padding((5, 6), window, 1, "SAME"))
        references.assert_close(np.linalg.norm(y, axis=-1), np.linalg.norm(x, axis=-1), 1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
def test_identity_is_that_of_torch(shape):
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.eye_(torch.empty(*shape)).numpy()
    for dtype in DTYPES:
        array = initializers.identity(0.5)(jax.random.key(0), shape, dtype)
        properties.agree(initializers.identity, array, 0.5 * expected, by="torch", rtol=0)


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((3, 4, 4), 1), ((4, 2, 3, 5), 1), ((3, 3, 5, 3), 1), ((3, 5, 2, 9), 3), ((1, 2, 3, 1, 4), 4)],
)
def test_dirac_is_that_of_torch(shape, groups):
    torch = pytest.importorskip("torch")
    *window, inputs, outputs = shape
    expected = torch.nn.init.dirac_(torch.empty(outputs, inputs, *window), groups).numpy()
    expected = np.moveaxis(expected, (0, 1), (-1, -2))
    for dtype in DTYPES:
        array = initializers.dirac(groups=groups)(jax.random.key(0), shape, dtype)
        assert array.dtype == dtype
        properties.agree(initializers.dirac, array, expected, by="torch", rtol=0)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.55, 1.0])
def test_sparse_has_as_many_zeros_in_every_column_as_torch(sparsity):
    torch = pytest.importorskip("torch")
    shape = (100, 80)
    kernel = draw(initializers.sparse(sparsity, stddev=0.5), shape)
    theirs = torch.nn.init.sparse_(torch.empty(*shape), sparsity).numpy()
    zeros = (kernel == 0).sum(axis=0).astype(np.float32)
    properties.agree(initializers.sparse, zeros, (theirs == 0).sum(axis=0), by="torch", rtol=0)
    if sparsity < 1:
        assert_distribution(kernel[kernel != 0], scipy.stats.norm(0, 0.5), 3.0)


def test_sparse_has_its_zeros_anywhere():
    kernel = draw(initializers.sparse(0.5), (10, 4000))
    rows = (kernel == 0).mean(axis=1)
    assert abs(rows - 0.5).max() < 4 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize(
    ("initializer", "value"),
    [(initializers.zeros, 0), (initializers.ones, 1), (initializers.constant(-2.5), -2.5)],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_are_constant_in_every_dtype(initializer, value, dtype):
    array = initializer(jax.random.key(0), (2, 3), dtype)
    assert array.dtype == dtype
    np.testing.assert_array_equal(np.asarray(array, np.float64), np.full((2, 3), value))


RANDOM = {
    "normal": initializers.normal(1.0),
    "uniform": initializers.uniform(1.0),
    "uniform_range": initializers.uniform_range(-1.0, 1.0),
    "truncated_normal": initializers.truncated_normal(1.0),
    "variance_scaling": initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
    "he_normal": initializers.he_normal(),
    "orthogonal": initializers.orthogonal(),
    "delta_orthogonal": initializers.delta_orthogonal(),
    "sparse": initializers.sparse(0.5),
}


def shape_of(name):
    return (3, 40, 50) if name == "delta_orthogonal" else (40, 50)


@pytest.mark.slow
@pytest.mark.parametrize("name", RANDOM)
def test_a_draw_in_bfloat16_is_the_draw_in_float32_rounded(name):
    single = draw(RANDOM[name], shape_of(name))
    half = draw(RANDOM[name], shape_of(name), dtype=jnp.bfloat16)
    rounded = np.asarray(jnp.asarray(single, jnp.float32).astype(jnp.bfloat16), np.float64)
    np.testing.assert_array_equal(half, rounded)


@pytest.mark.slow
@pytest.mark.parametrize("name", RANDOM)
def test_a_draw_in_float64_has_its_digits(name):
    with jax.enable_x64(True):
        array = draw(RANDOM[name], shape_of(name), dtype=jnp.float64)
    assert (array != array.astype(np.float32))[array != 0].mean() > 0.99
    if "orthogonal" in name:
        q = array[1] if array.ndim == 3 else array
        references.assert_close(q @ q.T, np.eye(40), 1e-12)


@pytest.mark.parametrize("name", RANDOM)
def test_entries_do_not_depend_on_each_other_or_on_another_key(name):
    first, second = (draw(RANDOM[name], shape_of(name), seed).ravel() for seed in (0, 1))
    kept = slice(2000, 4000) if name == "delta_orthogonal" else slice(None)
    first, second = first[kept], second[kept]
    bound = 4 / np.sqrt(first.size)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < bound
    assert abs(np.corrcoef(first, second)[0, 1]) < bound


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zeros", "identity", *RANDOM])
def test_vmap_over_keys_is_a_loop_over_keys(name):
    initializer = {"zeros": initializers.zeros, "identity": initializers.identity(), **RANDOM}[name]
    shape = (3, 4, 5) if name == "delta_orthogonal" else (4, 5)
    references.assert_vmap_is_loop(
        lambda seed: initializer(jax.random.key(seed), shape, jnp.float32),
        np.arange(3, dtype=np.uint32),
    )


@pytest.mark.parametrize(("shape", "fan_in"), [((1, 20_000), 1), ((20_000, 1), 20_000)])
def test_he_normal_scales_at_the_ends_of_fan_in(shape, fan_in):
    kernel = draw(initializers.he_normal(), shape, seed=5)
    assert kernel.var() * fan_in == pytest.approx(2.0, rel=4 * np.sqrt(2 / kernel.size))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.normal(-1.0), "`stddev` must be non-negative, got -1.0"),
        (lambda: initializers.normal(math.nan), "`stddev` must be non-negative, got nan"),
        (lambda: initializers.uniform(-1.0), "`scale` must be non-negative, got -1.0"),
        (
            lambda: initializers.uniform_range(1.0, 0.5),
            "`upper` must be at least lower=1.0, got 0.5",
        ),
        (lambda: initializers.truncated_normal(-0.5), "`stddev` must be non-negative, got -0.5"),
        (
            lambda: initializers.truncated_normal(1.0, lower=2.0, upper=2.0),
            "`upper` must be greater than lower=2.0, got 2.0",
        ),
        (
            lambda: initializers.variance_scaling(0.0, "fan_in", "normal"),
            "`scale` must be positive, got 0.0",
        ),
        (
            lambda: initializers.variance_scaling(1.0, "fan_ni", "normal"),  # type: ignore
            "`mode` must be one of ('fan_in', 'fan_out', 'fan_avg', 'fan_geo_avg'), got 'fan_ni'",
        ),
        (
            lambda: initializers.variance_scaling(1.0, "fan_in", "cauchy"),  # type: ignore
            "`distribution` must be one of ('truncated_normal', 'normal', 'uniform'), got 'cauchy'",
        ),
        (lambda: initializers.sparse(1.5), "`sparsity` must be in [0, 1], got 1.5"),
        (lambda: initializers.sparse(0.5, stddev=-1.0), "`stddev` must be non-negative, got -1.0"),
    ],
)
def test_parameters_out_of_range_raise(make, message):
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        make()


AXES = (
    "`shape` must have two or more non-empty dimensions with the distinct axes in_axis=-2, "
    "out_axis=-1, batch_axis=(), got "
)


@pytest.mark.parametrize(
    ("initializer", "shape", "message"),
    [
        (initializers.he_normal(), (3,), AXES + "(3,)"),
        (initializers.he_normal(), (0, 3), AXES + "(0, 3)"),
        (
            initializers.he_normal(in_axis=1, out_axis=-1),
            (4, 3),
            "in_axis=1, out_axis=-1, batch_axis=()",
        ),
        (
            initializers.xavier_normal(groups=3),
            (3, 3, 4, 8),
            "`groups` must divide the last dimension of (3, 3, 4, 8), got 3",
        ),
        (initializers.xavier_uniform(groups=0), (4, 8), "the last dimension of (4, 8), got 0"),
        (
            initializers.he_uniform(in_axis=-1, out_axis=-2, groups=3),
            (3, 3, 6, 8),
            "`groups` must divide the last dimension of (3, 3, 6, 8), got 3",
        ),
        (
            initializers.lecun_normal(in_axis=1, out_axis=0, groups=2),
            (4, 3, 2, 2),
            "`groups` must be 1 where neither in_axis=1 nor out_axis=0 is the last of (4, 3, 2, 2)",
        ),
        (initializers.orthogonal(), (4,), "requires at least a 2D shape"),
        (
            initializers.delta_orthogonal(),
            (3, 3, 5, 4),
            "`fan_in` must be less or equal than `fan_out`",
        ),
        (initializers.delta_orthogonal(), (4, 5), "requires a 3D, 4D or 5D shape"),
        (initializers.identity(), (3, 4, 5), "`shape` must be [in, out], got (3, 4, 5)"),
        (
            initializers.dirac(),
            (4, 5),
            "`shape` must be [*window, in, out] with 1 to 3 window dimensions, got (4, 5)",
        ),
        (
            initializers.dirac(groups=2),
            (3, 4, 5),
            "`groups` must divide the last dimension of (3, 4, 5), got 2",
        ),
        (initializers.sparse(0.5), (3, 4, 5), "`shape` must be [in, out], got (3, 4, 5)"),
    ],
)
def test_invalid_shapes_raise(initializer, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.eval_shape(lambda key: initializer(key, shape, jnp.float32), jax.random.key(0))


@pytest.mark.parametrize("name", RANDOM)
def test_integer_dtypes_raise(name):
    with pytest.raises(TypeError, match="`dtype` must be floating-point, got int32"):
        RANDOM[name](jax.random.key(0), (4, 5), jnp.int32)


@pytest.mark.parametrize(("lower", "upper"), [(8.0, 9.0), (-np.inf, -5.0), (1.0, 1.0001)])
def test_bounds_with_few_float32_values_between_them_raise(lower, upper):
    message = f"must be farther apart or closer to 0, got lower={lower} and upper={upper}"
    with pytest.raises(ValueError, match=re.escape(message)):
        initializers.truncated_normal(1.0, lower=lower, upper=upper)


@pytest.mark.parametrize(("lower", "upper"), [(-np.inf, -3.0), (3.0, np.inf), (3.0, 3.5)])
def test_a_tail_of_the_normal_has_its_mean(lower, upper):
    draw = initializers.truncated_normal(1.0, lower=lower, upper=upper)
    draws = np.asarray(draw(jax.random.key(0), (100000,)), np.float64)
    tail = scipy.stats.truncnorm(lower, upper)
    assert abs(draws.mean() - tail.mean()) < 5 * tail.std() / math.sqrt(100000)
