"""A stall is reported once, with what the run waits for; progress is not reported."""

import contextlib
import re
import threading
import time

import pytest

from jaxml.config import LogConfig
from jaxml.training import loop
from jaxml.training.loop import train_and_evaluate
from jaxml.training.watchdog import Stall, Watchdog
from tests import tiny
from tests.training import training_calls

LIMIT_S = 0.05
PATIENCE_S = 20.0  # of the test, on a busy machine


class Stalls(list):
    """Collects stalls, and waits for a number of them."""

    def __init__(self):
        super().__init__()
        self._more = threading.Condition()

    def add(self, stall):
        """Adds a stall, on the thread of the watchdog."""
        with self._more:
            self.append(stall)
            self._more.notify_all()

    def wait(self, count):
        """Waits until there are `count` stalls."""
        with self._more:
            assert self._more.wait_for(lambda: len(self) >= count, PATIENCE_S)


def test_a_stall_is_reported_once_until_a_step_ends():
    stalls, begin = Stalls(), time.time()
    with Watchdog(LIMIT_S, stalls.add, step=3) as watchdog:
        watchdog.waits_for("the input")
        stalls.wait(1)
        time.sleep(4 * LIMIT_S)
        assert len(stalls) == 1
        watchdog.step_ended(4)
        watchdog.waits_for("the device")
        stalls.wait(2)
    first, second = stalls
    assert (first.step, first.waits_for) == (3, "the input")
    assert (second.step, second.waits_for) == (4, "the device")
    assert first.seconds >= LIMIT_S
    assert begin <= first.since <= second.since <= time.time()


def test_steps_in_time_are_no_stall():
    stalls = Stalls()
    with Watchdog(60.0, stalls.add) as watchdog:
        for step in range(3):
            watchdog.step_ended(step)
    assert not stalls


def test_the_time_before_the_context_does_not_count():
    stalls = Stalls()
    watchdog = Watchdog(LIMIT_S, stalls.add)
    time.sleep(2 * LIMIT_S)
    begin = time.time()
    with watchdog:
        stalls.wait(1)
    assert stalls[0].since >= begin


@pytest.mark.parametrize("limit_s", [None, 0.01])
def test_no_thread_is_left(limit_s):
    before = threading.active_count()
    with Watchdog(limit_s, lambda _: None):
        assert threading.active_count() == before + (limit_s is not None)
    assert threading.active_count() == before


def test_a_stall_is_described_in_one_line():
    text = str(Stall(66, "the device", time.mktime((2026, 3, 1, 9, 5, 7, 0, 0, -1)), 300.4))
    assert text == (
        "no step has ended for 300 s: waiting for the device after step 66, since "
        "2026-03-01 09:05:07"
    )


def _slow_once(call, seconds):
    """Returns a function that takes some seconds when it is called for the `call`-th time."""
    calls = []

    def wait(*_):
        calls.append(1)
        if len(calls) == call:
            time.sleep(seconds)

    return wait


def _stalls_of_a_run(workdir, capsys):
    log = LogConfig(report=False, stall_seconds=1.0)
    train_and_evaluate(tiny.config(num_epochs=2, log=log), workdir)
    return re.findall(r"^warning: no step has ended for .*", capsys.readouterr().out, re.M)


@pytest.mark.slow
def test_a_stalled_input_is_reported_by_the_run(tmp_path, capsys, monkeypatch):
    wait, feed = _slow_once(5, 2.0), loop.train_feed

    @contextlib.contextmanager
    def stalled_feed(*arguments):
        with feed(*arguments) as take:
            yield lambda num_steps: (wait(), take(num_steps))[1]

    monkeypatch.setattr(loop, "train_feed", stalled_feed)
    (line,) = _stalls_of_a_run(tmp_path, capsys)
    # The metrics of the fourth call are read once the fifth is under way.
    assert line.startswith("warning: no step has ended for 1 s: waiting for the input after step 3")


@pytest.mark.slow
def test_a_stalled_device_is_reported_by_the_run(tmp_path, capsys, monkeypatch):
    wait = _slow_once(3, 2.0)

    def stall(state, _):
        wait()
        return state

    training_calls.before_each(monkeypatch, stall)
    (line,) = _stalls_of_a_run(tmp_path, capsys)
    assert line.startswith(
        "warning: no step has ended for 1 s: waiting for the device after step 1"
    )


@pytest.mark.slow
def test_a_stalled_evaluation_is_reported_by_the_run(tmp_path, capsys, monkeypatch):
    wait, evaluate = _slow_once(1, 2.0), loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *given: (wait(), evaluate(*given))[1])
    (line,) = _stalls_of_a_run(tmp_path, capsys)
    assert line.startswith(
        "warning: no step has ended for 1 s: waiting for the evaluation after step 3"
    )
