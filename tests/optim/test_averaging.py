"""Tests of parameter averaging against torch, optax and NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml import optim
from jaxml.config import AverageConfig, Config, fields
from jaxml.errors import InputError
from tests import properties, references

STEPS = 12


def walk():
    """Returns the variables after each step of a run without averaging."""
    rng = np.random.default_rng(0)
    return [
        {
            "params": {"kernel": rng.normal(size=(2, 3)).astype(np.float32)},
            "batch_stats": {"mean": rng.normal(size=3).astype(np.float32)},
        }
        for _ in range(STEPS)
    ]


def values_along(averaging, path):
    """Returns the evaluated variables after each step."""
    update, value = jax.jit(averaging.update), jax.jit(averaging.value)
    average, values = averaging.init(jax.tree.map(jnp.asarray, path[0])), []
    for step, variables in enumerate(path, start=1):
        average, variables = update(average, step, variables)
        values.append(value(average, variables))
    return values


def test_the_exponential_average_has_the_weights_of_its_formula():
    path = walk()
    for t, got in enumerate(values_along(optim.ema_averaging(decay=0.8), path), start=1):
        weights = np.array([0.8 ** (t - i) for i in range(1, t + 1)])
        weights /= weights.sum()
        expected = jax.tree.map(
            lambda *leaves, w=weights: np.tensordot(w, np.stack(leaves), 1), *path[:t]
        )
        properties.agree(optim.ema_averaging, got, expected, by="NumPy float64", rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.9999, 0.999999])
def test_the_average_of_a_constant_is_that_constant(decay):
    path = [{"params": np.full(3, 5.0, np.float32), "batch_stats": {}}] * 3
    for got in values_along(optim.ema_averaging(decay=decay), path):
        np.testing.assert_allclose(got["params"], np.full(3, 5.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: optim.ema_averaging(decay=1.0), "`decay` must be >= 0 and < 1, got 1.0"),
        (lambda: optim.swa_averaging(start=0, period=0), "`period` must be >= 1, got 0"),
        (
            lambda: optim.lookahead_averaging(sync_period=0, slow_step_size=0.5),
            "`sync_period` must be >= 1, got 0",
        ),
        (
            lambda: optim.lookahead_averaging(sync_period=1, slow_step_size=1.5),
            "`slow_step_size` must be > 0 and <= 1, got 1.5",
        ),
    ],
)
def test_arguments_out_of_range_are_errors(create, message):
    with pytest.raises(ValueError, match=message):
        create()


def test_lookahead_counts_updates_and_must_synchronize_within_the_run():
    config = AverageConfig(name="lookahead", sync_period=5)
    lengths = {"steps_per_epoch": 3, "num_steps": STEPS}
    optim.create_averaging(config, **lengths, steps_per_update=2)
    message = "config.average.sync_period must be at most the 4 updates of the run, got 5"
    with pytest.raises(InputError, match=message):
        optim.create_averaging(config, **lengths, steps_per_update=3)


def test_stochastic_weight_averaging_is_that_of_torch():
    torch = pytest.importorskip("torch")
    path, model = walk(), torch.nn.Linear(3, 2, bias=False)
    swa = torch.optim.swa_utils.AveragedModel(model)
    values = values_along(optim.swa_averaging(start=5, period=3), path)
    references.assert_trees_close(values[4], path[4], 0.0)  # no value is averaged yet
    for step in (6, 9, 12):
        with torch.no_grad():
            model.weight.copy_(torch.tensor(path[step - 1]["params"]["kernel"]))
        swa.update_parameters(model)
        for now in values[step - 1 : step + 2]:
            expected = swa.module.weight.detach().numpy()
            properties.agree(
                optim.swa_averaging, now["params"]["kernel"], expected, by="torch", rtol=1e-6
            )


def test_the_exponential_average_is_that_of_optax():
    path = walk()
    peer = optax.ema(0.8)
    state = peer.init(path[0])
    for variables, got in zip(path, values_along(optim.ema_averaging(0.8), path), strict=True):
        with jax.numpy_dtype_promotion("standard"):
            expected, state = peer.update(variables, state)
        properties.agree(optim.ema_averaging, got, expected, by="optax", rtol=1e-6)


@pytest.mark.slow
def test_lookahead_takes_the_steps_of_optax():
    averaging = optim.lookahead_averaging(sync_period=3, slow_step_size=0.25)
    sgd = optax.sgd(0.1, momentum=0.9)
    both = optax.lookahead(sgd, sync_period=3, slow_step_size=0.25)
    params = jnp.array([4.0, -2.0])
    pair: Any = optax.LookaheadParams.init_synced(params)
    state = sgd.init(params)
    both_state = both.init(pair)
    average = averaging.init({"params": params})
    for step in range(1, STEPS + 1):
        with jax.numpy_dtype_promotion("standard"):
            updates, both_state = both.update(2 * pair.fast, both_state, pair)
        pair = optax.apply_updates(pair, updates)
        updates, state = sgd.update(2 * params, state)
        variables = {"params": optax.apply_updates(params, updates)}
        average, variables = averaging.update(average, jnp.int32(step), variables)
        params = variables["params"]
        # Rounding errors are relative to the initial 4, not to the present value.
        np.testing.assert_allclose(params, pair.fast, rtol=0, atol=1e-6)
        got = averaging.value(average, variables)["params"]
        properties.agree(optim.lookahead_averaging, got, pair.slow, by="optax", rtol=1e-6)


def test_lookahead_pulls_the_fast_parameters_back():
    averaging = optim.lookahead_averaging(sync_period=3, slow_step_size=0.25)
    slow = fast = np.array([4.0, -2.0], np.float32)
    average = averaging.init({"params": jnp.asarray(fast), "batch_stats": {}})
    for step in range(1, STEPS + 1):
        fast = fast + np.array([1.0, step], np.float32)
        variables = {"params": jnp.asarray(fast), "batch_stats": {}}
        average, variables = jax.jit(averaging.update)(average, step, variables)
        if step % 3 == 0:
            slow = fast = slow + 0.25 * (fast - slow)
        references.assert_close(variables["params"], fast, 1e-6)
        got = averaging.value(average, variables)["params"]
        properties.agree(optim.lookahead_averaging, got, slow, by="NumPy float64", rtol=1e-6)


def test_without_an_average_the_variables_are_evaluated():
    path = walk()
    for got, expected in zip(values_along(optim.no_averaging(), path), path, strict=True):
        properties.agree(optim.no_averaging, got, expected, by="the input", rtol=0.0)


@pytest.mark.parametrize("name", [None, "ema", "swa", "lookahead"])
def test_every_averaging_is_a_choice_of_the_config(name):
    (choices,) = (
        field.metadata["choices"] for key, field, _ in fields(Config()) if key == "average.name"
    )
    assert choices == ("ema", "swa", "lookahead")
    config = AverageConfig(name=name, start=0.5, decay=0.5, sync_period=4, slow_step_size=1.0)
    averaging = optim.create_averaging(config, steps_per_epoch=4, num_steps=STEPS)
    last = values_along(averaging, walk())[-1]
    assert averaging.reestimates is (name == "swa")
    weights = {  # of each step in the last value
        None: {12: 1.0},
        "swa": {8: 0.5, 12: 0.5},
        "lookahead": {12: 1.0},
        "ema": {t: 0.5 ** (12 - t) * 0.5 / (1 - 0.5**12) for t in range(1, 13)},
    }[name]
    expected = sum(w * walk()[t - 1]["params"]["kernel"] for t, w in weights.items())
    kernel = last["params"]["kernel"]
    properties.agree(optim.create_averaging, kernel, expected, by="NumPy float64", rtol=1e-6)
