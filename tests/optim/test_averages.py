"""Averages of parameters against torch's and against their algorithms in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import AverageConfig, Config, fields
from jaxml.errors import InputError
from jaxml.optim import averages
from tests import properties, references

STEPS = 12


def walk():
    """The variables after each step, of a run that averages nothing."""
    rng = np.random.default_rng(0)
    return [
        {
            "params": {"kernel": rng.normal(size=(2, 3)).astype(np.float32)},
            "batch_stats": {"mean": rng.normal(size=3).astype(np.float32)},
        }
        for _ in range(STEPS)
    ]


def values_along(averaging, path):
    """What would be evaluated after each step."""
    update, value = jax.jit(averaging.update), jax.jit(averaging.value)
    average, values = averaging.init(jax.tree.map(jnp.asarray, path[0])), []
    for step, variables in enumerate(path, start=1):
        average, variables = update(average, step, variables)
        values.append(value(average, variables))
    return values


def test_the_exponential_average_weighs_every_value_as_it_should():
    path = walk()
    for t, got in enumerate(values_along(averages.ema(decay=0.8), path), start=1):
        weights = np.array([0.8 ** (t - i) for i in range(1, t + 1)])
        weights /= weights.sum()
        expected = jax.tree.map(
            lambda *leaves, w=weights: np.tensordot(w, np.stack(leaves), 1), *path[:t]
        )
        properties.agree(averages.ema, got, expected, by="NumPy float64", rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.9999, 0.999999])
def test_the_average_of_a_constant_is_that_constant(decay):
    path = [{"params": np.full(3, 5.0, np.float32), "batch_stats": {}}] * 3
    for got in values_along(averages.ema(decay=decay), path):
        np.testing.assert_allclose(got["params"], np.full(3, 5.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: averages.ema(decay=1.0), "decay: at least 0 and below 1, not 1.0"),
        (lambda: averages.swa(start=0, every=0), "every: at least 1, not 0"),
        (lambda: averages.lookahead(every=0, rate=0.5), "every: at least 1, not 0"),
        (lambda: averages.lookahead(every=1, rate=1.5), "rate: above 0 and at most 1, not 1.5"),
    ],
)
def test_settings_out_of_range_are_told(create, message):
    with pytest.raises(ValueError, match=message):
        create()


def test_lookahead_counts_updates_and_has_to_meet_within_the_run():
    config = AverageConfig(name="lookahead", sync_period=5)
    lengths = {"steps_per_epoch": 3, "num_steps": STEPS}
    averages.create_averaging(config, **lengths, steps_per_update=2)
    message = "config.average.sync_period must be at most the 4 updates of the run, got 5"
    with pytest.raises(InputError, match=message):
        averages.create_averaging(config, **lengths, steps_per_update=3)


def test_stochastic_weight_averaging_is_that_of_torch():
    torch = pytest.importorskip("torch")
    path, model = walk(), torch.nn.Linear(3, 2, bias=False)
    swa = torch.optim.swa_utils.AveragedModel(model)
    values = values_along(averages.swa(start=5, every=3), path)
    references.assert_trees_close(values[4], path[4], 0.0)  # nothing is averaged yet
    for step in (6, 9, 12):
        with torch.no_grad():
            model.weight.copy_(torch.tensor(path[step - 1]["params"]["kernel"]))
        swa.update_parameters(model)
        for now in values[step - 1 : step + 2]:
            expected = swa.module.weight.detach().numpy()
            properties.agree(averages.swa, now["params"]["kernel"], expected, by="torch", rtol=1e-6)


def test_lookahead_pulls_the_fast_parameters_back():
    averaging = averages.lookahead(every=3, rate=0.25)
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
        properties.agree(averages.lookahead, got, slow, by="NumPy float64", rtol=1e-6)


def test_without_an_average_the_variables_are_evaluated():
    path = walk()
    for got, expected in zip(values_along(averages.none(), path), path, strict=True):
        properties.agree(averages.none, got, expected, by="the input", rtol=0.0)


@pytest.mark.parametrize("name", [None, "ema", "swa", "lookahead"])
def test_every_average_is_a_choice_of_the_settings(name):
    (choices,) = (
        field.metadata["choices"] for key, field, _ in fields(Config()) if key == "average.name"
    )
    assert choices == ("ema", "swa", "lookahead")
    config = AverageConfig(name=name, start=0.5, decay=0.5, sync_period=4, slow_step_size=1.0)
    averaging = averages.create_averaging(config, steps_per_epoch=4, num_steps=STEPS)
    last = values_along(averaging, walk())[-1]
    assert averaging.reestimates is (name == "swa")
    weights = {  # of the steps whose parameters go into the last value
        None: {12: 1.0},
        "swa": {8: 0.5, 12: 0.5},
        "lookahead": {12: 1.0},
        "ema": {t: 0.5 ** (12 - t) * 0.5 / (1 - 0.5**12) for t in range(1, 13)},
    }[name]
    expected = sum(w * walk()[t - 1]["params"]["kernel"] for t, w in weights.items())
    kernel = last["params"]["kernel"]
    properties.agree(averages.create_averaging, kernel, expected, by="NumPy float64", rtol=1e-6)
