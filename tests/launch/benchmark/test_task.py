"""What a task says of itself."""

import dataclasses

import numpy as np

from launch.benchmark.task import Task, random_images

TASK = Task("train_step", "resnet20v1", 32, 8, 10, images=100)


def test_an_epoch_counts_whole_batches_alone():
    counted = {
        what: dataclasses.replace(TASK, what=what).counted
        for what in ("train_step", "inference", "conv", "epoch", "compile")
    }
    assert counted == {"train_step": 32, "inference": 32, "conv": 32, "epoch": 96, "compile": 0}


def test_images_are_the_same_for_everybody():
    images, labels = random_images(TASK, 100)
    assert (images.shape, images.dtype) == ((100, 8, 8, 3), np.uint8)
    assert images.min() == 0
    assert images.max() == 255
    assert set(labels.tolist()) == set(range(10))
    np.testing.assert_array_equal(random_images(TASK, 100)[0], images)
