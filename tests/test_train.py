"""The whole run in one process: what it leaves, and that stopping changes nothing."""

import asyncio
import json
import os
import signal

import jax
import numpy as np
import pytest

from jaxml.checkpoint import Checkpoints
from jaxml.config import CheckpointConfig, DataConfig, ModelConfig, OptimConfig
from jaxml.errors import DivergedError, InputError
from jaxml.evaluate import evaluate
from jaxml.interrupt import Interrupted
from jaxml.program import Program
from jaxml.train import train_and_evaluate
from tests import tiny


class Killed(BaseException):
    """Stands for a process that is gone."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, train_and_evaluate(tiny.config(), workdir)


def _lines(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def _stop_after(monkeypatch, steps, stop):
    """Calls `stop` after a number of training calls, once."""
    train, calls = Program.train, []

    def counted(self, *arguments):
        result = train(self, *arguments)
        calls.append(1)
        if len(calls) == steps:
            stop()
        return result

    monkeypatch.setattr(Program, "train", counted)


def test_a_run_leaves_settings_metrics_and_a_result(whole):
    workdir, result = whole
    assert json.loads((workdir / "result.json").read_text()) == result
    assert json.loads((workdir / "config.json").read_text())["model"]["name"] == "resnet_tiny"
    assert result["test_count"] == 360
    assert result["epochs"] == 4
    assert result["steps"] == 12
    assert result["num_params"] == 1334
    assert len(result["params_sha256"]) == 64
    assert 0 < result["test_accuracy"] < 1
    assert result["train_seconds"] > 0
    assert result["compile_seconds"] > 0
    lines = _lines(workdir)
    assert [(line["step"], line["split"]) for line in lines] == [
        (step, split) for step in (3, 6, 9, 12) for split in ("train", "test")
    ]
    assert [line["count"] for line in lines] == [3 * 478, 360] * 4
    assert lines[-2]["loss"] < lines[0]["loss"]
    assert lines[-1]["accuracy"] == result["test_accuracy"]


def test_the_last_line_is_the_accuracy_as_fraction_and_percentage(whole, capsys):
    workdir, result = whole
    assert train_and_evaluate(tiny.config(), workdir) == result
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == f"the run in {workdir} is finished"
    accuracy = result["test_accuracy"]
    assert lines[-1] == f"test accuracy {accuracy:.4f} ({accuracy:.2%})"


def test_the_saved_checkpoint_evaluates_to_the_result(whole):
    workdir, result = whole
    metrics = evaluate(workdir)
    assert metrics["step"] == 12
    assert metrics["accuracy"] == result["test_accuracy"]
    assert metrics["loss"] == result["test_loss"]
    accuracies = {
        line["step"]: line["accuracy"] for line in _lines(workdir) if line["split"] == "test"
    }
    assert evaluate(workdir, "best")["accuracy"] == max(accuracies.values())
    with pytest.raises(InputError, match=r"--checkpoint=5: .* has .*12, newest, best"):
        evaluate(workdir, "5")
    with pytest.raises(InputError, match=r"holds no run"):
        evaluate(workdir.parent)


@pytest.mark.parametrize("steps", [1, 5, 6])
def test_a_killed_run_ends_in_the_same_bits(whole, tmp_path, monkeypatch, steps):
    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        _stop_after(patch, steps, kill)
        with pytest.raises(Killed):
            train_and_evaluate(tiny.config(), tmp_path)
    result = train_and_evaluate(tiny.config(), tmp_path)
    assert result["params_sha256"] == whole[1]["params_sha256"]
    assert _lines(tmp_path) == _lines(whole[0])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_saves_and_goes_on_within_the_epoch(
    whole, tmp_path, monkeypatch, signum, capsys
):
    with monkeypatch.context() as patch:
        _stop_after(patch, 5, lambda: os.kill(os.getpid(), signum))
        with pytest.raises(Interrupted, match=f"stopped by {signum.name} at step 5"):
            train_and_evaluate(tiny.config(), tmp_path)
    result = train_and_evaluate(tiny.config(), tmp_path)
    assert "going on from step 5" in capsys.readouterr().out
    assert result["params_sha256"] == whole[1]["params_sha256"]
    assert _lines(tmp_path) == _lines(whole[0])


def test_a_signal_at_the_last_step_lets_the_run_finish(whole, tmp_path, monkeypatch):
    _stop_after(monkeypatch, 12, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = train_and_evaluate(tiny.config(), tmp_path)
    assert result["params_sha256"] == whole[1]["params_sha256"]


def test_checkpoints_come_within_an_epoch_when_asked_for(tmp_path, monkeypatch):
    config = tiny.config(num_epochs=2, checkpoint=CheckpointConfig(every_steps=2, keep=9))
    train_and_evaluate(config, tmp_path)
    with Checkpoints(tmp_path / "checkpoints", config.checkpoint, say=None) as checkpoints:
        assert checkpoints.steps() == [2, 3, 4, 6]


def test_a_set_held_out_is_reported_as_validation(tmp_path, capsys):
    config = tiny.config(num_epochs=1, batch_size=400, data=DataConfig(validation_size=100))
    result = train_and_evaluate(config, tmp_path)
    assert result["validation_count"] == 100
    assert "test_accuracy" not in result
    assert {line["split"] for line in _lines(tmp_path)} == {"train", "validation"}
    assert capsys.readouterr().out.splitlines()[-1].startswith("validation accuracy ")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good(tmp_path, monkeypatch):
    config = tiny.config()
    poison = _poisoned_after(4)
    monkeypatch.setattr(Program, "train", poison)
    message = "step 6: the loss is nan; the checkpoint of step 3 is kept; a lower"
    with pytest.raises(DivergedError, match=message):
        train_and_evaluate(config, tmp_path)
    with Checkpoints(tmp_path / "checkpoints", config.checkpoint, say=None) as checkpoints:
        assert checkpoints.steps() == [3]
    assert not (tmp_path / "result.json").exists()


def test_a_rate_that_is_far_too_high_is_told_as_such(tmp_path):
    config = tiny.config(optim=OptimConfig(learning_rate=1e38, schedule="constant"))
    with pytest.raises(DivergedError, match=r"step \d: ") as caught:
        train_and_evaluate(config, tmp_path)
    assert str(caught.value).count("lower config.optim.learning_rate may help") == 1


@pytest.mark.parametrize("every_steps", [0, 1])
def test_parameters_that_are_not_finite_are_told_once(tmp_path, every_steps):
    config = tiny.config(
        optim=OptimConfig(learning_rate=1e30, schedule="constant"),
        checkpoint=CheckpointConfig(every_steps=every_steps),
        model=ModelConfig(name="linear"),
    )
    with pytest.raises(DivergedError) as caught:
        train_and_evaluate(config, tmp_path)
    assert str(caught.value).count("a lower config.optim.learning_rate may help") == 1


def test_a_run_in_another_thread_ends_in_the_same_bits(whole, tmp_path):
    async def run():
        return await asyncio.to_thread(train_and_evaluate, tiny.config(), tmp_path)

    assert asyncio.run(run())["params_sha256"] == whole[1]["params_sha256"]


def _poisoned_after(steps):
    """Training whose parameters become NaN in a step after some, as by a failing device."""
    train = Program.train

    def poisoned(self, state, order, count):
        if int(state.step) == steps + 1:
            state = state.replace(
                params=jax.tree.map(lambda x: x * np.float32("nan"), state.params)
            )
        return train(self, state, order, count)

    return poisoned
