"""Penalties and constraints against their formulas and against what other optimisers do."""

import os
import re
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.regularizers import elastic_net, is_kernel, l1, l2, max_norm, weight_decay
from tests import properties, references

SHAPE = (3, 2, 4)


def kernel_of(shape=SHAPE, scale=1.0):
    return scale * np.random.default_rng(0).normal(size=shape)


def tree_of(dtype=jnp.float32):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    return {
        "conv": {"kernel": draw(2, 2, 3, 4), "bias": draw(4)},
        "norm": {"scale": draw(4), "bias": draw(4)},
        "head": {"kernel": draw(4, 3), "bias": draw(3)},
    }


def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp())
    return pytest.importorskip("keras")


def reference_l1(w, *, strength):
    return strength * sum(abs(value) for value in w.ravel().tolist())


def reference_l2(w, *, strength):
    return strength * sum(value * value for value in w.ravel().tolist())


def reference_elastic_net(w, *, l1_strength, l2_strength):
    return reference_l1(w, strength=l1_strength) + reference_l2(w, strength=l2_strength)


def reference_max_norm(w, *, max_value):
    w = w.copy()
    for unit in range(w.shape[-1]):
        norm = np.linalg.norm(w[..., unit])
        if norm > max_value:
            w[..., unit] *= max_value / norm
    return w


def reference_decay(w, *, rate, learning_rate):
    return (1 - learning_rate * rate) * w


CASES = [
    (l1, reference_l1, {"strength": 0.3}),
    (l2, reference_l2, {"strength": 0.3}),
    (elastic_net, reference_elastic_net, {"l1_strength": 0.3, "l2_strength": 0.7}),
    (max_norm, reference_max_norm, {"max_value": 2.0}),
    (weight_decay, reference_decay, {"rate": 0.3, "learning_rate": 0.2}),
]
cases = pytest.mark.parametrize(
    ("function", "reference", "settings"), CASES, ids=[case[0].__name__ for case in CASES]
)


@pytest.mark.slow
@cases
def test_the_formula(function, reference, settings):
    by = "NumPy float64"
    properties.check(function, kernel_of(), reference=reference, by=by, grads=2, **settings)


@pytest.mark.slow
@cases
@pytest.mark.parametrize("scale", [1e4, 1e-4, 0.0])
def test_extreme_weights_are_finite(function, reference, settings, scale):
    w = np.float32(kernel_of(scale=scale))
    value, gradient = jax.value_and_grad(lambda w: function(w, **settings).sum())(jnp.asarray(w))
    expected = reference(np.float64(w), **settings)
    properties.agree(function, function(jnp.asarray(w), **settings), expected, by="NumPy float64")
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("function", "name", "ours", "theirs"),
    [
        (l1, "L1", {"strength": 0.3}, (0.3,)),
        (l2, "L2", {"strength": 0.3}, (0.3,)),
        (elastic_net, "L1L2", {"l1_strength": 0.3, "l2_strength": 0.7}, (0.3, 0.7)),
    ],
)
def test_keras_agrees_on_penalties(function, name, ours, theirs):
    penalty = getattr(keras().regularizers, name)(*theirs)
    w = np.float32(kernel_of())
    expected = penalty(keras().ops.convert_to_tensor(w)).numpy()
    properties.agree(function, function(jnp.asarray(w), **ours), expected, by="Keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 4), 0), ((3, 2, 4), [0, 1]), ((2, 2, 3, 4), [0, 1, 2])]
)
def test_keras_agrees_on_max_norm(shape, axis):
    constraint = keras().constraints.MaxNorm(2.0, axis=axis)
    w = np.float32(kernel_of(shape))
    expected = constraint(keras().ops.convert_to_tensor(w)).numpy()
    properties.agree(max_norm, max_norm(jnp.asarray(w), max_value=2.0), expected, by="Keras")


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e25, 1e37])
def test_max_norm_at_scales_whose_squares_are_0_or_infinite(scale):
    w = np.float32(scale * kernel_of())
    for max_value in (1.5 * scale, 0.5):
        expected = reference_max_norm(w.astype(np.float64), max_value=max_value)
        got = max_norm(jnp.asarray(w), max_value=max_value)
        properties.agree(max_norm, got, expected, by="NumPy float64")


@pytest.mark.slow
def test_units_end_on_the_ball_or_stay():
    w = jnp.asarray(kernel_of((5, 40)), jnp.float32)
    norms = np.linalg.norm(max_norm(w, max_value=2.0), axis=0)
    before = np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(norms, np.minimum(before, 2.0), rtol=1e-6)
    assert 0 < (before > 2).sum() < 40
    np.testing.assert_array_equal(max_norm(w, max_value=1.01 * float(before.max())), w)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@cases
def test_only_kernels_of_a_tree_count(function, reference, settings, dtype):
    tree = tree_of(dtype)
    result = references.plain_jit(lambda tree: function(tree, **settings))(tree)
    kernels = [references.float64(tree[name]["kernel"]) for name in ("conv", "head")]
    expected = [reference(w, **settings) for w in kernels]
    if function in (max_norm, weight_decay):
        for name, value in zip(("conv", "head"), expected, strict=True):
            rtol = 1e-5 if dtype == jnp.float32 else 2.0**-8
            properties.agree(
                function, result[name].pop("kernel"), value, by="NumPy float64", rtol=rtol
            )
            tree[name].pop("kernel")
        jax.tree.map(np.testing.assert_array_equal, result, tree)
    else:
        assert result.dtype == jnp.float32
        properties.agree(function, result, sum(expected), by="NumPy float64")


@pytest.mark.slow
@cases
def test_what_counts_may_be_chosen(function, reference, settings):
    tree = tree_of()
    result = function(tree, select=lambda path, leaf: leaf.shape == (3,), **settings)
    expected = reference(references.float64(tree["head"]["bias"])[:, None].T, **settings)
    chosen = result["head"]["bias"][None] if function in (max_norm, weight_decay) else result
    references.assert_close(chosen, expected)
    nothing = function(tree, select=lambda path, leaf: False, **settings)
    if function in (max_norm, weight_decay):
        jax.tree.map(np.testing.assert_array_equal, nothing, tree)
    else:
        assert nothing == 0
        assert jnp.asarray(nothing).dtype == jnp.float32


def test_a_kernel_is_known_by_its_name():
    class Layer:
        def __init__(self, kernel, bias):
            self.kernel, self.bias = kernel, bias

    jax.tree_util.register_dataclass(Layer, ["kernel", "bias"], [])
    tree = [{"kernel": 0, "bias": 0}, Layer(0, 0), {"kernel": {"scale": 0}}, {"my_kernel": 0}]
    chosen = jax.tree_util.tree_map_with_path(is_kernel, tree)
    expected = [False, True, True, False, False, False]  # keys of a dict come sorted
    properties.agree(is_kernel, jax.tree.leaves(chosen), expected, by="theory")
    assert is_kernel((), np.ones(3))


def test_half_precision_is_summed_in_float32():
    w = jnp.full(4096, 1.0, jnp.bfloat16)  # bfloat16 counts to 256
    assert l1(w, strength=1.0) == l2(w, strength=1.0) == 4096


def test_leaves_of_several_dtypes_are_summed_in_the_widest():
    with jax.enable_x64(True):
        tree = {"a": {"kernel": jnp.ones(2)}, "b": {"kernel": jnp.ones(3, jnp.bfloat16)}}
        total = l2(tree, strength=1.0)
    assert total.dtype == jnp.float64
    assert float(total) == 5


def test_the_gradient_of_the_penalty_is_twice_lambda_w():
    w = jnp.asarray(kernel_of(), jnp.float32)
    references.assert_close(jax.grad(lambda w: l2(w, strength=0.3))(w), 0.6 * np.float64(w))
    signs = jax.grad(lambda w: l1(w, strength=0.5))(jnp.array([-2.0, 0.0, 3.0]))
    np.testing.assert_array_equal(signs, [-0.5, 0.0, 0.5])


def test_strengths_may_be_traced_and_differentiated():
    w = jnp.asarray(kernel_of(), jnp.float32)
    slope = jax.jit(jax.grad(lambda s: l2(w, strength=s)))(0.3)
    references.assert_close(slope, np.square(np.float64(w)).sum())
    projected = jax.jit(lambda c: max_norm(w, max_value=c))(2.0)
    np.testing.assert_allclose(projected, max_norm(w, max_value=2.0), rtol=1e-6)
    decayed = jax.jit(lambda eta: weight_decay(w, rate=0.3, learning_rate=eta))(0.2)
    references.assert_close(decayed, 0.94 * np.float64(w))


# Decay beside the step and a penalty inside the gradient, against torch's optimisers.

RATE, LEARNING_RATE, STEPS = 0.4, 0.05, 6


def gradient_at(w, step):
    """Of a loss that is no quadratic, so that the order of the updates matters."""
    return np.cos(w + step)


def run_ours(transformation, w, *, penalty, decoupled):
    state = transformation.init(w)
    for step in range(STEPS):
        gradient = jnp.cos(w + float(step))
        gradient += jax.grad(lambda w: l2(w, strength=penalty))(w)
        w = weight_decay(w, rate=decoupled, learning_rate=LEARNING_RATE)
        updates, state = transformation.update(gradient, state, w)
        w = w + updates
    return w


def run_torch(name, w, **settings):
    torch = pytest.importorskip("torch")
    w = torch.nn.Parameter(torch.from_numpy(w.copy()))
    optimizer = getattr(torch.optim, name)([w], lr=LEARNING_RATE, weight_decay=RATE, **settings)
    for step in range(STEPS):
        w.grad = torch.cos(w.detach() + step)
        optimizer.step()
    return w.detach().numpy()


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_decay_is_a_penalty_for_plain_descent_and_not_with_momentum(momentum):
    w = kernel_of()
    expected = run_torch("SGD", w, momentum=momentum)
    with jax.enable_x64(True):
        descent = optax.sgd(LEARNING_RATE, momentum=momentum or None)
        penalised = run_ours(descent, jnp.asarray(w), penalty=RATE / 2, decoupled=0.0)
        decoupled = run_ours(descent, jnp.asarray(w), penalty=0.0, decoupled=RATE)
    properties.agree(l2, penalised, expected, by="torch", rtol=1e-12)
    difference = np.abs(np.asarray(decoupled) - expected).max()
    if momentum:
        assert difference > 0.01
    else:
        properties.agree(weight_decay, decoupled, expected, by="torch", rtol=1e-12)


def test_decay_is_that_of_adamw_and_a_penalty_that_of_adam():
    w = kernel_of()
    # optax's Adam mixes the dtypes of its step and its rates.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        adam = optax.adam(LEARNING_RATE)
        penalised = run_ours(adam, jnp.asarray(w), penalty=RATE / 2, decoupled=0.0)
        decoupled = run_ours(adam, jnp.asarray(w), penalty=0.0, decoupled=RATE)
    adam_torch, adamw_torch = run_torch("Adam", w), run_torch("AdamW", w)
    properties.agree(l2, penalised, adam_torch, by="torch", rtol=1e-12)
    properties.agree(weight_decay, decoupled, adamw_torch, by="torch", rtol=1e-12)
    assert np.abs(adam_torch - adamw_torch).max() > 0.01


@pytest.mark.parametrize(
    ("function", "settings", "message"),
    [
        (l1, {"strength": -1.0}, "`strength` must be non-negative, got -1.0"),
        (l2, {"strength": float("nan")}, "`strength` must be non-negative, got nan"),
        (
            elastic_net,
            {"l1_strength": -0.1, "l2_strength": 0.0},
            "`l1_strength` must be non-negative",
        ),
        (
            elastic_net,
            {"l1_strength": 0.1, "l2_strength": -2.0},
            "`l2_strength` must be non-negative",
        ),
        (max_norm, {"max_value": 0.0}, "`max_value` must be positive, got 0.0"),
        (
            weight_decay,
            {"rate": -0.1, "learning_rate": 0.1},
            "`rate` must be non-negative, got -0.1",
        ),
        (
            weight_decay,
            {"rate": 0.1, "learning_rate": -0.2},
            "`learning_rate` must be non-negative, got -0.2",
        ),
    ],
)
def test_strengths_out_of_range_are_told(function, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function(tree_of(), **settings)


@cases
def test_integers_are_an_error_where_they_are_selected(function, reference, settings):
    tree = {"step": jnp.ones(2, jnp.int32), "dense": {"kernel": jnp.ones(2, jnp.int32)}}
    message = re.escape(
        "`params['dense']['kernel']` must be floating-point to be regularized, got int32"
    )
    with pytest.raises(TypeError, match=message):
        function(tree, **settings)
    del tree["dense"]
    function(tree, **settings)


@pytest.mark.parametrize("scale", [1e20, 3e38, np.inf])
def test_a_strength_of_zero_costs_nothing_where_the_sum_overflows(scale):
    w = jnp.full((2, 3), scale, jnp.float32)
    for penalty in (l1, l2):
        value, slope = jax.value_and_grad(lambda w, f=penalty: f(w, strength=0.0))(w)
        assert float(value) == 0
        np.testing.assert_array_equal(slope, np.zeros((2, 3)))
    value = elastic_net(jnp.full(2, 1e20), l1_strength=0.5, l2_strength=0.0)
    np.testing.assert_allclose(value, 1e20, rtol=1e-6)
