"""The digits of scikit-learn: their split, their order and their grey levels."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxml.data import DATASETS, Dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return DATASETS["digits"](Path("no such folder"))


@pytest.fixture(scope="module")
def published():
    return load_digits()


def test_1437_images_train_and_360_test_in_ten_classes(digits):
    assert digits.train.inputs.shape == (1437, 8, 8, 1)
    assert digits.test.inputs.shape == (360, 8, 8, 1)
    assert digits.train.targets.shape == (1437,)
    assert digits.test.targets.shape == (360,)
    assert digits.num_classes == 10
    for part in (digits.train, digits.test):
        assert set(part.targets.tolist()) == set(range(10))


def test_images_are_bytes_and_labels_are_integers_of_32_bits(digits):
    for part in (digits.train, digits.test):
        assert (part.inputs.dtype, part.targets.dtype) == (np.uint8, np.int32)


def test_the_images_are_those_of_scikit_learn_in_its_order(digits, published):
    images = np.concatenate([digits.train.inputs, digits.test.inputs])[..., 0]
    np.testing.assert_array_equal(np.round(images.astype(float) * 16 / 255), published.images)


def test_the_labels_are_those_of_scikit_learn_in_its_order(digits, published):
    np.testing.assert_array_equal(digits.train.targets, published.target[:1437])
    np.testing.assert_array_equal(digits.test.targets, published.target[1437:])


def test_the_17_grey_levels_are_spread_evenly_from_0_to_255(digits):
    images = np.concatenate([digits.train.inputs, digits.test.inputs])
    expected = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert np.unique(images).tolist() == expected
