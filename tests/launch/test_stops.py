"""300 random stops of five runs change no parameter and no metric.

    python -m pytest tests/launch/test_stops.py --large -n2 --dist=load

takes about half an hour. A stop is a SIGKILL, SIGTERM, SIGINT or SIGHUP, or two in a row, at a
random moment: from the start of the process on, or within the last second of the run.
"""

import random
import re
import signal
import threading
import time

import pytest

from tests import stops as campaign
from tests.launch.processes import finish, outcome, start

STOPS = 60  # for each run
KIND = "one process, random signals"
SECONDS = 10.0  # from the signal to the end of the process, at most
SIGNALS = [
    (signal.SIGKILL,),
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGHUP,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGINT, signal.SIGTERM),
]
DIGITS = ("--config.model.name=resnet_tiny", "--config.optim.warmup_epochs=1")
RUNS = {
    "momentum": (*DIGITS, "--config.num_epochs=20", "--config.eval_every_epochs=1"),
    "adam": (
        *DIGITS,
        "--config.optim.name=adam",
        "--config.optim.learning_rate=0.01",
        "--config.average.name=ema",
        "--config.checkpoint.every_steps=3",
        "--config.num_epochs=10",
    ),
    "swa": (
        *DIGITS,
        "--config.model.name=linear",
        "--config.data.augment=",
        "--config.average.name=swa",
        "--config.optim.schedule=one_cycle",
        "--config.steps_per_call=4",
        "--config.num_epochs=60",
    ),
    "sharpness": (
        *DIGITS,
        "--config.optim.sharpness_radius=0.05",
        "--config.optim.accumulate_steps=2",
        "--config.average.name=lookahead",
        "--config.model.dtype=bfloat16",
        "--config.num_epochs=10",
    ),
    "tabular": ("--config=configs/breast_cancer_logistic.py", "--config.checkpoint.every_steps=5"),
}


@pytest.fixture(autouse=True)
def default_signals():
    """Lets the runs start with the signals of a terminal, whoever started the tests."""
    before = [
        (signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler)),
        (signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL)),
    ]
    yield
    for signum, handler in before:
        signal.signal(signum, handler)


@pytest.mark.large
@pytest.mark.parametrize("name", RUNS)
def test_random_stops_change_nothing(name, tmp_path, record_property):
    chance, cache = random.Random(name), tmp_path / "compiled"  # noqa: S311
    status, output = finish(*RUNS[name], f"--workdir={tmp_path / 'whole'}", cache=cache)
    assert status == 0, output
    begin = time.monotonic()
    finish(*RUNS[name], f"--workdir={tmp_path / 'again'}", cache=cache)
    seconds = time.monotonic() - begin
    expected, stops, folders = outcome(tmp_path / "whole"), 0, 0
    assert outcome(tmp_path / "again") == expected
    while stops < STOPS:
        workdir, folders = tmp_path / f"run{folders}", folders + 1
        while not (workdir / "result.json").exists() and stops < STOPS:
            was_running, took = _stopped(name, workdir, cache, chance, seconds)
            stops += was_running
            campaign.record(record_property, KIND, stops=was_running, seconds=took)
        status, output = finish(*RUNS[name], f"--workdir={workdir}", cache=cache)
        assert status == 0, output
        campaign.record(record_property, KIND, runs=1, equal=outcome(workdir) == expected)
        assert outcome(workdir) == expected


def _stopped(name, workdir, cache, chance, seconds):
    """Starts or resumes a run and stops it.

    Returns:
      Whether it was still running at the signal, and the seconds from then to its end.
    """
    lines, late = [], threading.Event()
    with start(*RUNS[name], f"--workdir={workdir}", cache=cache) as process:
        reader = threading.Thread(target=_read, args=(process, lines, late))
        reader.start()
        if chance.random() < 0.3:
            late.wait(timeout=300)
            time.sleep(chance.uniform(0, 1))
        else:
            time.sleep(chance.uniform(0, seconds))
        running, signals = process.poll() is None, chance.choice(SIGNALS)
        if not lines:  # Python itself answers SIGINT with a traceback until it loads the launcher
            signals = [signal.SIGTERM if s is signal.SIGINT else s for s in signals]
        begin = time.monotonic()
        for signum in signals:
            begin = time.monotonic()
            process.send_signal(signum)
            time.sleep(chance.uniform(0, 0.3) if len(signals) > 1 else 0)
        try:
            process.wait(60)
        finally:
            process.kill()
            reader.join()
        took = time.monotonic() - begin
    output = "".join(lines)
    assert took <= SECONDS, f"{took:.1f} s after {signals}: {output}"
    assert "Traceback" not in output, output
    assert "rror" not in output, output
    return running, took


def _read(process, lines, late):
    """Reads the output; tells when the run is in its last epochs, or over."""
    for line in process.stdout:
        lines.append(line)
        match = re.match(r"epoch (\d+)/(\d+) ", line)
        if match and int(match[1]) >= int(match[2]) * 0.8:
            late.set()
    late.set()
