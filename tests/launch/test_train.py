"""The launcher as a person uses it: in a process of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
TINY = (
    "--config.model.name=resnet_tiny",
    "--config.batch_size=128",
    "--config.num_epochs=12",
    "--config.eval_every_epochs=1",
)


def _start(*arguments, module="launch.train", cwd=ROOT):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    fast = ["--config.log.report=false"] if module == "launch.train" else []
    command = [sys.executable, "-m", module, *fast, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(process):
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in out + err
    return process.returncode, out, err


def _saved(workdir):
    return list((workdir / "checkpoints").glob("*.safetensors"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("launch") / "run"
    return workdir, _finish(_start(*TINY, f"--workdir={workdir}"))


def test_a_run_prints_plain_lines_and_ends_with_the_accuracy(whole):
    workdir, (status, out, err) = whole
    assert status == 0, err
    assert err == ""
    assert "\x1b" not in out
    accuracy = json.loads((workdir / "result.json").read_text())["test_accuracy"]
    lines = out.splitlines()
    command = f"python -m launch.train --workdir={workdir}"
    assert lines[0] == f"run in {workdir}; to resume it: {command}"
    assert sum(line.startswith("epoch ") for line in lines) == 12
    assert lines[-1] == f"test accuracy {accuracy:.4f} ({accuracy:.2%})"


def test_a_run_killed_without_warning_ends_in_the_same_bits(whole, tmp_path):
    process = _start(*TINY, f"--workdir={tmp_path}")
    deadline = time.monotonic() + 120
    while not _saved(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    status, out, _ = _finish(_start(f"--workdir={tmp_path}"))
    assert status == 0
    assert re.search("resuming from step [1-9]", out)
    results = [json.loads((d / "result.json").read_text()) for d in (whole[0], tmp_path)]
    assert results[0]["params_sha256"] == results[1]["params_sha256"]


def test_a_finished_run_is_extended_by_its_folder_and_num_epochs(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    status, out, err = _finish(
        _start(f"--workdir={tmp_path / 'run'}", "--config.num_epochs=13", "--config.batch_size=128")
    )
    assert status == 0, err
    assert (
        "extended from 12 to 13 epochs: after step 132, the cosine schedule is that of a run" in out
    )
    assert "resuming from step 132\n" in out
    assert json.loads((tmp_path / "run/result.json").read_text())["steps"] == 143


def test_runs_without_a_folder_get_one_each(tmp_path):
    arguments = (*TINY, "--config.num_epochs=1", "--config.optim.warmup_epochs=0")
    processes = [_start(*arguments, cwd=tmp_path) for _ in range(2)]
    outputs = [_finish(process) for process in processes]
    assert [status for status, *_ in outputs] == [0, 0]
    commands = [out.splitlines()[0].partition("to resume it: ")[2] for _, out, _ in outputs]
    assert len(set(commands)) == 2
    for command in commands:
        status, out, _ = _finish(_start(command.split()[-1], cwd=tmp_path))
        assert status == 0
        assert "is finished\n" in out


def test_a_terminated_run_says_how_to_go_on(tmp_path):
    process = _start(*TINY, "--config.num_epochs=4000", f"--workdir={tmp_path}")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            break
    process.send_signal(signal.SIGTERM)
    status, _, err = _finish(process)
    assert status == 128 + signal.SIGTERM
    first, last = err.splitlines()
    assert first == "SIGTERM: stopping after this step; a second signal ends it immediately"
    assert re.fullmatch(
        r"stopped by SIGTERM at step \d+, the state is saved; to resume: "
        rf"python -m launch\.train --workdir={tmp_path}",
        last,
    )


@pytest.mark.usefixtures("default_hangup")
def test_a_signal_before_the_first_step_ends_the_process_in_one_line(tmp_path):
    for signum in (signal.SIGINT, signal.SIGHUP):
        process = _start(*TINY, f"--workdir={tmp_path}")
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"run in {tmp_path};")  # JAX is imported next
        process.send_signal(signum)
        status, _, err = _finish(process)
        assert (status, err) == (128 + signum, f"stopped by {signum.name}\n")


def test_bad_input_is_one_line_and_status_2_and_writes_nothing(whole, tmp_path):
    tiny.write_set(tmp_path / "cut", train=20, test=10)
    cut = tmp_path / "cut" / "train-images-idx3-ubyte.gz"
    cut.write_bytes(cut.read_bytes()[:-40])
    before = {p: p.read_bytes() for p in whole[0].rglob("*") if p.is_file()}
    mistakes = {
        "config.sed is not a setting": ["--config.sed=1"],
        "config.optim.momentum must be a float >= 0 and < 1, got 2.0": [
            "--config.optim.momentum=2"
        ],
        "config.model.name must be one of": ["--config.model.name=vgg"],
        "config.batch_size must be at most 1437": ["--config.batch_size=2000"],
        "the gzip stream is cut short": [
            "--config.data.name=mnist",
            f"--config.data.dir={tmp_path / 'cut'}",
        ],
        "the state of mlp must fit in the available memory": [
            "--config.model.name=mlp",
            "--config.model.hidden_features=2147483647",
            "--config.data.augment=",
        ],
        "config.seed is 0 there, 5 here": [*TINY, "--config.seed=5", f"--workdir={whole[0]}"],
    }
    new = tmp_path / "new"
    started = {
        wanted: _start(f"--workdir={new}", *arguments) for wanted, arguments in mistakes.items()
    }
    for wanted, process in started.items():
        status, _, err = _finish(process)
        assert status == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert wanted in err
    assert not new.exists()
    assert {p: p.read_bytes() for p in whole[0].rglob("*") if p.is_file()} == before


def test_evaluate_prints_what_the_run_ended_with(whole):
    status, out, err = _finish(_start(f"--workdir={whole[0]}", module="launch.evaluate"))
    assert status == 0, err
    result = json.loads((whole[0] / "result.json").read_text())
    assert f"accuracy: {result['test_accuracy']}\n" in out
    status, _, err = _finish(_start("--workdir=not/there", module="launch.evaluate"))
    assert (status, err) == (
        2,
        "error: --workdir=not/there: holds no run (config.json is missing)\n",
    )
