"""Which calls are traced, what is said of them, and that a run is the same with and without."""

import contextlib
import json
import re

import jax
import pytest

from jaxml.reporting import _trace
from jaxml.reporting._trace import Span, self_times
from jaxml.reporting.operations import Operation, parse_operations, report
from jaxml.reporting.profile import Profile
from jaxml.training.loop import train_and_evaluate
from tests import tiny
from tests.training import training_calls


@pytest.fixture
def traces(monkeypatch):
    """What is started and stopped, in the place of a profiler."""
    events = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda *_, **__: events.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: events.append("stop"))
    return events


def _calls(steps, events, folder, *, first, count, last):
    """Takes steps in calls of `count`; notes each, beside the events of the profiler."""
    with contextlib.closing(Profile(steps, folder, lambda line: None)) as profile:
        for step in range(first, last, count):
            profile.before_call(step, count, ())
            events.append(step)
            profile.after_call(step + count, (), str)


@pytest.mark.parametrize(
    ("first", "count", "wanted"),
    [
        (0, 1, [0, 1, "start", 2, 3, "stop", 4, 5, 6, 7]),
        (0, 2, [0, "start", 2, "stop", 4, 6]),
        (1, 2, ["start", 1, 3, "stop", 5, 7]),
        (0, 8, ["start", 0, "stop"]),
        (3, 1, ["start", 3, "stop", 4, 5, 6, 7]),  # goes on within the range
        (4, 2, [4, 6]),  # goes on behind it
    ],
)
def test_the_calls_that_take_a_step_of_the_range_are_traced_whole(
    traces, tmp_path, first, count, wanted
):
    _calls(range(2, 4), traces, tmp_path, first=first, count=count, last=8)
    assert traces == wanted


def test_an_empty_range_traces_nothing(traces, tmp_path):
    _calls(range(0), traces, tmp_path, first=0, count=1, last=2)
    assert traces == [0, 1]


def test_a_trace_that_is_cut_short_is_ended(traces, tmp_path):
    with contextlib.closing(Profile(range(2), tmp_path, print)) as profile:
        profile.before_call(0, 1, ())
    assert traces == ["start", "stop"]


def test_each_moment_is_of_the_operation_that_began_last():
    spans = [
        Span(0, 100, "while"),
        Span(10, 60, "call"),
        Span(20, 30, "add"),
        Span(90, 110, "copy"),  # begins in the loop and ends behind it
        Span(105, 109, "add"),
        Span(200, 201, "while"),
    ]
    assert self_times(spans) == {"while": 41, "call": 40, "add": 14, "copy": 16}
    assert self_times(reversed(spans)) == self_times(spans)
    assert not self_times([])


def test_a_program_says_the_shape_and_the_place_of_its_operations():
    text = """HloModule jit_step, entry_computation_layout={()->f32[]}
%body (a: f32[4]) -> f32[4] {
  ROOT %fusion.2 = (f32[4,2]{1,0:T(8,128)}, /*index=1*/s32[]) fusion(%a), kind=kLoop, \
metadata={op_name="jit(f)/transpose(jvp(ResNet))/ResNet.stages/stem/conv" source_line=3}
  conv = bf16[8]{0} convolution(%a, %b), metadata={op_name="jit(f)/jvp(ResNet)/a/add;jit(f)/mul"}
  %copy = (f32[3,3,16,16], f32[3,3,16,16], f32[16]) copy(%a)
  %ffi_call.1 = f32[4]{0} custom-call(%a), custom_call_target="__onednn$convolution", \
metadata={op_name="jit(f)/jvp(ResNet)/stem/conv/ffi_call"}
}"""
    assert parse_operations(text) == {
        "fusion.2": Operation("(f32[4,2], s32[])", "backward stem/conv"),
        "conv": Operation("bf16[8]", "forward a/add"),
        "copy": Operation("(f32[3,3,16,16], f32[3,3,16,1...", ""),
        "ffi_call.1": Operation("f32[4]", "forward stem/conv/ffi_call"),
        "ffi_call.1__onednn$convolution": Operation("f32[4]", "forward stem/conv/ffi_call"),
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The digest of a run without a profile."""
    return train_and_evaluate(tiny.config(), tmp_path_factory.mktemp("plain"))["params_sha256"]


@pytest.mark.slow
def test_a_profiled_run_is_the_same_run_and_says_what_took_its_time(plain, tmp_path, capsys):
    config = tiny.config(profile="2:5")  # over the end of an epoch, with its evaluation
    assert train_and_evaluate(config, tmp_path)["params_sha256"] == plain
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(f"steps 2 to 4 are profiled in {tmp_path / 'profile'}")
    whole = re.fullmatch(r" +([\d.]+) ms a step in operations, over all threads:", lines[start + 1])
    assert whole
    rows = [
        re.fullmatch(r" +([\d.]+) ms +([\d.]+)%  (.*)", line) for line in lines[start + 2 :][:11]
    ]
    assert all(rows)
    times, shares, names = zip(*(row.groups() for row in rows if row), strict=True)
    assert sum(map(float, times)) == pytest.approx(float(whole[1]), abs=0.01)
    assert sum(map(float, shares)) == pytest.approx(100, abs=1)
    assert sorted(map(float, times[:10]), reverse=True) == list(map(float, times[:10]))
    assert re.fullmatch(r"\d+ others", names[-1])
    # It is the training step, not the evaluation on its way, so there is a way back, too.
    assert any(" forward st" in name for name in names)
    assert any(" backward st" in name for name in names)


@pytest.mark.slow
def test_a_run_goes_on_with_another_profile_and_past_it_with_none(plain, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(state, _):
        if int(state.step) == 4:
            raise Killed
        return state

    with monkeypatch.context() as patch:
        training_calls.before_each(patch, kill)
        with pytest.raises(Killed):
            train_and_evaluate(tiny.config(profile="4:6"), tmp_path)  # killed while it is traced
    traces = list((tmp_path / "profile").rglob("*.xplane.pb"))
    result = train_and_evaluate(tiny.config(profile="1:3"), tmp_path)
    assert result["params_sha256"] == plain
    assert list((tmp_path / "profile").rglob("*.xplane.pb")) == traces
    assert json.loads((tmp_path / "config.json").read_text())["profile"] == "1:3"


READERS = {
    "aborts": ("import os; os.abort()", "the child process ended with status -6: no message"),
    "hangs": ("import time; time.sleep(60)", "the child process took more than 1 s"),
    "stops early": ("print('{')", "the child process did not finish"),
    "is missing": ("from jax.profiler import NoData", "the child process ended with status 1: Imp"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "message"), READERS.values(), ids=READERS)
def test_a_trace_that_cannot_be_read_costs_one_line(code, message, tmp_path, monkeypatch):
    (tmp_path / "x.xplane.pb").touch()
    monkeypatch.setattr(_trace, "_PROGRAM", ("-c", code))
    if "sleep" in code:
        monkeypatch.setattr(_trace, "LIMIT_S", 1)
    (line,) = report(tmp_path, range(1), "HloModule jit_step")
    assert line.startswith(f"the trace cannot be read: {message}")
    assert line.endswith("; XProf and Perfetto can show it")


@pytest.mark.slow
def test_a_run_whose_trace_cannot_be_read_is_the_same_run(plain, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_trace, "_PROGRAM", ("-c", "import os; os.abort()"))
    config = tiny.config(profile="0:1")
    assert train_and_evaluate(config, tmp_path)["params_sha256"] == plain
    output = capsys.readouterr().out
    assert output.count("the trace cannot be read") == 1
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1


def test_no_trace_costs_one_line(tmp_path):
    assert list(report(tmp_path, range(1), "")) == ["the profiler wrote no trace"]


@pytest.mark.parametrize("failing", ["start_trace", "stop_trace"])
@pytest.mark.parametrize("error", [RuntimeError("busy\nnow"), OSError(28, "No space left")])
def test_a_profiler_that_fails_costs_one_line(traces, tmp_path, monkeypatch, failing, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(jax.profiler, failing, fail)
    lines = []
    with contextlib.closing(Profile(range(1), tmp_path, lines.append)) as profile:
        profile.before_call(0, 1, ())
        profile.after_call(1, (), str)
    (line,) = lines
    assert line.startswith("the profiler failed: ")
    assert "\n" not in line
    lines.clear()
    with contextlib.closing(Profile(range(2), tmp_path, lines.append)) as profile:
        profile.before_call(0, 1, ())  # cut short
    assert len(lines) == 1
