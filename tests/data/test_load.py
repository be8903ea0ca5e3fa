"""The data set that a config names: its splits and the checks of its settings."""

import dataclasses
import shutil

import numpy as np
import pytest

from jaxml.config import DataConfig
from jaxml.data import Dataset, StreamedDataset, fitting_sample, load_dataset, num_workers
from jaxml.errors import InputError
from tests.data.sources import formats

COUNTS = {"train": 60, "val": 9, "test": 6}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with three splits of different sizes."""
    place = tmp_path_factory.mktemp("photos")
    for number, (split, count) in enumerate(COUNTS.items()):
        formats.write_folder(place, split, formats.examples(count, seed=number))
    return place


def _load(place, **changes):
    config = dataclasses.replace(DataConfig(name="folder", dir=str(place)), **changes)
    dataset = load_dataset(config)
    assert isinstance(dataset, StreamedDataset)
    return dataset


@pytest.mark.parametrize(
    ("changes", "train", "evaluated", "name"),
    [
        ({}, 60, 9, "validation"),
        ({"eval_split": "test"}, 60, 6, "test"),
        ({"validation_fraction": 0.2}, 48, 12, "validation"),
    ],
)
def test_the_evaluated_split_is_chosen_by_the_config(whole, changes, train, evaluated, name):
    dataset = _load(whole, **changes)
    sizes = len(dataset.train.targets), len(dataset.test.targets)
    assert (*sizes, dataset.test_name) == (train, evaluated, name)
    assert len(dataset.train.inputs) == train
    assert np.bincount(dataset.train.targets).tolist() == [train // 3] * 3


def test_a_tenth_of_a_set_without_splits_is_held_out(whole):
    dataset = _load(whole / "train")
    assert (len(dataset.train.targets), len(dataset.test.targets)) == (54, 6)
    other = _load(whole / "train", split_seed=1)
    assert dataset.test.inputs.table.digest() != other.test.inputs.table.digest()


def test_a_split_that_does_not_exist_is_an_error(whole, tmp_path):
    place = shutil.copytree(whole, tmp_path / "photos")
    shutil.rmtree(place / "val")
    assert _load(place).test_name == "test"
    with pytest.raises(InputError, match=r"eval_split must be .* has train, test, got 'val'"):
        _load(place, eval_split="val")
    with pytest.raises(InputError, match="validation_fraction must not be 0 for a set without"):
        _load(place / "train", validation_fraction=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "foder"}, "must be one of digits, .*; did you mean 'folder'"),
        ({"validation_size": 3}, "validation_size must be 0 for folder"),
        ({"name": "digits", "image_size": 8}, "image_size must be None for digits, got 8"),
    ],
)
def test_settings_that_do_not_suit_the_set_are_errors(whole, changes, message):
    with pytest.raises(InputError, match=message):
        _load(whole, **changes)


def test_images_of_several_sizes_need_a_size(whole, tmp_path):
    place = shutil.copytree(whole, tmp_path / "photos")
    formats.write_folder(place, "train", formats.examples(1, size=9))
    with pytest.raises(InputError, match=r"image_size must be set .* got 6x6x3 in .* 9x9x3"):
        _load(place)
    assert _load(place, image_size=5).train.inputs.shape == (60, 5, 5, 3)


def test_a_normalizer_is_fitted_on_evenly_spaced_images(whole):
    sample = fitting_sample(_load(whole).train.inputs)
    np.testing.assert_array_equal(sample, formats.examples(60).images)
    few = _load(whole).train.inputs.sample(3)
    np.testing.assert_array_equal(few, formats.examples(60).images[[0, 29, 59]])


def test_an_unlimited_number_of_workers_is_one_for_each_core():
    assert num_workers(DataConfig()) >= 1
    assert num_workers(DataConfig(workers=0)) == 0


def test_a_set_in_memory_is_loaded_as_before():
    dataset = load_dataset(DataConfig())
    assert isinstance(dataset, Dataset)
    assert (dataset.test_name, dataset.class_names) == ("test", ())
