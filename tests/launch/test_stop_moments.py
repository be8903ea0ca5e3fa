"""A stop at each moment of a run, and a folder that goes away, change no parameter and no metric.

    python -m pytest tests/launch/test_stops.py tests/launch/test_stop_moments.py \
        tests/launch/test_full_disk.py --large -n2 --dist=load

is the whole campaign: 300 random stops, the moments that they rarely hit, and full disks. The tests
of a folder that cannot be written mount file systems, and are skipped where that is not permitted.
"""

import shutil
import signal
import subprocess

import pytest

from tests import stops
from tests.launch.processes import finish, outcome, start, stop_at, whole_run

pytestmark = pytest.mark.large

RUN = (
    "--config.model.name=resnet_tiny",
    "--config.optim.warmup_epochs=1",
    "--config.eval_every_epochs=1",
    "--config.num_epochs=4",
    "--config.checkpoint.every_steps=5",
)
CHECKPOINT = "jaxml.training.checkpoint"
# (module, class, function, call) in which the signal arrives.
MOMENTS = {
    "start": ("jaxml.training.loop", "", "create_experiment", 1),
    "compilation": ("jaxml.training.loop", "", "compile_steps", 1),
    "initialization": ("jaxml.training.loop", "", "initial_state", 1),
    "training": ("jaxml.training.loop", "", "train_call", 8),
    "evaluation": ("jaxml.training.loop", "", "evaluate", 2),
    "metrics": ("jaxml.training.workdir", "Workdir", "append_metrics", 3),
    "copy of a checkpoint": (CHECKPOINT, "CheckpointWriter", "save", 3),
    "encoding of a checkpoint": (CHECKPOINT, "", "encode", 3),
    "removal of a checkpoint": (CHECKPOINT, "CheckpointWriter", "_remove_old", 4),
    "last checkpoint": (CHECKPOINT, "CheckpointWriter", "confirm", 1),
    "result": ("jaxml.training.workdir", "Workdir", "write_result", 1),
}


def _stop(workdir, cache, moment, act, *arguments):
    """Starts a run and stops it at a moment; returns its status and what it printed."""
    return stop_at(moment, act, *RUN, *arguments, f"--workdir={workdir}", cache=cache)


@pytest.fixture
def resume(whole, record_property):
    """Returns a function that resumes a stopped run and compares it with an unbroken one."""

    def finish_stopped(workdir, kind):
        status, output = finish(*RUN, f"--workdir={workdir}", cache=whole / "compiled")
        assert status == 0, output
        equal = outcome(workdir) == outcome(whole / "run")
        stops.record(record_property, f"one process, {kind}", stops=1, runs=1, equal=equal)
        assert equal
        assert not list(workdir.rglob("*.partial"))

    return finish_stopped


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("whole"), *RUN)


@pytest.mark.parametrize("act", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("name", MOMENTS)
def test_a_stop_at_any_moment_changes_nothing(whole, resume, tmp_path, name, act):
    workdir = tmp_path / "run"
    status, output = _stop(workdir, whole / "compiled", MOMENTS[name], act)
    assert "Traceback" not in output, output
    if act == "SIGKILL":
        assert status == -signal.SIGKILL
    elif status:  # a signal after the last step lets the run finish
        assert status == 128 + signal.SIGTERM, output
        assert "stopped by SIGTERM" in output.splitlines()[-1]
    resume(workdir, f"{act} at a moment")


@pytest.mark.parametrize("act", ["SIGTERM", "SIGKILL"])
def test_a_stop_during_the_report_leaves_it_to_the_next_start(whole, tmp_path, act):
    workdir = tmp_path / "run"
    moment = ("jaxml.reporting.report", "", "write_report", 1)
    status, output = _stop(workdir, whole / "compiled", moment, act, "--config.log.report=true")
    assert status == (128 + signal.SIGTERM if act == "SIGTERM" else -signal.SIGKILL), output
    assert not (workdir / "report.html").exists()
    arguments = (*RUN, "--config.log.report=true", f"--workdir={workdir}")
    status, output = finish(*arguments, cache=whole / "compiled")
    assert status == 0, output
    assert "is finished\n" in output
    assert f"report in {workdir}/report.html\n" in output
    assert outcome(workdir) == outcome(whole / "run")


@pytest.mark.parametrize("write", [1, 3, 7, 11])  # the even ones synchronize folders
def test_a_death_in_the_middle_of_a_write_changes_nothing(whole, resume, tmp_path, write):
    workdir = tmp_path / "run"
    moment = ("jaxml.io.atomic", "os", "fsync", write)
    status, output = _stop(workdir, whole / "compiled", moment, "truncate")
    assert status == -signal.SIGKILL, output
    resume(workdir, "half write")


def test_a_folder_that_is_removed_ends_the_run_in_one_line(whole, resume, tmp_path):
    workdir = tmp_path / "run"
    arguments = (*RUN, "--config.num_epochs=4000", f"--workdir={workdir}")
    with start(*arguments, cache=whole / "compiled") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                break
        shutil.rmtree(workdir, ignore_errors=True)
        output = process.stdout.read()
    assert process.returncode == 2, output
    assert "Traceback" not in output
    assert output.count("error:") == 1
    assert f"{workdir}" in output.splitlines()[-1]
    shutil.rmtree(workdir, ignore_errors=True)
    resume(workdir, "remove folder")


@pytest.fixture
def disk(tmp_path):
    """A file system, and a function that mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a file system cannot be mounted: {error}")

    mount("size=64m")
    yield folder, mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def test_a_folder_that_cannot_be_written_is_one_line(whole, resume, disk):
    folder, mount = disk
    mount("remount,ro")
    status, output = finish(*RUN, f"--workdir={folder / 'run'}", cache=whole / "compiled")
    assert status == 2, output
    error = output.splitlines()[-1]
    assert error.startswith(f"error: --workdir={folder / 'run'}")
    assert "Read-only file system" in error
    mount("remount,rw")
    moment = MOMENTS["evaluation"]
    _stop(folder / "run", whole / "compiled", moment, "SIGTERM")
    mount("remount,ro")
    status, output = finish(*RUN, f"--workdir={folder / 'run'}", cache=whole / "compiled")
    assert status == 2, output
    assert "Read-only file system" in output.splitlines()[-1]
    mount("remount,rw")
    resume(folder / "run", "read-only folder")
