"""Holding out the end of a training set."""

import numpy as np
import pytest

from jaxml.data import Dataset, Split
from jaxml.errors import InputError


def split(first: int, count: int) -> Split:
    """Images whose pixels and label are their own number."""
    numbers = np.arange(first, first + count)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 2, 3, 1)).astype(np.uint8)
    return Split(images, numbers.astype(np.int32))


def numbers(part: Split) -> tuple[list[int], list[int]]:
    return part.inputs[:, 0, 0, 0].tolist(), part.targets.tolist()


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(split(0, 5), split(100, 3), num_classes=103)


def test_the_last_training_images_take_the_place_of_the_test_split(dataset):
    held_out = dataset.hold_out(2)
    assert numbers(held_out.train) == ([0, 1, 2], [0, 1, 2])
    assert numbers(held_out.test) == ([3, 4], [3, 4])


def test_the_classes_and_the_shape_of_an_image_stay(dataset):
    held_out = dataset.hold_out(2)
    assert held_out.num_classes == 103
    for part in (held_out.train, held_out.test):
        assert part.inputs.shape[1:] == (2, 3, 1)
        assert (part.inputs.dtype, part.targets.dtype) == (np.uint8, np.int32)


def test_holding_out_nothing_keeps_the_test_split(dataset):
    unchanged = dataset.hold_out(0)
    assert numbers(unchanged.train) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    assert numbers(unchanged.test) == ([100, 101, 102], [100, 101, 102])


def test_the_set_it_is_called_on_stays_as_it_is(dataset):
    dataset.hold_out(2)
    assert numbers(dataset.train) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    assert numbers(dataset.test) == ([100, 101, 102], [100, 101, 102])


def test_one_training_image_is_enough(dataset):
    assert numbers(dataset.hold_out(4).train) == ([0], [0])


@pytest.mark.parametrize("size", [5, 6])
def test_holding_out_every_training_image_is_refused(dataset, size):
    with pytest.raises(InputError) as error:
        dataset.hold_out(size)
    assert str(error.value) == (
        "config.data.validation_size must be in [0, 5), the number of training examples, "
        f"got {size}"
    )


def test_a_negative_number_of_images_is_refused(dataset):
    with pytest.raises(InputError, match=r"config\.data\.validation_size must be .*, got -2"):
        dataset.hold_out(-2)
