"""The optimiser against a heavy ball in NumPy, and schedules at the steps where they turn."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from jaxml.config import OptimConfig
from jaxml.models import MODELS
from jaxml.optim import create_optimizer, create_schedule, decay_mask
from tests import references

SHAPES = {
    ("conv", "kernel"): (2, 3),
    ("conv", "bias"): (3,),
    ("norm", "scale"): (3,),
    ("norm", "offset"): (3,),
}
STEPS = 6


def tree_of(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    tree = {"conv": {}, "norm": {}}
    for (module, name), shape in SHAPES.items():
        tree[module][name] = rng.normal(size=shape).astype(dtype)
    return tree


def flat(tree):
    return {
        f"{module}/{name}": np.asarray(tree[module][name], np.float64) for module, name in SHAPES
    }


def take_steps(optimizer, params, gradients):
    """The parameters after each step."""

    @jax.jit
    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    state, history = optimizer.init(params), []
    for gradient in gradients:
        params, state = step(params, state, gradient)
        history.append(params)
    return history


def rates_of(schedule, steps):
    return [float(np.asarray(schedule(step))) for step in steps]


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "nesterov"])
@pytest.mark.parametrize(
    ("momentum", "weight_decay"), [(0.9, 0.1), (0.9, 0.0), (0.0, 0.1)], ids=str
)
def test_steps_are_those_of_a_heavy_ball_with_coupled_decay_of_kernels(
    momentum, weight_decay, nesterov
):
    config = OptimConfig(
        learning_rate=0.3,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        schedule="constant",
    )
    schedule = create_schedule(config, steps_per_epoch=2, num_steps=STEPS)
    gradients = [tree_of(seed) for seed in range(1, STEPS + 1)]
    history = take_steps(create_optimizer(config, schedule), tree_of(0), gradients)
    expected = references.heavy_ball(
        flat(tree_of(0)),
        [flat(gradient) for gradient in gradients],
        [0.3] * STEPS,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
    )
    for params, wanted in zip(history, expected, strict=True):
        references.assert_trees_close(flat(params), wanted, 1e-6)


@pytest.mark.parametrize("name", ["step", "cosine", "constant"])
def test_each_step_has_the_rate_of_its_schedule(name):
    config = OptimConfig(learning_rate=0.3, schedule=name, warmup_epochs=1.0, weight_decay=0.1)
    schedule = create_schedule(config, steps_per_epoch=2, num_steps=STEPS)
    rates = {
        "step": [0.0, 0.15, 0.3, 0.03, 0.003, 0.003],
        "cosine": [0.0, 0.15, *(0.15 * (1 + math.cos(math.pi * t / 4)) for t in range(4))],
        "constant": [0.0, 0.15, 0.3, 0.3, 0.3, 0.3],
    }[name]
    gradients = [tree_of(seed) for seed in range(1, STEPS + 1)]
    history = take_steps(create_optimizer(config, schedule), tree_of(0), gradients)
    expected = references.heavy_ball(
        flat(tree_of(0)),
        [flat(gradient) for gradient in gradients],
        rates,
        momentum=0.9,
        weight_decay=0.1,
        nesterov=False,
    )
    for params, wanted in zip(history, expected, strict=True):
        references.assert_trees_close(flat(params), wanted, 1e-6)


def test_vmap_over_an_ensemble_of_parameters_is_a_loop():
    config = OptimConfig(weight_decay=0.1, schedule="constant")
    optimizer = create_optimizer(config, create_schedule(config, steps_per_epoch=1, num_steps=2))

    def two_steps(kernel, bias, gradient):
        params = {"kernel": kernel, "bias": bias}
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update({"kernel": gradient, "bias": bias}, state, params)
            params = optax.apply_updates(params, updates)
        return params

    rng = np.random.default_rng(0)
    kernel, bias, gradient = (
        rng.normal(size=(2, *shape)).astype(np.float32) for shape in ((2, 3), (3,), (2, 3))
    )
    references.assert_vmap_is_loop(two_steps, kernel, bias, gradient)


def test_bfloat16_parameters_and_updates_stay_bfloat16():
    config = OptimConfig(learning_rate=0.3, weight_decay=0.1, schedule="constant")
    optimizer = create_optimizer(config, create_schedule(config, steps_per_epoch=1, num_steps=1))
    params, gradient = tree_of(0, jnp.bfloat16), tree_of(1, jnp.bfloat16)
    (after,) = take_steps(optimizer, params, [gradient])
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after)} == {"bfloat16"}
    (expected,) = references.heavy_ball(
        flat(params), [flat(gradient)], [0.3], momentum=0.9, weight_decay=0.1, nesterov=False
    )
    # Decay, gradient with decay, rate, step and difference are rounded, each at most once.
    references.assert_trees_close(flat(after), expected, 5 * references.ROUNDING["bfloat16"])


def test_huge_gradients_and_none_at_all_give_finite_steps():
    config = OptimConfig(learning_rate=0.1, weight_decay=0.0, schedule="constant")
    optimizer = create_optimizer(config, create_schedule(config, steps_per_epoch=1, num_steps=2))
    huge = jax.tree.map(lambda leaf: np.full_like(leaf, 1e30), tree_of(0))
    zero = jax.tree.map(np.zeros_like, huge)
    first, second = take_steps(optimizer, zero, [huge, zero])
    for leaf in jax.tree.leaves(first):
        np.testing.assert_allclose(leaf, np.full(leaf.shape, -1e29), rtol=1e-6)
    for leaf in jax.tree.leaves(second):
        np.testing.assert_allclose(leaf, np.full(leaf.shape, -1.9e29), rtol=1e-6)


def test_gradients_through_a_step_fit_finite_differences():
    config = OptimConfig(learning_rate=0.5, weight_decay=0.5, schedule="constant")
    optimizer = create_optimizer(config, create_schedule(config, steps_per_epoch=1, num_steps=1))

    @jax.jit
    def step(params, gradient):
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    # A linear function has no truncation error, so that the step may be wide.
    check_grads(step, (tree_of(0), tree_of(1)), order=1, eps=1.0, atol=1e-5, rtol=1e-5)


def test_an_update_without_the_parameters_is_an_error():
    config = OptimConfig(schedule="constant")
    optimizer = create_optimizer(config, create_schedule(config, steps_per_epoch=1, num_steps=1))
    params = tree_of(0)
    with pytest.raises(ValueError, match="requires the current value of parameters"):
        optimizer.update(params, optimizer.init(params))


@pytest.mark.parametrize("shortcut", ["zero_pad", "projection"])
def test_every_kernel_of_a_network_decays_and_nothing_else(shortcut):
    model = MODELS["resnet_tiny"](num_classes=10, shortcut=shortcut)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
    )
    mask = jax.tree_util.tree_leaves_with_path(decay_mask(variables["params"]))
    names = [jax.tree_util.keystr(path) for path, _ in mask]
    assert {name for name, (_, decays) in zip(names, mask, strict=True) if decays is True} == {
        name for name in names if name.endswith("['kernel']")
    }
    assert all(decays is True or decays is False for _, decays in mask)
    kernels = 1 + 2 * 2 + 1 + (shortcut == "projection")
    norms = 1 + 2 * 2 + (shortcut == "projection")
    assert sum(decays for _, decays in mask) == kernels
    assert len(mask) == kernels + 2 * norms + 1


def test_the_schedule_of_the_paper_divides_by_ten_at_32_and_48_thousand_of_64():
    schedule = create_schedule(OptimConfig(), steps_per_epoch=351, num_steps=64_000)
    steps = [0, 1, 31_999, 32_000, 32_001, 47_999, 48_000, 48_001, 63_999]
    rates = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001]
    np.testing.assert_allclose(rates_of(schedule, steps), rates, rtol=1e-6)


def test_warm_up_does_not_move_the_boundaries():
    config = OptimConfig(
        learning_rate=2.0, warmup_epochs=1.5, step_boundaries=(0.3, 0.6), step_factor=0.5
    )
    schedule = create_schedule(config, steps_per_epoch=10, num_steps=100)
    steps = [0, 3, 14, 15, 16, 29, 30, 59, 60, 99]
    rates = [0.0, 2 * 3 / 15, 2 * 14 / 15, 2.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5]
    np.testing.assert_allclose(rates_of(schedule, steps), rates, rtol=1e-6)


def test_boundaries_that_meet_at_one_step_all_count():
    config = OptimConfig(learning_rate=1.0, step_boundaries=(0.6, 0.7))
    schedule = create_schedule(config, steps_per_epoch=1, num_steps=2)
    np.testing.assert_allclose(rates_of(schedule, [0, 1]), [1.0, 0.01], rtol=1e-6)


def test_no_boundaries_keep_the_rate():
    config = OptimConfig(learning_rate=0.2, step_boundaries=())
    schedule = create_schedule(config, steps_per_epoch=1, num_steps=10)
    np.testing.assert_allclose(rates_of(schedule, [0, 5, 9]), [0.2] * 3, rtol=1e-6)


@pytest.mark.parametrize("warmup_epochs", [0.0, 2.0])
def test_the_cosine_falls_from_its_peak_to_zero(warmup_epochs):
    config = OptimConfig(learning_rate=0.4, schedule="cosine", warmup_epochs=warmup_epochs)
    schedule = create_schedule(config, steps_per_epoch=10, num_steps=100)
    start = round(10 * warmup_epochs)
    steps = range(start, 101)
    rates = [0.2 * (1 + math.cos(math.pi * (step - start) / (100 - start))) for step in steps]
    np.testing.assert_allclose(rates_of(schedule, steps), rates, atol=1e-7)
    ends = rates_of(schedule, [start, (100 + start) // 2, 100, 120])
    assert ends == pytest.approx([0.4, 0.2, 0.0, 0.0], rel=1e-6, abs=0)


@pytest.mark.parametrize("name", ["step", "cosine", "constant"])
def test_warm_up_rises_from_zero_to_the_peak_in_a_line(name):
    config = OptimConfig(
        learning_rate=0.4, schedule=name, warmup_epochs=0.5, step_boundaries=(0.9,)
    )
    schedule = create_schedule(config, steps_per_epoch=16, num_steps=100)
    rates = [0.4 * step / 8 for step in range(9)]
    np.testing.assert_allclose(rates_of(schedule, range(9)), rates, rtol=1e-6)


@pytest.mark.parametrize("name", ["step", "cosine", "constant"])
def test_a_warm_up_as_long_as_the_run_stays_below_the_peak(name):
    config = OptimConfig(learning_rate=0.4, schedule=name, warmup_epochs=3.0)
    schedule = create_schedule(config, steps_per_epoch=4, num_steps=12)
    rates = [0.4 * step / 12 for step in range(12)]
    np.testing.assert_allclose(rates_of(schedule, range(12)), rates, rtol=1e-6)


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.0])
@pytest.mark.parametrize("name", ["step", "cosine", "constant"])
def test_a_schedule_takes_a_traced_step(name, warmup_epochs):
    config = OptimConfig(learning_rate=0.4, schedule=name, warmup_epochs=warmup_epochs)
    schedule = create_schedule(config, steps_per_epoch=4, num_steps=16)
    steps = np.arange(16, dtype=np.int32)
    rates = rates_of(schedule, steps.tolist())
    assert len(set(rates)) > 1 or (name, warmup_epochs) == ("constant", 0.0)
    mapped = jax.jit(jax.vmap(lambda step: jnp.asarray(schedule(step))))(steps)
    references.assert_close(mapped, rates, 1e-6)


def test_a_schedule_of_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="'linear'"):
        create_schedule(OptimConfig(schedule="linear"), steps_per_epoch=1, num_steps=1)
