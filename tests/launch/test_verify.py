"""The launcher that replays a run."""

import pytest

from jaxml.config import CheckpointConfig, ModelConfig
from jaxml.training.loop import train_and_evaluate
from tests import tiny
from tests.launch import processes

pytestmark = pytest.mark.slow


def test_runs_are_verified_on_the_command_line(tmp_path):
    model, keep = ModelConfig(name="linear"), CheckpointConfig(keep=9)
    for name, seed in (("a", 0), ("b", 1)):
        config = tiny.config(num_epochs=2, model=model, checkpoint=keep, seed=seed)
        train_and_evaluate(config, tmp_path / name)
    # In a process of its own the run has one device instead of two, which is reported.
    done = processes.run("launch.verify", f"--workdir={tmp_path / 'a'}", "--steps=2")
    first, last = done.stdout.splitlines()
    assert first.startswith("the environment changed at step 6: device was 2 x cpu, is 1 x cpu")
    assert last.startswith(f"{tmp_path / 'a'}, step 6: replayed from step 3, ")
    assert done.returncode == (0 if "the states are equal" in last else 1)
    for arguments, message in {
        (f"--workdir={tmp_path / 'x'}",): f"error: --workdir={tmp_path / 'x'}: holds no run",
        (): "error: --workdir must be given",
        (f"--workdir={tmp_path / 'a'}", f"--other={tmp_path / 'b'}"): "config.seed is 0 there",
        (f"--workdir={tmp_path / 'a'}", "--other=b", "--steps=2"): "--steps must not be given",
    }.items():
        done = processes.run("launch.verify", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert message in line
