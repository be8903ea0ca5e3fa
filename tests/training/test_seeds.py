"""Several seeds give the models of separate runs, and the spread of their metrics."""

import dataclasses
import json
import os
import re
import signal

import numpy as np
import pytest
import scipy.stats

from jaxml.config import DataConfig, ModelConfig
from jaxml.errors import DivergedError, InputError
from jaxml.training.loop import train_and_evaluate
from jaxml.training.restore import evaluate_checkpoint
from jaxml.training.seeds import conclusion, summarize, train_seeds
from jaxml.training.signals import Interrupted, StopSignals
from tests import tiny
from tests.training import training_calls

pytestmark = pytest.mark.slow

CONFIG = tiny.config(num_epochs=2, seed=3, num_seeds=3, model=ModelConfig(name="linear"))
SEEDS = (3, 4, 5)


@pytest.fixture(scope="module")
def separate(tmp_path_factory):
    """The results of a run for each seed."""
    folder = tmp_path_factory.mktemp("separate")
    return {
        seed: train_and_evaluate(
            dataclasses.replace(CONFIG, seed=seed, num_seeds=1), folder / str(seed)
        )
        for seed in SEEDS
    }


def test_each_seed_is_the_separate_run(separate, tmp_path, capsys):
    result = train_and_evaluate(CONFIG, tmp_path)
    digests = [separate[seed]["params_sha256"] for seed in SEEDS]
    assert len(set(digests)) == 3
    assert result["params_sha256"] == digests
    assert result == json.loads((tmp_path / "result.json").read_text())
    for seed in SEEDS:
        one = json.loads((tmp_path / f"seed_{seed}/result.json").read_text())
        assert one["params_sha256"] == separate[seed]["params_sha256"]
        config = json.loads((tmp_path / f"seed_{seed}/config.json").read_text())
        assert (config["seed"], config["num_seeds"]) == (seed, 1)
    values = np.array([separate[seed]["test_accuracy"] for seed in SEEDS])
    low, high = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
    assert result["test_accuracy"] == pytest.approx(
        {"mean": values.mean(), "standard_deviation": values.std(ddof=1), "low": low, "high": high}
    )
    assert result["seeds"] == list(SEEDS)
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        rf"test accuracy of 3 seeds: mean {values.mean():.4f}, standard deviation "
        rf"{values.std(ddof=1):.4f}, 95% interval {low:.4f} to {high:.4f}",
        last,
    )
    with pytest.raises(InputError, match=r"no checkpoint yet; it holds the runs seed_3, seed_4"):
        evaluate_checkpoint(tmp_path)


@pytest.mark.parametrize("calls", [2, 6, 8])  # 6: in the last step of the first seed
def test_seeds_resume_after_a_signal(separate, tmp_path, monkeypatch, calls, capsys):
    with monkeypatch.context() as patch:
        training_calls.after(patch, calls, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match="stopped by SIGTERM at step"):
            train_and_evaluate(CONFIG, tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert (tmp_path / "seed_4").exists() == (calls > 6)
    result = train_and_evaluate(CONFIG, tmp_path)
    assert result["params_sha256"] == [separate[seed]["params_sha256"] for seed in SEEDS]
    assert ("is finished" in capsys.readouterr().out) == (calls >= 6)


def test_a_signal_in_the_last_step_of_the_last_seed_lets_it_finish(tmp_path, monkeypatch):
    training_calls.after(monkeypatch, 18, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = train_and_evaluate(CONFIG, tmp_path)
    assert len(result["seeds"]) == 3
    assert StopSignals.unheeded is signal.SIGTERM


def test_wrong_settings_write_nothing(tmp_path):
    folder = tmp_path / "run"
    missing = dataclasses.replace(CONFIG, data=DataConfig(name="cifar10", dir=str(tmp_path / "x")))
    with pytest.raises(InputError):
        train_and_evaluate(missing, folder)
    large = dataclasses.replace(CONFIG, seed=2**32 - 2)
    message = r"config.seed \+ config.num_seeds must be <= 4294967296, got 4294967297"
    with pytest.raises(InputError, match=message):
        train_seeds(large, folder)
    assert not folder.exists()


def test_a_single_run_does_not_become_several(tmp_path):
    train_and_evaluate(dataclasses.replace(CONFIG, num_seeds=1), tmp_path)
    with pytest.raises(InputError, match=r"holds a run with another config: .*num_seeds"):
        train_and_evaluate(CONFIG, tmp_path)


def test_a_seed_that_diverges_is_named(tmp_path):
    optim = dataclasses.replace(CONFIG.optim, learning_rate=1e38, schedule="constant")
    with pytest.raises(DivergedError) as caught:
        train_and_evaluate(dataclasses.replace(CONFIG, optim=optim), tmp_path)
    assert caught.value.__notes__ == ["this was seed 3"]


def test_regression_has_its_own_headline():
    one = {"validation_loss": 2.0, "validation_rmse": 2.0, "params_sha256": "a"}
    line = conclusion(summarize({0: one, 1: {**one, "validation_rmse": 4.0}}))
    assert line.startswith("validation rmse of 2 seeds: mean 3.0000, standard deviation 1.4142,")
