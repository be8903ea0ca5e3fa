"""Runs on images that are decoded during training."""

import dataclasses
import json
import os
import signal
import threading

import jax
import numpy as np
import pytest

from jaxml import config as settings
from jaxml.config import CheckpointConfig, DataConfig
from jaxml.data import DATASETS
from jaxml.errors import InputError
from jaxml.training.compilation import jit_steps
from jaxml.training.evaluation import evaluate
from jaxml.training.experiment import create_experiment
from jaxml.training.features import extract_features
from jaxml.training.feed import train_feed
from jaxml.training.initialize import initial_state
from jaxml.training.inspect import inspect_batch
from jaxml.training.loop import train_and_evaluate
from jaxml.training.restore import evaluate_checkpoint
from jaxml.training.signals import Interrupted
from tests import tiny
from tests.data.sources import formats
from tests.training import training_calls

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 26 training and 7 evaluation images."""
    folder = tmp_path_factory.mktemp("photos")
    formats.write_folder(folder, "train", formats.examples(26, size=10))
    formats.write_folder(folder, "val", formats.examples(7, seed=1, size=10))
    return folder


def _config(photos, **changes):
    data = DataConfig(
        name="folder",
        dir=str(photos),
        image_size=8,
        smallest_crop=0.3,
        augment=("crop:padding=1", "flip"),
    )
    num_epochs = changes.pop("num_epochs", 3)
    return tiny.config(
        batch_size=8,
        eval_batch_size=4,
        num_epochs=num_epochs,
        steps_per_call=2,
        checkpoint=CheckpointConfig(every_steps=1),
        data=dataclasses.replace(data, **changes),
    )


def test_the_streamed_batches_are_those_of_the_set_on_the_devices(photos):
    plain = {"smallest_crop": None}
    streamed, resident = (
        create_experiment(_config(photos, **plain, stream=stream)) for stream in (True, False)
    )
    steps = jit_steps(resident)
    with train_feed(streamed, jit_steps(streamed).epoch_order, first_step=0) as data:
        for epoch in range(3):
            order = steps.epoch_order(resident.keys.order, resident.replicate(epoch))
            batches = [jax.tree.map(np.asarray, data(count)) for count in (2, 1)]
            for name, whole in resident.train_data._asdict().items():
                expected = np.asarray(whole)[np.asarray(order)[:24]]
                found = np.concatenate([getattr(batch, name) for batch in batches])
                np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    state = initial_state(resident, steps)
    metrics = [
        evaluate(experiment, jit_steps(experiment), state) for experiment in (streamed, resident)
    ]
    assert metrics[0] == metrics[1]
    assert metrics[0]["count"] == 7


@pytest.mark.parametrize("stream", [True, False])
def test_training_and_evaluation_have_image_sizes_of_their_own(photos, tmp_path, stream):
    crops = {} if stream else {"smallest_crop": None}
    config = _config(photos, train_image_size=6, stream=stream, num_epochs=1, **crops)
    experiment = create_experiment(config)
    assert experiment.input_shape == (8, 8, 3)
    with train_feed(experiment, jit_steps(experiment).epoch_order, first_step=0) as data:
        assert data(1).inputs.shape[-3:] == (6, 6, 3)
    result = train_and_evaluate(config, tmp_path / "run")
    assert evaluate_checkpoint(tmp_path / "run")["loss"] == result["validation_loss"]


def test_a_training_size_that_the_network_cannot_take_is_told(photos):
    config = _config(photos, train_image_size=6)
    config.model.head = "fc"
    with pytest.raises(
        InputError, match=r"config.data.train_image_size must suit resnet_tiny and .*, got 6: "
    ):
        create_experiment(config)
    with pytest.raises(
        InputError, match=r"train_image_size must be None unless config.data.image_size is set"
    ):
        create_experiment(_config(photos, image_size=None, smallest_crop=None, train_image_size=6))


class Killed(BaseException):
    """Stands for a process that is gone."""


def _kill():
    raise Killed


def _terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("calls", "act", "error"), [(1, _terminate, Interrupted), (4, _kill, Killed)]
)
def test_a_stopped_run_resumes_to_the_same_bits(photos, tmp_path, monkeypatch, calls, act, error):
    whole = train_and_evaluate(_config(photos, workers=2), tmp_path / "whole")
    with monkeypatch.context() as patch:
        training_calls.after(patch, calls, act)
        with pytest.raises(error):
            train_and_evaluate(_config(photos, workers=3), tmp_path / "run")
    assert not [t for t in threading.enumerate() if t.name.startswith("jaxml-data")]
    resumed = train_and_evaluate(_config(photos, workers=0), tmp_path / "run")
    assert resumed["params_sha256"] == whole["params_sha256"]
    assert json.loads((tmp_path / "run/classes.json").read_text()) == list(formats.CLASS_NAMES)
    accuracy = evaluate_checkpoint(tmp_path / "run")["accuracy"]
    assert accuracy == resumed["validation_accuracy"] == whole["validation_accuracy"]


def test_the_features_of_a_split_are_in_its_own_order(photos, tmp_path):
    config = _config(photos)
    config.num_epochs = 1
    train_and_evaluate(config, tmp_path)
    features, targets = extract_features(tmp_path, "features", split="validation")
    assert len(features) == 7
    np.testing.assert_array_equal(targets, formats.examples(7, seed=1).labels)


def test_a_run_reports_the_images_that_it_replaced(tmp_path, capsys):
    photos = tmp_path / "photos"
    formats.write_folder(photos, "train", formats.examples(26))
    formats.write_folder(photos, "val", formats.examples(7, seed=1))
    (photos / "train/ant/00002.png").write_bytes(b"")
    (photos / "val/bee/00004.png").write_text("text")
    config = _config(photos, max_damaged=2)
    result = train_and_evaluate(config, tmp_path / "run")
    assert len(result["damaged_images"]) == 2
    warning = "warning: image 2 'train/ant/00002.png' is damaged: the file is empty; replaced"
    assert capsys.readouterr().out.count(warning) == 1
    config.data.max_damaged = 1
    with pytest.raises(InputError, match=r"max_damaged must be at least 2 .* got 1"):
        train_and_evaluate(config, tmp_path / "other")


def test_the_batch_of_a_step_is_shown_as_it_was_trained_on(photos, tmp_path):
    config = _config(photos)
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text(settings.to_json(config))
    examples, inputs = inspect_batch(workdir, step=4)
    experiment = create_experiment(config)
    with train_feed(experiment, jit_steps(experiment).epoch_order, first_step=3) as data:
        images = [np.asarray(data(1).inputs[0]) for _ in range(2)][1]
    for example, image, shown in zip(examples, images, inputs, strict=True):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        crops = [padded[top : top + 8, left : left + 8] for top in range(3) for left in range(3)]
        assert any(np.array_equal(shown, c) or np.array_equal(shown, c[:, ::-1]) for c in crops)
        folder = example.name.split("/")[1]
        assert folder == example.label
        assert example.box is not None
        left, top, right, bottom = example.box
        assert 0 <= left < right <= 10
        assert 0 <= top < bottom <= 10
    with pytest.raises(InputError, match=r"--step must be in \[0, 9\), got 9"):
        inspect_batch(workdir, step=9)


def test_the_batch_of_a_set_in_memory_is_shown_by_index(tmp_path):
    (tmp_path / "config.json").write_text(settings.to_json(tiny.config(batch_size=4)))
    examples, inputs = inspect_batch(tmp_path, step=1)
    assert inputs.shape == (4, 8, 8, 1)
    digits = DATASETS["digits"](tmp_path).train
    assert [str(digits.targets[shown.example]) for shown in examples] == [
        shown.label for shown in examples
    ]
