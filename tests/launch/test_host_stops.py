"""200 jobs of two processes that are stopped once and started again reach the same bits.

    python -m pytest tests/launch/test_host_stops.py --large -n2 --dist=load

takes about an hour on two cores, and prints a table of the stops at its end. `-k run-01` selects
the runs 10 to 19, and `-k kill_one` those of a kind. With the files `test_stops.py`,
`test_stop_moments.py` and `test_full_disk.py`, the table counts the stops of single processes too.

The number of a run seeds its random choices: the process, and the moment. A scheduler is simulated
that starts the same command again once every process has ended. The bounds of the time from the
stop to that end hold on a busy machine.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from launch.supervise import RESTART
from tests import stops
from tests.launch import jobs
from tests.launch.processes import MARK, driven, outcome
from tests.launch.test_stop_moments import MOMENTS

COUNT = 200
STALL_SECONDS = 20
LIMIT = STALL_SECONDS + 10.0  # seconds from a stop to the end of every process
SIGTERM_LIMIT = 10.0  # if both processes saved their state
TRIES = 3
EVERY, LAST = 3, 66  # steps between two checkpoints, and of the whole run
# A state that every process holds, and one that is sharded over the processes.
CONFIGS = {
    "replicated": (1, "--config.mesh.fsdp=1"),
    "sharded": (2, "--config.mesh.fsdp=4"),
}
RUN = (
    "--config.model.name=mlp",
    "--config.model.hidden_features=64",
    "--config.batch_size=128",
    "--config.num_epochs=6",
    "--config.eval_every_epochs=1",
    f"--config.checkpoint.every_steps={EVERY}",
    f"--stall_seconds={STALL_SECONDS}",
)
SAVED = {128 + signal.SIGTERM, -signal.SIGTERM}  # the latter before the launcher is loaded
KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}


class Job:
    """Two processes of a run that have been started; nothing is left of them after the context."""

    def __init__(self, name, port, workdir, *extra, driver=None, mark=""):
        devices, *settings = CONFIGS[name]
        environment = {"JAX_NUM_CPU_DEVICES": f"{devices}", MARK: f"{mark}"}
        self.workdir = workdir
        self.processes = [
            jobs.start(port, k, workdir, *RUN, *settings, *extra, environment=environment,
                       program=driver[1] if driver and driver[0] == k else jobs.LAUNCHER)
            for k in (0, 1)
        ]  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for k in (0, 1):
            self.send(signal.SIGKILL, k, "both")
        for process in self.processes:
            process.communicate()

    def send(self, signum, k, target="child"):
        """Sends a signal to the parent, its child or both; the child may not exist yet."""
        parent = self.processes[k].pid
        with contextlib.suppress(OSError):
            if target == "both":
                os.killpg(parent, signum)
            elif target == "parent":
                os.kill(parent, signum)
            else:
                children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                os.kill(int(children[0]) if children else parent, signum)

    def wait(self, limit_s):
        """Waits until every process has ended; returns their statuses and what they printed."""
        deadline, outputs = time.monotonic() + limit_s, []
        for process in self.processes:
            try:
                left = deadline - time.monotonic()
                outputs.append("".join(process.communicate(timeout=max(left, 0.1))))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"no end within {limit_s:g} s; {outputs}") from None
        return [process.returncode for process in self.processes], outputs


class Kind(NamedTuple):
    """A kind of stop.

    Attributes:
      act: stops a job, with a generator of random numbers and the number of a process.
      statuses: with which the processes may end, beyond 0 and `RESTART`.
    """

    act: Callable[[Job, random.Random, int], None]
    statuses: set[int]


def _kill_one(job, chance, k):
    job.send(signal.SIGKILL, k, chance.choice(["child", "both"]))


def _kill_parent(job, chance, k):
    job.send(signal.SIGKILL, k, "parent")


def _kill_both(job, chance, k):
    for process in (k, 1 - k):
        job.send(signal.SIGKILL, process, "both")
        time.sleep(chance.choice([0, 0, chance.uniform(0, 0.5)]))


def _term_one(job, chance, k):
    job.send(signal.SIGTERM, k, chance.choice(["parent", "both"]))


def _term_both(job, chance, k):
    target = chance.choice(["parent", "both"])
    for process in (k, 1 - k):
        job.send(signal.SIGTERM, process, target)


def _stop_one(job, chance, k):
    target = chance.choice(["child", "both"])
    job.send(signal.SIGSTOP, k, target)
    if target == "both":  # a host that hangs is ended by the scheduler, after the other one
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.processes[1 - k].wait(LIMIT)
        job.send(signal.SIGKILL, k, "both")


def _remove(job, chance, k):
    shutil.rmtree(job.workdir, ignore_errors=True)


RANDOM = {
    "kill_one": Kind(_kill_one, KILLED),
    "kill_parent": Kind(_kill_parent, KILLED | SAVED),
    "kill_both": Kind(_kill_both, KILLED),
    "term_one": Kind(_term_one, SAVED),
    "term_both": Kind(_term_both, SAVED),
    "stop_one": Kind(_stop_one, KILLED),
    "remove_folder": Kind(_remove, {2}),
}
PHASES = ("compilation", "training", "evaluation", "copy of a checkpoint", "last checkpoint")
KINDS = (*RANDOM, "moment", "half_write", "full_disk")
# The first ones of some kinds are quick enough for the whole suite.
QUICK = ("kill_one", "term_one", "moment", "half_write")


def _cases():
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        is_quick = number < len(KINDS) and kind in QUICK
        marks = pytest.mark.slow if is_quick else pytest.mark.large
        yield pytest.param(number, kind, id=f"run-{number:03}-{kind}", marks=marks)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Returns a function that gives the outcome of an unbroken job."""
    found = {}

    def expected(name):
        if name not in found:
            workdir = tmp_path_factory.mktemp(name) / "run"
            with Job(name, jobs.free_port(), workdir, "--stall_seconds=120") as job:
                statuses, outputs = job.wait(180)
            assert statuses == [0, 0], "\n".join(outputs)
            found[name] = outcome(workdir)
        return found[name]

    return expected


def _await_moment(job, chance):
    """Waits for a random moment in the start of a job, or after a random checkpoint."""
    if chance.random() < 0.3:
        time.sleep(chance.uniform(0, 8))
        return
    step = chance.choice(range(EVERY, LAST + 1, EVERY))
    while all(process.poll() is None for process in job.processes):
        saved = [int(path.stem) for path in job.workdir.glob("checkpoints/*.safetensors")
                 if path.stem.isdecimal()]  # fmt: skip
        if max(saved, default=0) >= step:
            break
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.3))


def _stop_randomly(kind, name, port, workdir, chance):
    with Job(name, port, workdir) as job:
        _await_moment(job, chance)
        begin = time.monotonic()
        RANDOM[kind].act(job, chance, chance.randrange(2))
        statuses, outputs = job.wait(120)
        return statuses, outputs, time.monotonic() - begin


def _stop_at(moment, act, name, port, workdir, chance):
    """Lets a process stop itself at a moment."""
    sharded = name == "sharded"
    k = chance.randrange(2) if act != "truncate" or sharded else 0  # process 0 alone writes
    mark = workdir.with_name("mark")
    with Job(name, port, workdir, driver=(k, driven(moment, act)), mark=mark) as job:
        statuses, outputs = job.wait(120)
    assert mark.exists(), outputs
    return statuses, outputs, time.time() - mark.stat().st_mtime


def _finish(name, port, workdir, *extra):
    with Job(name, port, workdir, *extra) as job:
        return job.wait(120)


def _restart(name, port, workdir, *extra):
    """Starts a job until it does not ask for a restart, which a busy machine may cause."""
    for _ in range(TRIES - 1):
        statuses, outputs = _finish(name, port, workdir, *extra)
        if set(statuses) != {RESTART}:
            return statuses, outputs
    return _finish(name, port, workdir, *extra)


def _check(kind, allowed, statuses, outputs, seconds):
    """Checks the ends of the processes: no traceback, at most one error each, in time."""
    for output in outputs:
        assert "Traceback" not in output, output
        assert "Fatal Python" not in output, output
        assert output.count("error:") <= 1, output
    assert set(statuses) <= {0, RESTART} | allowed, f"{statuses}\n" + "\n".join(outputs)
    both_saved = set(statuses) <= SAVED
    limit = SIGTERM_LIMIT if both_saved else LIMIT
    finished = not any(statuses)  # such as a job whose folder was removed before it began
    assert finished or seconds <= limit, (
        f"{seconds:.1f} s after {kind}, statuses {statuses}: {outputs}"
    )


@pytest.mark.parametrize(("number", "kind"), list(_cases()))
def test_a_stopped_job_resumes_to_the_same_bits(
    number, kind, whole, disk, tmp_path, record_property
):
    chance, port, workdir, extra = random.Random(number), jobs.free_port(), tmp_path / "run", ()  # noqa: S311
    name = list(CONFIGS)[number // len(KINDS) % 2]
    expected = whole(name)
    title = f"two processes, {kind.replace('_', ' ')}"
    stops.record(record_property, title, stops=1, runs=1)
    if kind in RANDOM:
        allowed = RANDOM[kind].statuses
        end = _stop_randomly(kind, name, port, workdir, chance)
    elif kind == "moment":
        act, phase = chance.choice(["SIGTERM", "SIGKILL", "SIGSTOP"]), chance.choice(PHASES)
        allowed = KILLED | SAVED
        end = _stop_at(MOMENTS[phase], act, name, port, workdir, chance)
    elif kind == "half_write":
        allowed = KILLED
        moment = ("jaxml.io.atomic", "os", "fsync", chance.randrange(1, 40, 2))
        end = _stop_at(moment, "truncate", name, port, workdir, chance)
    else:
        allowed, extra = {2}, ("--config.checkpoint.keep=100",)
        workdir = disk(4096 * chance.randrange(3, 250)) / "run"
        end = *_finish(name, port, workdir, *extra), 0.0
        disk("64m")
    print(f"{name}: statuses {end[0]} {end[2]:.1f} s after {kind}; {end[1]}")  # noqa: T201
    _check(kind, allowed, *end)
    if kind == "remove_folder":
        shutil.rmtree(workdir, ignore_errors=True)
    statuses, outputs = _restart(name, port, workdir, *extra)
    assert statuses == [0, 0], "\n".join(outputs)
    assert outcome(workdir) == expected
    assert not list(workdir.rglob("*.partial"))
    stops.record(record_property, title, equal=1, seconds=end[2])
