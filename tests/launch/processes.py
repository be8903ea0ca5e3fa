"""Runs of the launcher in processes of their own, for tests."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parent.parent.parent
MARK = "JAXML_TESTS_MARK"  # variable with a file that the driver creates when it acts
# Runs the launcher, and acts when it calls a function for the n-th time.
_DRIVER = """
import importlib, os, runpy, signal, sys, time
module, owner, name, count, act, *arguments = sys.argv[1:]
sys.argv = ["-m"]
import launch  # watches for signals, as `python -m launch.train` does
holder = importlib.import_module(module)
holder = getattr(holder, owner) if owner else holder
original, calls = getattr(holder, name), []

def wrapped(*given, **options):
    calls.append(given)
    if len(calls) == int(count):
        if act == "truncate":  # as of a machine that stops in the middle of a write
            os.ftruncate(given[0], os.fstat(given[0]).st_size // 2)
        if mark := os.environ.get("JAXML_TESTS_MARK"):
            open(mark, "w").close()  # its time is that of the action
        os.kill(os.getpid(), getattr(signal, act, signal.SIGKILL))
        time.sleep(1)
    return original(*given, **options)

setattr(holder, name, wrapped)
sys.argv = ["launch.train", "--config.log.report=false", *arguments]
runpy.run_module("launch.train", run_name="__main__")
"""


def start(*arguments: str, cache: Path) -> subprocess.Popen[str]:
    """Starts `launch.train`, without a report unless it is asked for.

    Args:
      arguments: of the command line.
      cache: folder of the compiled programs.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "launch.train", "--config.log.report=false", *arguments],
        cwd=ROOT,
        env=_environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop_at(
    moment: tuple[str, str, str, int], act: str, *arguments: str, cache: Path
) -> tuple[int, str]:
    """Starts `launch.train` and stops it at a moment (see `driven`).

    Returns:
      Its status and what it printed.
    """
    done = subprocess.run(
        [sys.executable, *driven(moment, act), *arguments],
        cwd=ROOT,
        env=_environment(cache),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _environment(cache: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def finish(*arguments: str, cache: Path) -> tuple[int, str]:
    """Runs `launch.train` to its end; returns its status and what it printed."""
    process = start(*arguments, cache=cache)
    output, _ = process.communicate(timeout=600)
    assert "Traceback" not in output
    return process.returncode, output


def driven(moment: tuple[str, str, str, int], act: str) -> list[str]:
    """Returns arguments of Python for a `launch.train` that stops itself at a moment.

    Args:
      moment: module, class or "", function, and the number of its call in which to act.
      act: name of a signal, or "truncate", which halves the file that `os.fsync` is called with
        before a SIGKILL.
    """
    return ["-c", _DRIVER, *map(str, moment), act]


def whole_run(folder: Path, *arguments: str) -> Path:
    """Finishes a run in `folder/run`, with its compiled programs next to it."""
    status, output = finish(*arguments, f"--workdir={folder / 'run'}", cache=folder / "compiled")
    assert status == 0, output
    return folder


def run(
    module: str,
    *arguments: object,
    limit_s: float = 300,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Runs a launcher to its end, with environment variables."""
    path = os.pathsep.join([str(ROOT), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


def outcome(workdir: Path) -> tuple[str, list[dict[str, float]]]:
    """The digest of the parameters of a finished run, and its metrics without the speeds."""
    result = json.loads((workdir / "result.json").read_text())
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    metrics = [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]
    return result["params_sha256"], metrics
