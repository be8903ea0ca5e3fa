"""The predicted cost of a run."""

import dataclasses

import pytest

from jaxml.models import MODELS, summarize
from jaxml.training import plan
from tests import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured():
    return plan.measure_plan(tiny.config())


def test_operations_memory_and_time_are_those_of_the_step(measured):
    cost = summarize(MODELS["resnet_tiny"](num_classes=10), (8, 8, 1))
    assert measured.parameters == cost.parameters
    assert measured.model_flops == 6 * cost.multiply_adds * 478
    assert 0.3 < measured.xla_flops / measured.model_flops < 5
    assert measured.epoch_seconds == 3 * measured.step_seconds > 0
    assert measured.state_bytes > 2 * 4 * cost.parameters  # with the momentum
    assert measured.input_seconds == 0
    assert measured.largest.batch_size == 1436  # of 1437, on two devices
    assert not measured.largest.is_limited
    assert measured.largest.needed_bytes > measured.state_bytes


def test_advice_names_what_limits(measured):
    slow_input = dataclasses.replace(measured, step_seconds=1.0, input_seconds=2.0)
    assert slow_input.epoch_seconds == 6.0
    assert slow_input.advice(0.5) == ("input", "more CPU cores, and config.data.workers")
    assert measured.advice(0.1) == ("small operations", "config.batch_size=956 or more")
    assert measured.advice(0.5)[0] == "computation"
    assert measured.utilization(measured.model_flops / measured.step_seconds) == pytest.approx(1)


def test_estimates_scale_with_devices_and_their_peak(measured):
    one = plan.estimate(measured, plan.ACCELERATORS["a100"], 1)
    expected = 3 * measured.model_flops / (156e12 * plan.UTILIZATION)
    assert one.epoch_seconds == pytest.approx(expected)
    assert plan.estimate(measured, plan.ACCELERATORS["a100"], 4).epoch_seconds == pytest.approx(
        expected / 4
    )
    assert one.fits
    assert not plan.estimate(measured, plan.Accelerator(1.0, 1.0, 1.0), 1).fits
