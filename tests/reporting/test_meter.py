"""Metrics are read one call late; time and images are added up."""

import io
import math

import jax.numpy as jnp
import pytest
from rich.console import Console

from jaxml.config import LossConfig
from jaxml.errors import DivergedError
from jaxml.metrics import ClassificationMetrics
from jaxml.reporting.meter import Clock, Meter
from jaxml.reporting.progress import Display
from jaxml.training.objective import create_objective

OBJECTIVE = create_objective(LossConfig(), num_classes=10)


def _stacked(*losses):
    steps = len(losses)
    return ClassificationMetrics(
        count=jnp.full(steps, 4, jnp.int32),
        loss=jnp.array(losses, jnp.float32),
        correct=jnp.full(steps, 1, jnp.int32),
        correct_top5=jnp.full(steps, 4, jnp.int32),
    )


def _meter(clock, display, *, steps_per_epoch):
    return Meter(
        clock,
        display,
        zero=OBJECTIVE.metrics.empty,
        compute=OBJECTIVE.compute,
        steps_per_epoch=steps_per_epoch,
    )


@pytest.fixture
def meter():
    display = Display(100, 10, console=Console(file=io.StringIO()))
    return _meter(Clock(), display, steps_per_epoch=10)


def test_images_are_counted_over_epochs(meter):
    meter.add(2, _stacked(1.0, 2.0))
    meter.add(3, _stacked(3.0))
    assert meter.end_epoch() > 0
    meter.start_epoch()
    meter.add(4, _stacked(1.0))
    meter.end_epoch()
    assert meter.clock.images == 16
    assert 0 < meter.clock.step_seconds <= meter.tick().train_seconds


def test_a_clock_goes_on_from_what_is_stored():
    display = Display(1, 1, console=Console(file=io.StringIO()))
    meter = _meter(Clock(100.0, 50.0, 5000), display, steps_per_epoch=1)
    assert 100.0 < meter.tick().train_seconds < 101.0
    assert meter.clock.images_per_second == 100.0


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_the_first_step_without_a_finite_loss_is_named(meter, loss):
    meter.add(4, _stacked(1.0, loss, loss))
    with pytest.raises(DivergedError, match=f"step 3: the loss is {loss}"):
        meter.add(5, _stacked(1.0))


def test_the_last_call_is_read_too(meter):
    meter.add(1, _stacked(math.nan))
    with pytest.raises(DivergedError, match="step 1: the loss is nan"):
        meter.flush()
