"""Runs the tests that matter on an accelerator."""

import re
import subprocess
import sys
from pathlib import Path

from launch import cli
from launch.benchmark import command
from launch.benchmark.campaign.report import Report

TESTS = (
    "tests/training/test_steps.py",
    "tests/training/test_experiment.py",
    "tests/training/test_loop.py",
    "tests/training/test_checkpoint.py",
    "tests/layers/test_conv.py",
    "tests/layers/test_batch_norm.py",
    "tests/layers/test_pool.py",
    "tests/layers/test_dense.py",
    "tests/losses",
    "tests/metrics",
    "tests/svm/kernel",
    "tests/svm/linear",
    "tests/optim",
)
DRY = ("tests/test_errors.py",)
WORKERS = 8
# The suite turns warnings into errors; those of plugins and deprecations depend on the versions.
PLUGINS = ("-pno:cacheprovider", "-pno:benchmark", "-Wdefault::DeprecationWarning")


def run(report: Report) -> None:
    """Runs the tests with products in full float32, and reports the results in time."""
    file = report.workdir / "tests.log"
    with file.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "pytest", "-v", "--tb=short", "--maxfail=60"]
            + (["-n0", *DRY] if report.dry else [f"-n{WORKERS}", f"--maxprocesses={WORKERS}"])
            + [*PLUGINS, *([] if report.dry else TESTS)],
            cwd=cli.ROOT,
            env=command.environment() | {"JAX_DEFAULT_MATMUL_PRECISION": "highest"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(max(1.0, report.left() - 4))
            ended = f"ended with status {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            ended = "was stopped at the time limit"
    _summarize(report, file, ended)


def _summarize(report: Report, file: Path, ended: str) -> None:
    text = file.read_text(errors="replace")
    print(text[-200_000:])
    outcomes = count(text)
    failed = sorted(name for name, outcome in outcomes.items() if outcome in ("FAILED", "ERROR"))
    passed = sum(outcome == "PASSED" for outcome in outcomes.values())
    report.note(passed=passed, failed_tests=failed, ended=ended)
    report.say(f"{passed} tests passed, {len(failed)} failed; pytest {ended}")
    for name in failed[:30]:
        report.say(f"failed: {name}")
    if not outcomes:
        report.say(next(iter(reversed(text.strip().splitlines())), "no output")[:200])
    if failed or not passed:
        report.fail("tests")


def count(text: str) -> dict[str, str]:
    r"""Returns the outcome of each test that the output of `pytest -v` names.

    >>> count("[gw1] [ 3%] PASSED tests/test_a.py::test_b \ntests/c.py::test_d FAILED [ 9%]")
    {'tests/test_a.py::test_b': 'PASSED', 'tests/c.py::test_d': 'FAILED'}
    """
    outcomes = "PASSED|FAILED|ERROR|SKIPPED|XFAIL"
    found = {}
    for line in text.splitlines():
        if match := re.match(rf"\[gw\d+\] \[ *\d+%\] ({outcomes}) (\S+::.*?)\s*$", line):
            found[match[2]] = match[1]
        elif match := re.match(rf"(\S+::.*?) ({outcomes})\b.*\[ *\d+%\]", line):
            found[match[1]] = match[2]
    return found
