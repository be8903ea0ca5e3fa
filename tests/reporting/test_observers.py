"""Event files, read back by TensorBoard itself, and trackers, of which none can end a run."""

import sys
import types
from functools import partial

import numpy as np
import pytest

from jaxml.reporting.events import EventFile
from jaxml.reporting.observers import Observer, Observers
from jaxml.reporting.tracker import Tracker


def _write(folder, *, first_step, steps):
    file = EventFile(folder, first_step=first_step)
    for step in steps:
        file.scalars(step, {"loss": float(step)})
    file.flush()
    return file


def _read(folder):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed",
    )
    events = accumulator.EventAccumulator(str(folder), size_guidance=dict.fromkeys(
        (accumulator.SCALARS, accumulator.HISTOGRAMS, accumulator.IMAGES), 0
    ))  # fmt: skip
    return events.Reload()


def test_a_run_killed_five_times_has_each_step_once(tmp_path):
    killed = [  # 5 steps after a checkpoint; they are not closed before they are read
        _write(tmp_path, first_step=start, steps=range(start + 1, start + 16))
        for start in range(0, 50, 10)
    ]
    _write(tmp_path, first_step=50, steps=range(51, 61)).close()
    assert len(list(tmp_path.iterdir())) == 6
    try:
        scalars = _read(tmp_path).Scalars("loss")
    finally:
        for file in killed:
            file.close()
    assert [(event.step, event.value) for event in scalars] == [(i, float(i)) for i in range(1, 61)]


def test_tensorboard_reads_histograms_images_and_text(tmp_path):
    file = EventFile(tmp_path, first_step=0)
    values = np.random.default_rng(0).normal(size=(50, 20))
    file.histograms(3, {"stem/kernel": values})
    file.images(0, "batch", np.full((4, 8, 8, 1), 200, np.uint8))
    file.text(0, "config", "seed 3")
    file.close()
    events = _read(tmp_path)
    (histogram,) = events.Histograms("stem/kernel")
    assert histogram.step == 3
    shown = histogram.histogram_value
    assert shown.num == 1000
    assert (shown.min, shown.max) == (values.min(), values.max())
    assert shown.sum == pytest.approx(values.sum())
    assert shown.sum_squares == pytest.approx(np.linalg.norm(values) ** 2)
    below = [np.sum(values <= limit) for limit in shown.bucket_limit[:-1]]
    np.testing.assert_array_equal(np.cumsum(shown.bucket)[:-1], below)
    assert sum(shown.bucket) == 1000
    (image,) = events.Images("batch")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.width >= 16
    assert events.Tags()["tensors"] == ["config/text_summary"]


def test_tensorboard_reads_the_distribution_of_the_finite_values(tmp_path):
    file = EventFile(tmp_path, first_step=0)
    file.histograms(
        1, {"kernel": np.array([[np.nan, 1.0], [-np.inf, 3.0]]), "bias": np.full(1, np.nan)}
    )
    file.histograms(2, {"kernel": np.zeros((0, 3)), "bias": np.full(7, 2.5, np.float32)})
    file.close()
    events = _read(tmp_path)
    (kernel,), (bias,) = events.Histograms("kernel"), events.Histograms("bias")
    assert (kernel.step, kernel.histogram_value.num, kernel.histogram_value.sum) == (1, 2, 4.0)
    assert (bias.step, sum(bias.histogram_value.bucket), bias.histogram_value.min) == (2, 7, 2.5)


class _Failing(Observer):
    def scalars(self, step, values):
        raise OSError(28, "No space left on device")


def test_an_observer_that_fails_costs_one_line():
    said, received = [], []
    good = Observer()
    good.scalars = lambda step, values: received.append(step)  # type: ignore[method-assign]
    observers = Observers({"events": _Failing, "tracker": lambda: good}, say=said.append)
    for step in (1, 2):
        observers.scalars(step, {"loss": 1.0})
    observers.close()
    assert received == [1, 2]
    assert len(said) == 1
    assert said[0].startswith("warning: events failed: ")
    assert "No space left on device" in said[0]


def test_an_observer_that_cannot_be_created_costs_one_line():
    said = []
    observers = Observers(
        {"x": lambda: Tracker("no_such_tracker", project="p", name="n", config={})}, say=said.append
    )
    assert not observers
    assert "No module named 'no_such_tracker'" in said[0]


@pytest.mark.parametrize(("package", "options"), [("wandb", {"id": "run"}), ("trackio", {})])
def test_a_tracker_gets_what_the_interface_of_wandb_expects(monkeypatch, package, options):
    calls = []

    def record(called, *arguments, **named):
        calls.append((called, arguments, named))

    fake = types.ModuleType(package)
    for name in ("init", "log", "finish"):
        setattr(fake, name, partial(record, name))
    monkeypatch.setitem(sys.modules, package, fake)
    tracker = Tracker(package, project="p", name="run", config={"seed": 0})
    tracker.scalars(5, {"loss": 0.5})
    tracker.histograms(5, {"kernel": np.zeros(3)})
    tracker.close()
    init = {"project": "p", "name": "run", "config": {"seed": 0}, "resume": "allow", **options}
    assert calls == [("init", (), init), ("log", ({"loss": 0.5},), {"step": 5}), ("finish", (), {})]
