"""The first step of a run, as it is noticed from outside."""

import sys

import pytest

from launch.benchmark import startup
from launch.benchmark.settings import Settings
from launch.benchmark.worker import WorkerError

# Writes what a run writes after an epoch of 4 steps, and goes on for ever.
RUN = """
import pathlib, sys, time
workdir = pathlib.Path(sys.argv[1].removeprefix("--workdir="))
workdir.mkdir()
time.sleep(0.5)
line = '{"step": 4, "count": 4, "images_per_second": 40.0}'
with (workdir / "metrics.jsonl").open("w") as file:
    file.write(line[:5])
    file.flush()
    time.sleep(0.2)
    file.write(line[5:] + chr(10))
time.sleep(600)
"""


@pytest.mark.slow
def test_the_first_step_is_seen_and_the_run_is_ended(monkeypatch, capsys):
    monkeypatch.setattr(startup, "COMMAND", (sys.executable, "-c", RUN))
    found = startup.startup(Settings(what="startup", repeats=2))
    (result,) = found["results"]
    cold, warm = result["competitors"]["jaxml_cold"], result["competitors"]["jaxml_warm"]
    assert len(cold["seconds"]) == len(warm["seconds"]) == 2
    # Of the tenth of a second that the epoch took, all but the first step is not counted.
    assert cold["min_seconds"] > 0.7 - 0.1
    assert cold["images_per_second"] is None
    assert capsys.readouterr().out.count("jaxml_") == 3


def test_a_run_that_ends_early_is_told(monkeypatch):
    command = (sys.executable, "-c", "import sys; sys.exit('error: no room')")
    monkeypatch.setattr(startup, "COMMAND", command)
    with pytest.raises(WorkerError, match=r"^the training command ended: error: no room$"):
        startup.startup(Settings(what="startup", repeats=1))
