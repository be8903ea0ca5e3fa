"""Tests of the schedules at their turning points and against torch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import Config, OptimConfig, fields
from jaxml.errors import InputError
from jaxml.optim import (
    SCHEDULES,
    create_schedule,
    inverse_sqrt_schedule,
    inverse_time_schedule,
    scale_learning_rate,
)
from tests import properties, references


def rates_of(schedule, steps):
    return [float(np.asarray(schedule(step))) for step in steps]


def test_the_schedule_of_the_paper_divides_by_ten_at_32_and_48_thousand_of_64():
    schedule = create_schedule(OptimConfig(), steps_per_epoch=351, num_steps=64_000)
    steps = [0, 1, 31_999, 32_000, 32_001, 47_999, 48_000, 48_001, 63_999]
    rates = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001]
    np.testing.assert_allclose(rates_of(schedule, steps), rates, rtol=1e-6)
    got, expected = np.array(rates_of(schedule, steps), np.float32), np.array(rates)
    properties.agree(create_schedule, got, expected, by="the paper", rtol=1e-6)


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
    for config in (
        OptimConfig(learning_rate=0.2, step_boundaries=()),
        OptimConfig(learning_rate=0.2, schedule="constant"),
    ):
        schedule = create_schedule(config, steps_per_epoch=1, num_steps=10)
        got, expected = np.array(rates_of(schedule, [0, 5, 9]), np.float32), np.full(3, 0.2)
        properties.agree(create_schedule, got, expected, by="theory", rtol=1e-6)


@pytest.mark.parametrize("warmup_epochs", [0.0, 2.0])
def test_the_cosine_falls_from_its_peak_to_zero(warmup_epochs):
    config = OptimConfig(learning_rate=0.4, schedule="cosine", warmup_epochs=warmup_epochs)
    schedule = create_schedule(config, steps_per_epoch=10, num_steps=100)
    start = round(10 * warmup_epochs)
    steps = range(start, 101)
    rates = [0.2 * (1 + math.cos(math.pi * (step - start) / (100 - start))) for step in steps]
    np.testing.assert_allclose(rates_of(schedule, steps), rates, atol=1e-7)
    got = np.array(rates_of(schedule, steps), np.float32)
    properties.agree(create_schedule, got, np.array(rates), by="NumPy float64", rtol=1e-6)
    ends = rates_of(schedule, [start, (100 + start) // 2, 100, 120])
    assert ends == pytest.approx([0.4, 0.2, 0.0, 0.0], rel=1e-6, abs=0)


RISING_IN_A_LINE = sorted(set(SCHEDULES) - {"one_cycle"})


@pytest.mark.parametrize("name", RISING_IN_A_LINE)
def test_warm_up_rises_from_zero_to_the_peak_in_a_line(name):
    config = OptimConfig(
        learning_rate=0.4, schedule=name, warmup_epochs=0.5, step_boundaries=(0.9,), end_factor=0.1
    )
    schedule = create_schedule(config, steps_per_epoch=16, num_steps=100)
    rates = [0.4 * step / 8 for step in range(9)]
    np.testing.assert_allclose(rates_of(schedule, range(9)), rates, rtol=1e-6)


@pytest.mark.parametrize("name", RISING_IN_A_LINE)
def test_a_warm_up_as_long_as_the_run_stays_below_the_peak(name):
    config = OptimConfig(learning_rate=0.4, schedule=name, warmup_epochs=3.0, end_factor=0.1)
    schedule = create_schedule(config, steps_per_epoch=4, num_steps=12)
    rates = [0.4 * step / 12 for step in range(12)]
    np.testing.assert_allclose(rates_of(schedule, range(12)), rates, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("warmup_epochs", [0.0, 1.0])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_a_traced_step(name, warmup_epochs):
    config = OptimConfig(
        learning_rate=0.4, schedule=name, warmup_epochs=warmup_epochs, end_factor=0.1
    )
    schedule = create_schedule(config, steps_per_epoch=4, num_steps=16)
    steps = np.arange(16, dtype=np.int32)
    rates = rates_of(schedule, steps.tolist())
    assert len(set(rates)) > 1 or (name, warmup_epochs) == ("constant", 0.0)
    mapped = jax.jit(jax.vmap(lambda step: jnp.asarray(schedule(step))))(steps)
    references.assert_close(mapped, rates, 1e-6)


def test_an_unknown_schedule_is_an_error():
    with pytest.raises(KeyError, match="'linear'"):
        create_schedule(OptimConfig(schedule="linear"), steps_per_epoch=1, num_steps=1)


LENGTH = 40


def torch_rates(create, steps=LENGTH):
    """Returns the learning rates of a scheduler of torch at each step."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4, momentum=0.9)
    scheduler, rates = create(torch.optim.lr_scheduler, optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("config", "create"),
    [
        (
            OptimConfig(schedule="exponential", end_factor=0.01),
            lambda kinds, optimizer: kinds.ExponentialLR(optimizer, 0.01 ** (1 / LENGTH)),
        ),
        (
            OptimConfig(schedule="polynomial", power=2.0),
            lambda kinds, optimizer: kinds.PolynomialLR(optimizer, LENGTH, power=2.0),
        ),
        (
            OptimConfig(schedule="cosine", end_factor=0.1),
            lambda kinds, optimizer: kinds.CosineAnnealingLR(optimizer, LENGTH, eta_min=0.04),
        ),
        (
            OptimConfig(schedule="inverse_sqrt"),
            lambda kinds, optimizer: kinds.LambdaLR(optimizer, lambda t: (1 + t) ** -0.5),
        ),
        (
            OptimConfig(schedule="inverse_time"),
            lambda kinds, optimizer: kinds.LambdaLR(optimizer, lambda t: 1 / (1 + t)),
        ),
    ],
    ids=lambda value: getattr(value, "schedule", ""),
)
def test_torch_has_the_same_rates(config, create):
    config.learning_rate = 0.4
    schedule = create_schedule(config, steps_per_epoch=10, num_steps=LENGTH)
    got, expected = np.array(rates_of(schedule, range(LENGTH)), np.float32), torch_rates(create)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    properties.agree(create_schedule, got, np.array(expected), by="torch")


@pytest.mark.parametrize(("warmup_epochs", "rise"), [(0.0, 0.3), (1.0, 0.25)])
def test_one_cycle_is_that_of_torch(warmup_epochs, rise):
    config = OptimConfig(learning_rate=0.4, schedule="one_cycle", warmup_epochs=warmup_epochs)
    schedule = create_schedule(config, steps_per_epoch=10, num_steps=LENGTH)
    # Torch's phases end at pct_start * total_steps - 1 and total_steps - 1.
    peak = round(rise * LENGTH)
    ends = rates_of(schedule, [0, peak, LENGTH])
    np.testing.assert_allclose(ends, [0.4 / 25, 0.4, 0.4 / 25e4], rtol=1e-4)
    expected = torch_rates(
        lambda kinds, optimizer: kinds.OneCycleLR(
            optimizer, 0.4, total_steps=LENGTH + 1, pct_start=(peak + 1) / (LENGTH + 1)
        ),
        LENGTH,
    )
    got = np.array(rates_of(schedule, range(LENGTH)), np.float32)
    np.testing.assert_allclose(got, expected, rtol=2e-4)
    properties.agree(create_schedule, got, np.array(expected), by="torch")


def test_inverse_schedules_decay_from_the_peak():
    steps = np.arange(5)
    for schedule, power in ((inverse_sqrt_schedule, -0.5), (inverse_time_schedule, -1.0)):
        got = np.asarray(jax.vmap(schedule(0.4, 3))(steps.astype(np.float32)), np.float32)
        expected = 0.4 * ((3 + steps) / 3) ** power
        properties.agree(schedule, got, expected, by="NumPy float64", rtol=1e-6)


def test_after_a_warm_up_the_inverse_time_schedule_starts_at_the_peak():
    config = OptimConfig(learning_rate=0.4, schedule="inverse_time", warmup_epochs=1.0)
    schedule = create_schedule(config, steps_per_epoch=10, num_steps=LENGTH)
    rates = [0.4, 0.4 * 10 / 11, 0.2, 0.1]
    np.testing.assert_allclose(rates_of(schedule, [10, 11, 20, 40]), rates, rtol=1e-6)


def test_one_cycle_needs_steps_to_fall():
    config = OptimConfig(schedule="one_cycle", warmup_epochs=2.0, learning_rate=0.4)
    message = "config.optim.warmup_epochs must end before .* one_cycle .*, got 2.0, .* 20 of 20"
    with pytest.raises(InputError, match=message):
        create_schedule(config, steps_per_epoch=10, num_steps=20)
    config.warmup_epochs = 0.0
    for steps in (2, 3):
        rates = rates_of(create_schedule(config, steps_per_epoch=1, num_steps=steps), range(steps))
        assert rates[0] == pytest.approx(0.4 / 25)
        assert rates[1] == pytest.approx(0.4)


def test_an_exponential_schedule_needs_an_end():
    message = "config.optim.end_factor must be > 0 with the exponential schedule, got 0.0"
    with pytest.raises(InputError, match=message):
        create_schedule(OptimConfig(schedule="exponential"), steps_per_epoch=1, num_steps=1)


def test_every_schedule_is_a_choice_of_the_config():
    (choices,) = (
        field.metadata["choices"] for name, field, _ in fields(Config()) if name == "optim.schedule"
    )
    assert set(choices) == set(SCHEDULES)


@pytest.mark.parametrize(
    ("settings", "batch_size", "rate"),
    [
        ({}, 1024, 0.1),
        ({"base_batch_size": 256}, 256, 0.1),
        ({"base_batch_size": 256}, 64, 0.025),
        ({"base_batch_size": 256}, 8192, 3.2),  # of Goyal et al., table 1
        ({"base_batch_size": 256, "accumulate_steps": 4}, 64, 0.1),
    ],
)
def test_the_learning_rate_is_in_proportion_to_the_images_of_an_update(settings, batch_size, rate):
    config = OptimConfig(learning_rate=0.1, schedule="constant", **settings)
    scaled = scale_learning_rate(config, batch_size)
    schedule = create_schedule(scaled, steps_per_epoch=1, num_steps=1)
    properties.agree(scale_learning_rate, schedule(0), np.float64(rate), by="the paper", rtol=1e-6)
