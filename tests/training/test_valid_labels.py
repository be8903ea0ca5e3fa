"""Evaluation with several valid labels and on some of the classes, against NumPy."""

import json

import jax
import numpy as np
import pytest

from jaxml.config import DataConfig, LossConfig
from jaxml.errors import InputError
from jaxml.training import assess, load_network, load_subject, train_and_evaluate
from tests import tiny
from tests.data.sources import formats

pytestmark = pytest.mark.slow
COUNT = 11


@pytest.fixture(scope="module", params=[True, False], ids=["streamed", "resident"])
def photos(request, tmp_path_factory):
    """A trained run of photos; its outputs, labels and file names, in the order of evaluation."""
    photos = tmp_path_factory.mktemp("photos")
    formats.write_folder(photos, "train", formats.examples(12))
    data = formats.examples(COUNT, seed=1)
    numbers = np.random.default_rng(0).permutation(COUNT)  # of the files
    for image, label, number in zip(data.encoded, data.labels, numbers, strict=True):
        path = photos / "val" / formats.CLASS_NAMES[label] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    config = tiny.config(
        batch_size=4,
        eval_batch_size=4,
        data=DataConfig(name="folder", dir=str(photos), stream=request.param),
    )
    train_and_evaluate(config, photos / "run")
    order = np.lexsort((numbers, data.labels))
    network = load_network(photos / "run")
    outputs = np.asarray(jax.jit(network.logits)(data.images[order]))
    subject = load_subject(photos / "run")
    return subject, outputs, data.labels[order], numbers[order]


def _accuracy(logits, valid):
    labelled = valid.any(axis=1)
    hits = valid[np.arange(len(valid)), logits.argmax(axis=1)]
    return labelled.sum(), hits[labelled].mean()


def _chosen(subject, **files):
    found = assess(subject, resamples=1, **files)
    return {name: found[name] for name in found if name.startswith(("real_", "classes_"))}


def test_real_labels_and_classes_select_what_counts(photos, tmp_path):
    subject, logits, labels, numbers = photos
    valid = np.random.default_rng(1).random((COUNT, 3)) < 0.4
    assert not valid.any(axis=1).all()
    lists = [np.flatnonzero(row).tolist() for row in valid]
    by_file = tmp_path / "by_file.json"
    in_order = tmp_path / "list.json"
    by_file.write_text(
        json.dumps(
            {f"{number:02d}.png": found for number, found in zip(numbers, lists, strict=True)}
        )
    )
    streamed = subject.config.data.stream
    order = np.argsort(numbers) if streamed else range(COUNT)
    in_order.write_text(json.dumps([lists[index] for index in order]))
    for path in (by_file, in_order) if streamed else (in_order,):
        found = _chosen(subject, real_labels=path)
        count, accuracy = _accuracy(logits, valid)
        assert found == {"real_count": count, "real_accuracy": pytest.approx(accuracy)}

    classes = tmp_path / "classes.txt"
    classes.write_text("bee\n2\n\n")
    found = _chosen(subject, real_labels=in_order, classes=classes)
    real_count, real_accuracy = _accuracy(logits[:, 1:], valid[:, 1:])
    count, accuracy = _accuracy(logits[:, 1:], labels[:, None] == [1, 2])
    assert found == {
        "real_count": real_count,
        "real_accuracy": pytest.approx(real_accuracy),
        "classes_count": count,
        "classes_accuracy": pytest.approx(accuracy),
    }


@pytest.mark.parametrize(
    ("setting", "text", "message"),
    [
        ("real_labels", "[[0]]", "must be a list with 11 lists of labels"),
        ("real_labels", "[", "must be a JSON file"),
        ("real_labels", json.dumps([[3]] * COUNT), r"must be integers in \[0, 3\), got 3"),
        ("real_labels", json.dumps([["0"]] * COUNT), "must be integers .*, got '0'"),
        ("classes", "cow\nbee", "must hold names or numbers of classes, got 'cow'"),
        ("classes", "bee\n1", "must hold at least 2 classes, got 1"),
    ],
)
def test_wrong_files_are_errors(setting, text, message, photos, tmp_path):
    path = tmp_path / "file"
    with pytest.raises(InputError, match=f"^--{setting}={path}: No such file"):
        assess(photos[0], **{setting: path})
    path.write_text(text)
    with pytest.raises(InputError, match=f"^--{setting}={path}: .*{message}"):
        assess(photos[0], **{setting: path})


def test_a_run_without_several_classes_has_no_valid_labels(tmp_path):
    data = DataConfig(name="breast_cancer", normalization="per_channel")
    config = tiny.config(batch_size=64, data=data, loss=LossConfig(name="hinge"))
    config.model.name = "linear"
    train_and_evaluate(config, tmp_path / "run")
    with pytest.raises(InputError, match=r"must be unset for linear"):
        assess(load_subject(tmp_path / "run"), classes=tmp_path / "classes")
