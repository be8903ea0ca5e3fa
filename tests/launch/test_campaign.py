"""The campaign as a person starts it: tiny, in processes of its own."""

import json
import os
import time

import pytest

from launch.benchmark.campaign import conductor
from launch.benchmark.campaign.plan import PARTS, Part, Plan
from launch.benchmark.campaign.report import Report
from tests import quick_compilation
from tests.launch import processes

pytestmark = pytest.mark.slow


def _run(*arguments):
    return processes.run(
        "launch.bench",
        "--what=campaign",
        *arguments,
        limit_s=900,
        environment=quick_compilation.environment(),
    )


def test_a_dry_campaign_runs_all_parts(tmp_path):
    done = _run("--dry", "--seconds=600", f"--out={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert {name: result["status"] for name, result in results.items()} == dict.fromkeys(
        PARTS, "done"
    )
    summary = done.stdout.split("===== summary\n")[1]
    headers = [line.split("]")[0][1:] for line in summary.splitlines() if line[0] == "["]
    assert headers == list(PARTS)
    assert 0 < results["check"]["measurements"]["SVC, dual objective"]["float32"] < 1e-4
    assert results["svm"]["measurements"]["linear"]["accuracy"] == pytest.approx(
        results["svm_peers"]["measurements"]["scikit-learn, linear"]["accuracy"], abs=0.01
    )
    assert results["cifar_recipe"]["measurements"]["seed 0"]["finished"]
    assert results["tests"]["measurements"]["passed"] > 0


def test_missing_data_is_told_in_one_line(tmp_path):
    done = _run(f"--out={tmp_path}", f"--data_dir={tmp_path}", "--parts=cifar_recipe")
    assert done.returncode == 0
    assert "[cifar_recipe] failed in part" in done.stdout
    assert f"FAILED, InputError: --data_dir must have CIFAR-10, got {tmp_path}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry"], "--out must be given"),
        (["--out=x", "--parts=chek"], "--parts must be one of "),
        (["--out=x", "--parts=svm:soon"], "--parts: svm:soon: the time limit must be an int"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message):
    done = _run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def first(report: Report) -> None:
    """Measures something, then goes on for longer than it may."""
    report.note(speed=1.0)
    report.say("speed 1.0")
    time.sleep(60)


def second(report: Report) -> None:
    """Ends its process."""
    report.note(speed=2.0)
    os._exit(7)


def test_a_part_that_hangs_or_dies_keeps_its_measurements_and_costs_no_other(
    tmp_path, monkeypatch, capsys
):
    here = "tests.launch.test_campaign"
    parts = {"first": Part(f"{here}:first", 8.0), "second": Part(f"{here}:second", 30.0)}
    monkeypatch.setattr("launch.benchmark.campaign.plan.PARTS", parts)
    monkeypatch.setattr(conductor, "PARTS", parts)
    out, work = tmp_path / "out", tmp_path / "work"
    results = conductor.campaign(Plan(out, ("first", "second"), 60.0, tmp_path, work))
    assert results["first"]["status"] == "stopped after 8 s"
    assert results["second"]["status"] == "ended with status 7"
    assert [results[name]["measurements"] for name in parts] == [{"speed": 1.0}, {"speed": 2.0}]
    assert "  speed 1.0" in capsys.readouterr().out
