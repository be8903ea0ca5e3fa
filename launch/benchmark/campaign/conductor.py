"""Runs the parts of a campaign one after another, each in a process with a time limit."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jaxml.io import atomic
from launch import cache
from launch.benchmark import command
from launch.benchmark.campaign.plan import PARTS, Plan

GRACE = 8.0  # seconds from SIGTERM to SIGKILL, in which a training run saves its state
UNOPTIMISED = "--xla_backend_optimization_level=0"


class Process:
    """The process of one part.

    Attributes:
      name: name of the part.
    """

    def __init__(self, name: str, plan: Plan, seconds: float) -> None:
        """Starts the process.

        Args:
          name: name of the part.
          plan: provides the folders.
          seconds: time limit.
        """
        self.name, self._log = name, plan.out / "campaign.log"
        self._file = plan.workdir / f"{name}.json"
        self._file.unlink(missing_ok=True)
        self._begin, self._limit, self._end = time.monotonic(), seconds, 0.0
        self._timed_out = False
        order = {
            "file": str(self._file),
            "seconds": seconds,
            "dry": plan.dry,
            "data_dir": str(plan.data_dir.absolute()),
            "workdir": str(plan.workdir.absolute()),
        }
        function = PARTS[name].function
        with self._log.open("ab") as log:
            log.write(f"\n===== {name}, at most {seconds:.0f} s\n".encode())
            log.flush()
            self._process = subprocess.Popen(  # noqa: S603
                (sys.executable, "-m", f"{__package__}.child", function, json.dumps(order)),
                env=environment(plan),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # so that all processes of the part can be ended together
            )

    def poll(self) -> bool:
        """Returns whether the part has ended; ends it at its time limit."""
        if self._end:
            return True
        if self._process.poll() is None:
            if time.monotonic() - self._begin < self._limit:
                return False
            self._timed_out = True
        self.stop()
        return True

    def stop(self) -> None:
        """Ends all processes of the part."""
        if self._end:
            return
        running = self._process.poll() is None
        self._timed_out |= running
        latest = time.monotonic() + GRACE
        if self._signal(signal.SIGTERM):
            while time.monotonic() < latest and (self._process.poll() is None or self._signal(0)):
                time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._end = time.monotonic()

    def result(self) -> dict[str, Any]:
        """Returns `status`, `seconds`, `lines` and `measurements` so far."""
        found: dict[str, Any] = {"lines": [], "measurements": {}}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._file.read_text())
        return {
            "status": self._status(),
            "seconds": (self._end or time.monotonic()) - self._begin,
            **found,
        }

    def _status(self) -> str:
        if not self._end:
            return "running"
        if self._timed_out:
            return f"stopped after {self._end - self._begin:.0f} s"
        code = self._process.returncode
        return {0: "done", 1: "failed in part"}.get(code, f"ended with status {code}")

    def _signal(self, number: int) -> bool:
        """Sends a signal to all processes of the part; returns whether there are any."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


def campaign(plan: Plan) -> dict[str, Any]:
    """Runs the parts, prints their lines and finally a summary.

    Stops background parts when the others have ended.

    Returns:
      The result of each part, as in campaign.json.

    Raises:
      InputError: a setting is wrong.
    """
    plan.check()
    end = time.monotonic() + plan.seconds
    limits = plan.limits()
    (plan.out / "campaign.log").write_bytes(b"")
    order = sorted(limits, key=lambda name: not PARTS[name].background)
    processes: list[Process] = []
    try:
        for name in order:
            left = end - time.monotonic()
            if left < min(5.0, limits[name]):
                print(f"[{name}] omitted, no time is left", flush=True)
                continue
            process = Process(name, plan, min(limits[name], left))
            processes.append(process)
            if not PARTS[name].background:
                _wait(process, processes, plan)
        if all(PARTS[process.name].background for process in processes):
            for process in processes:
                _wait(process, processes, plan)
    finally:
        for process in processes:
            process.stop()
        results = _write(processes, plan)
    print("\n===== summary", flush=True)
    for name in sorted(results, key=list(PARTS).index):
        _print(name, results[name])
    return results


def environment(plan: Plan) -> dict[str, str]:
    """Returns the environment of a part: no preallocation of memory, a compilation cache."""
    given = command.environment()
    if plan.dry:  # optimization takes longer than the tiny programs
        given["XLA_FLAGS"] = f"{given.get('XLA_FLAGS', '')} {UNOPTIMISED}".strip()
    return {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        cache.FOLDER: str(plan.workdir.absolute() / "compiled"),
        "PYTHONUNBUFFERED": "1",
    } | given


def _wait(process: Process, processes: list[Process], plan: Plan) -> None:
    """Waits for one part; regularly copies the results of all parts into campaign.json."""
    written = time.monotonic()
    while not process.poll():
        time.sleep(0.05)
        for other in processes:
            other.poll()
        if time.monotonic() - written > 2:
            _write(processes, plan)
            written = time.monotonic()
    results = _write(processes, plan)
    _print(process.name, results[process.name])


def _write(processes: list[Process], plan: Plan) -> dict[str, Any]:
    results = {process.name: process.result() for process in processes}
    atomic.write(Path(plan.out / "campaign.json"), json.dumps(results, indent=1).encode())
    return results


def _print(name: str, result: dict[str, Any]) -> None:
    print(f"[{name}] {result['status']}, {result['seconds']:.1f} s", flush=True)
    for line in result["lines"]:
        print(f"  {line}", flush=True)
