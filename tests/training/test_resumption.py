"""Stopped and resumed runs of 216 combinations of settings end in the bits of unbroken runs.

    python -m pytest tests/test_resumption.py --large

takes about half an hour; without `--large`, the first four combinations are run.
"""

import json
import os
import random
import signal

import pytest

from jaxml import config as settings
from jaxml.config import AverageConfig, CheckpointConfig, Config, ModelConfig, OptimConfig
from jaxml.losses import LOSSES
from jaxml.normalize import NORMALIZERS
from jaxml.optim import OPTIMIZERS, SCHEDULES
from jaxml.training.loop import train_and_evaluate
from jaxml.training.objective import BINARY_LOSSES, REGRESSION_LOSSES, SOFT_LABEL_LOSSES
from jaxml.training.signals import Interrupted
from tests.training import training_calls

pytestmark = pytest.mark.slow

COUNT = 216
SETTINGS = {
    "optim.name": [*OPTIMIZERS],
    "average.name": [None, "ema", "swa", "lookahead"],
    "optim.schedule": [*SCHEDULES],
    "data.normalization": [*NORMALIZERS],
    "loss.name": [*LOSSES],
    "model.dtype": ["float32", "bfloat16"],
    "model.scan": [False] * 7 + [True],
    "model.remat": [False, True],
    "model.keep_prob": [None, 0.8],
    "optim.sharpness_radius": [None, None, 0.05],
    "optim.accumulate_steps": [1, 1, 2],
    "optim.clip_norm": [None, 1.0],
    "weights.freeze": [None, None, "stem"],
    "steps_per_call": [None, 1, 2, 3],
    "checkpoint.every_steps": [None, 1, 2],
}


class Killed(BaseException):
    """Stands for a process that is gone."""


def _combinations():
    """Every value of a setting is used equally often; the pairs are random."""
    chance = random.Random(0)  # noqa: S311
    columns = []
    for values in SETTINGS.values():
        column = (values * COUNT)[:COUNT]
        chance.shuffle(column)
        columns.append(column)
    for index, row in enumerate(zip(*columns, strict=True)):
        yield pytest.param(
            _config(dict(zip(SETTINGS, row, strict=True))),
            chance.choice(["kill", "signal"]),
            chance.randint(1, 5),
            id=str(index),
            marks=[pytest.mark.large] * (index >= 4),
        )


def _config(changes):
    """Two epochs of three steps with the settings, on data that suit the loss."""
    config = Config(
        num_epochs=2,
        batch_size=478,
        eval_batch_size=200,
        optim=OptimConfig(learning_rate=0.01, end_factor=0.1, warmup_epochs=0.5),
        average=AverageConfig(start=0.5, sync_period=1),
        checkpoint=CheckpointConfig(),
    )
    for name, value in changes.items():
        settings.assign(config, name, value)
    tables = dict.fromkeys(REGRESSION_LOSSES, "diabetes")
    tables |= dict.fromkeys(BINARY_LOSSES, "breast_cancer")
    if config.loss.name in tables:
        config.data.name = tables[config.loss.name]
        config.batch_size = {"diabetes": 118, "breast_cancer": 152}[config.data.name]
        _use_features(config)
        if config.data.normalization in ("per_image", "unit", "patch_pca"):
            config.data.normalization = "per_channel"
    else:
        config.model.name = "resnet20v1" if config.model.scan else "resnet_tiny"
        config.weights.freeze = None if config.model.scan else config.weights.freeze
        if config.data.normalization in ("pca", "zca"):  # features, not images
            _use_features(config)
        else:
            mixing = ("mixup:alpha=1",) if config.loss.name in SOFT_LABEL_LOSSES else ()
            config.data.augment = ("crop:padding=1", "alternating_flip", *mixing)
    settings.check(config)
    return config


def _use_features(config):
    """Chooses a network for features in the place of images, which has fewer options."""
    config.model = ModelConfig(name="mlp", hidden_features=(9,), dtype=config.model.dtype)
    config.weights.freeze = config.weights.freeze and "hidden1"


@pytest.mark.parametrize(("config", "how", "steps"), [*_combinations()])
def test_a_stopped_run_ends_in_the_bits_of_an_unbroken_one(
    config, how, steps, tmp_path, monkeypatch
):
    whole = train_and_evaluate(config, tmp_path / "whole")
    assert whole["steps"] == 6
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        _stop(patch, how, steps)
        with pytest.raises((Killed, Interrupted)):
            train_and_evaluate(config, stopped)
    assert not (stopped / "result.json").exists()
    resumed = train_and_evaluate(config, stopped)
    assert resumed["params_sha256"] == whole["params_sha256"]
    assert _measured(resumed) == _measured(whole)
    assert _lines(stopped) == _lines(tmp_path / "whole")


def _stop(monkeypatch, how, steps):
    """Kills or signals the run in the call that takes a step."""

    def stop(state, count):
        if steps <= int(state.step) < steps + count:
            if how == "kill" or int(state.step) == 6:  # a signal in the last call stops nothing
                raise Killed
            os.kill(os.getpid(), signal.SIGTERM)

    training_calls.after_each(monkeypatch, stop)


def _measured(result):
    return {name: value for name, value in result.items() if name.startswith("test_")}


def _lines(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]
