"""The whole run in one process: what it leaves, and that stopping changes nothing."""

import asyncio
import dataclasses
import errno
import json
import math
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from jaxml.config import CheckpointConfig, DataConfig, ModelConfig, OptimConfig
from jaxml.errors import DivergedError, InputError, SaveError
from jaxml.io import atomic
from jaxml.training import restore
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.loop import train_and_evaluate
from jaxml.training.restore import evaluate_checkpoint
from jaxml.training.signals import Interrupted
from tests import tiny
from tests.training import training_calls

pytestmark = pytest.mark.slow


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
    assert train_and_evaluate(tiny.config(), str(workdir)) == result
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == f"the run in {workdir} is finished"
    accuracy = result["test_accuracy"]
    assert lines[-1] == f"test accuracy {accuracy:.4f} ({accuracy:.2%})"


def test_the_saved_checkpoint_evaluates_to_the_result(whole):
    workdir, result = whole
    metrics = evaluate_checkpoint(workdir)
    assert metrics["step"] == 12
    assert metrics["accuracy"] == result["test_accuracy"]
    assert metrics["loss"] == result["test_loss"]
    accuracies = {
        line["step"]: line["accuracy"] for line in _lines(workdir) if line["split"] == "test"
    }
    assert evaluate_checkpoint(workdir, "best")["accuracy"] == max(accuracies.values())
    with pytest.raises(
        InputError, match=r"--checkpoint must be one of .*12, newest, best in .*, got '5'"
    ):
        evaluate_checkpoint(workdir, "5")
    with pytest.raises(InputError, match=r"holds no run"):
        evaluate_checkpoint(workdir.parent)


@pytest.mark.parametrize("steps", [1, 5, 6])
def test_a_killed_run_ends_in_the_same_bits(whole, tmp_path, monkeypatch, steps):
    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        training_calls.after(patch, steps, kill)
        with pytest.raises(Killed):
            train_and_evaluate(tiny.config(), tmp_path)
    result = train_and_evaluate(tiny.config(), tmp_path)
    assert result["params_sha256"] == whole[1]["params_sha256"]
    assert _lines(tmp_path) == _lines(whole[0])


@pytest.mark.usefixtures("default_hangup")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_saves_and_goes_on_within_the_epoch(
    whole, tmp_path, monkeypatch, signum, capsys
):
    with monkeypatch.context() as patch:
        training_calls.after(patch, 5, lambda: os.kill(os.getpid(), signum))
        with pytest.raises(Interrupted, match=f"stopped by {signum.name} at step 5"):
            train_and_evaluate(tiny.config(), tmp_path)
    result = train_and_evaluate(tiny.config(), tmp_path)
    assert "resuming from step 5" in capsys.readouterr().out
    assert result["params_sha256"] == whole[1]["params_sha256"]
    assert _lines(tmp_path) == _lines(whole[0])


@pytest.mark.parametrize("lost", ["12.safetensors", "*.safetensors"])
def test_a_result_without_its_last_checkpoint_is_not_finished(whole, tmp_path, lost, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    for path in (folder / "checkpoints").glob(lost):
        path.unlink()
    result = train_and_evaluate(tiny.config(), folder)
    assert "is finished" not in capsys.readouterr().out
    assert result["params_sha256"] == whole[1]["params_sha256"]
    assert _lines(folder) == _lines(whole[0])
    assert evaluate_checkpoint(str(folder))["step"] == 12


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"steps": 12}', '{"steps": 12, "test_accuracy": "x"}']
)
def test_a_damaged_result_is_written_again(whole, tmp_path, content):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    (folder / "result.json").write_text(content)
    result = train_and_evaluate(tiny.config(), folder)
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["params_sha256"] == whole[1]["params_sha256"]
    assert result["test_loss"] == whole[1]["test_loss"]


def test_the_result_is_written_after_the_last_checkpoint(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        training_calls.after(patch, 12, lambda: patch.setattr(atomic, "write", full))
        with pytest.raises(
            SaveError, match=r"12\.safetensors: No space left on device; the newest .* is step 9$"
        ):
            train_and_evaluate(tiny.config(), tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_run_may_continue_when_it_cannot_save(whole, tmp_path, monkeypatch, capsys):
    write, full = atomic.write, [True]

    def failing(path, content):
        if full and "safetensors" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(atomic, "write", failing)
    training_calls.after(monkeypatch, 8, full.clear)
    config = tiny.config(checkpoint=CheckpointConfig(on_failure="continue"))
    result = train_and_evaluate(config, tmp_path)
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert [line.partition(" of step")[0].partition("checkpoints/")[2] for line in warnings] == [
        "3.safetensors: No space left on device; there is no checkpoint; the run continues",
        "6.safetensors: No space left on device; there is no checkpoint; the run continues",
    ]
    assert result["params_sha256"] == whole[1]["params_sha256"]
    assert _lines(tmp_path) == _lines(whole[0])
    assert Checkpoints(tmp_path / "checkpoints").steps() == [9, 12]


def test_a_run_does_not_finish_without_its_last_checkpoint(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    config = tiny.config(num_epochs=1, checkpoint=CheckpointConfig(on_failure="continue"))
    training_calls.after(monkeypatch, 3, lambda: monkeypatch.setattr(atomic, "write", full))
    with pytest.raises(
        SaveError, match=r"3\.safetensors: No space left on device; there is no checkpoint$"
    ):
        train_and_evaluate(config, tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_an_extended_run_follows_the_schedule_of_the_new_length(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    longer = tiny.config(num_epochs=6)
    result = train_and_evaluate(longer, folder)
    assert (
        "extended from 4 to 6 epochs: after step 12, the cosine schedule is that of a run of 6 "
        "epochs\n"
    ) in capsys.readouterr().out
    rates = {
        line["step"]: line["learning_rate"] for line in _lines(folder) if "learning_rate" in line
    }
    expected = {  # 0.05 (1 + cos(pi t / T)) / 2 at the step before each epoch's end
        step: 0.025 * (1 + math.cos(math.pi * (step - 1) / (12 if step <= 12 else 18)))
        for step in (3, 6, 9, 12, 15, 18)
    }
    assert rates == pytest.approx(expected, rel=1e-5)
    assert [(s["step"], s["num_epochs"]) for s in result["segments"]] == [(0, 4), (12, 6)]
    assert json.loads((folder / "result.step12.json").read_text()) == whole[1]
    assert json.loads((folder / "config.json").read_text())["num_epochs"] == 6
    assert evaluate_checkpoint(folder)["step"] == 18
    with pytest.raises(InputError, match=r"config\.num_epochs is 6 there, 4 here"):
        train_and_evaluate(tiny.config(), folder)


def test_an_extended_run_of_a_constant_rate_is_the_unbroken_run(tmp_path):
    optim = OptimConfig(learning_rate=0.05, schedule="constant")
    unbroken = train_and_evaluate(tiny.config(num_epochs=3, optim=optim), tmp_path / "unbroken")
    train_and_evaluate(tiny.config(num_epochs=1, optim=optim), tmp_path / "extended")
    extended = train_and_evaluate(tiny.config(num_epochs=3, optim=optim), tmp_path / "extended")
    assert extended["params_sha256"] == unbroken["params_sha256"]
    assert _lines(tmp_path / "extended") == _lines(tmp_path / "unbroken")


def test_the_checkpoint_of_another_run_is_refused(whole, tmp_path):
    other = tiny.config(seed=1, num_epochs=1)
    train_and_evaluate(other, tmp_path)
    (tmp_path / "result.json").unlink()
    shutil.copy(whole[0] / "checkpoints/12.safetensors", tmp_path / "checkpoints")
    message = r"12\.safetensors belongs to a run with another config: config\.seed is 0 there, 1"
    with pytest.raises(InputError, match=message):
        train_and_evaluate(dataclasses.replace(other, num_epochs=4), tmp_path)
    with pytest.raises(InputError, match=message):
        evaluate_checkpoint(tmp_path)


def test_a_run_does_not_write_into_the_folder_of_its_successor(tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def replace():
        shutil.rmtree(folder)
        train_and_evaluate(tiny.config(seed=1, num_epochs=1), folder)

    with monkeypatch.context() as patch:
        training_calls.after(patch, 5, replace)
        with pytest.raises(InputError, match="was removed, renamed or replaced during the run"):
            train_and_evaluate(tiny.config(), folder)
    assert Checkpoints(folder / "checkpoints").steps() == [3]
    assert json.loads((folder / "result.json").read_text())["steps"] == 3
    assert [line["step"] for line in _lines(folder)] == [3, 3]


def test_data_that_changed_are_noticed_and_data_that_moved_are_not(tmp_path, monkeypatch):
    tiny.write_set(tmp_path / "data", train=60, test=20)

    def config(name):
        data = DataConfig(name="idx", dir=str(tmp_path / name))
        return tiny.config(batch_size=20, num_epochs=2, data=data)

    with monkeypatch.context() as patch:
        training_calls.after(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            train_and_evaluate(config("data"), tmp_path / "run")
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    tiny.write_set(tmp_path / "data", train=30, test=20)
    with pytest.raises(
        InputError,
        match=r"the data changed since .*4\.safetensors: .*"
        r"training inputs was uint8\[60,4,4,1\] \w+, is uint8\[30,4,4,1\] \w+, ",
    ):
        train_and_evaluate(config("data"), tmp_path / "run")
    result = train_and_evaluate(config("moved"), tmp_path / "run")
    assert [segment["step"] for segment in result["segments"]] == [0, 4]
    assert json.loads((tmp_path / "run/config.json").read_text())["data"]["dir"].endswith("moved")


def test_a_checkpoint_that_is_removed_meanwhile_is_not_evaluated(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    (folder / "checkpoints/12.safetensors").rename(tmp_path / "12.safetensors")
    header = Checkpoints.header

    def replaced(self, step):
        """The run saves step 12 and removes step 9 after 9 was chosen."""
        if step == 9 and (tmp_path / "12.safetensors").exists() and later:
            (tmp_path / "12.safetensors").rename(folder / "checkpoints/12.safetensors")
            self.path(9).unlink()
        return header(self, step)

    later = []
    create_experiment = restore.create_experiment

    def created(config):
        later.append(1)
        return create_experiment(config)

    monkeypatch.setattr(Checkpoints, "header", replaced)
    monkeypatch.setattr(restore, "create_experiment", created)
    assert evaluate_checkpoint(folder)["step"] == 12


def test_a_warm_up_longer_than_the_run_is_reported(tmp_path, capsys):
    optim = OptimConfig(learning_rate=0.05, schedule="constant", warmup_epochs=2.0)
    train_and_evaluate(tiny.config(num_epochs=1, optim=optim), tmp_path)
    assert (
        "warning: the learning rate never reaches 0.05: the warm-up takes 2 epochs, the run has 1\n"
    ) in capsys.readouterr().out


def test_a_signal_at_the_last_step_lets_the_run_finish(whole, tmp_path, monkeypatch):
    training_calls.after(monkeypatch, 12, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = train_and_evaluate(tiny.config(), tmp_path)
    assert result["params_sha256"] == whole[1]["params_sha256"]


def test_checkpoints_come_within_an_epoch_when_asked_for(tmp_path, monkeypatch):
    config = tiny.config(num_epochs=2, checkpoint=CheckpointConfig(every_steps=2, keep=9))
    train_and_evaluate(config, tmp_path)
    assert Checkpoints(tmp_path / "checkpoints").steps() == [2, 3, 4, 6]


def test_a_set_held_out_is_reported_as_validation(tmp_path, capsys):
    config = tiny.config(num_epochs=1, batch_size=400, data=DataConfig(validation_size=100))
    result = train_and_evaluate(config, tmp_path)
    assert result["validation_count"] == 100
    assert "test_accuracy" not in result
    assert {line["split"] for line in _lines(tmp_path)} == {"train", "validation"}
    assert capsys.readouterr().out.splitlines()[-1].startswith("validation accuracy ")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good(tmp_path, monkeypatch):
    config = tiny.config()

    def poison(state, _):
        """Makes the parameters NaN before step 6, as by a failing device."""
        if int(state.step) != 5:
            return state
        params = jax.tree.map(lambda x: x * np.float32("nan"), state.params)
        return state.replace(params=params)

    training_calls.before_each(monkeypatch, poison)
    message = "step 6: the loss is nan; the checkpoint of step 3 is kept; a lower"
    with pytest.raises(DivergedError, match=message):
        train_and_evaluate(config, tmp_path)
    assert Checkpoints(tmp_path / "checkpoints").steps() == [3]
    assert not (tmp_path / "result.json").exists()


def test_a_rate_that_is_far_too_high_is_told_as_such(tmp_path):
    config = tiny.config(optim=OptimConfig(learning_rate=1e38, schedule="constant"))
    with pytest.raises(DivergedError, match=r"step \d: ") as caught:
        train_and_evaluate(config, tmp_path)
    assert str(caught.value).count("lower config.optim.learning_rate may help") == 1


@pytest.mark.parametrize("every_steps", [None, 1])
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


def _stalling(**changes):
    """A run that does not learn."""
    optim = OptimConfig(learning_rate=1e-50, schedule="constant")  # 0 in float32
    return tiny.config(model=ModelConfig(name="linear"), optim=optim, **changes)


def test_a_run_that_does_not_improve_ends_early(tmp_path, capsys):
    whole = train_and_evaluate(_stalling(), tmp_path / "whole")
    result = train_and_evaluate(_stalling(patience=2), tmp_path / "run")
    out = capsys.readouterr().out
    last = Checkpoints(tmp_path / "run/checkpoints").steps()[-1]
    evaluated = [line for line in _lines(tmp_path / "run") if line["split"] == "test"]
    accuracies = [line["accuracy"] for line in evaluated]
    assert len(accuracies) == result["epochs"] == 3
    assert result["steps"] == last == 9
    assert "stopped at step 9, after 2 evaluations that are not better than that of step 3" in out
    assert result["test_accuracy"] == accuracies[-1]
    assert (
        evaluated
        == [line for line in _lines(tmp_path / "whole") if line["split"] == "test"][
            : len(evaluated)
        ]
    )

    assert train_and_evaluate(_stalling(patience=2), tmp_path / "run") == result
    assert "is finished" in capsys.readouterr().out
    longer = train_and_evaluate(_stalling(patience=20), tmp_path / "run")
    assert longer["steps"] == 12
    assert longer["params_sha256"] == whole["params_sha256"]


@pytest.mark.parametrize("stopped", [4, 7])
def test_patience_survives_a_stop(tmp_path, monkeypatch, stopped):
    whole = train_and_evaluate(_stalling(patience=2), tmp_path / "whole")
    with monkeypatch.context() as patch:
        training_calls.after(patch, stopped, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            train_and_evaluate(_stalling(patience=2), tmp_path / "run")
    resumed = train_and_evaluate(_stalling(patience=2), tmp_path / "run")
    assert resumed["steps"] == whole["steps"] == 9
    assert resumed["params_sha256"] == whole["params_sha256"]
    assert _lines(tmp_path / "run") == _lines(tmp_path / "whole")
