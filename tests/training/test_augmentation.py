"""The augmentations of a config in the training step: keys, flips by epoch, mixed labels."""

from functools import partial

import jax
import numpy as np
import pytest
import scipy.special

from jaxml.config import DataConfig, LossConfig
from jaxml.data import augment
from jaxml.errors import InputError
from jaxml.training.compilation import TrainCall, augment_batch, jit_steps
from jaxml.training.experiment import create_experiment
from jaxml.training.initialize import initial_state
from jaxml.types import Batch
from tests import tiny

SIZE = 478


def _experiment(*augmentations, **settings):
    return create_experiment(tiny.config(data=DataConfig(augment=augmentations, **settings)))


def _augmented(experiment, step, order=None):
    """Augments the first examples, in an order that they are taken to have in the epoch."""
    order = np.arange(len(experiment.train_data.targets)) if order is None else order
    batch = Batch(*(array[order[:SIZE]] for array in experiment.train_data))
    function = jax.jit(lambda *arguments: augment_batch(experiment, *arguments))
    step = experiment.replicate(step)
    return function(batch, order.astype(np.int32), experiment.keys.step, step)


@pytest.mark.slow
def test_crop_flip_and_dropout_have_the_keys_of_their_step():
    experiment = _experiment("crop:padding=1", "flip")
    dropout_key, batch = _augmented(experiment, 2)
    keys = jax.random.split(jax.random.fold_in(experiment.keys.step, 2), 3)
    images = augment.random_crop(keys[0], experiment.train_data.inputs[:SIZE], padding=1)
    np.testing.assert_array_equal(batch.inputs, augment.random_flip(keys[1], images))
    assert (jax.random.key_data(dropout_key) == jax.random.key_data(keys[2])).all()
    # More augmentations change neither of them.
    longer = _experiment("crop:padding=1", "flip", "cutout:size=0", "invert:probability=0")
    again_key, again = _augmented(longer, 2)
    np.testing.assert_array_equal(again.inputs, batch.inputs)
    assert (jax.random.key_data(dropout_key) == jax.random.key_data(again_key)).all()


def test_flips_alternate_over_the_epochs_wherever_an_example_is():
    experiment = _experiment("alternating_flip")
    order = np.arange(len(experiment.train_data.targets))
    order[:SIZE] = np.random.default_rng(0).permutation(SIZE)
    images = np.asarray(experiment.train_data.inputs)[:SIZE]
    # Steps 0, 3 and 6 begin the first three epochs.
    first, third = (_augmented(experiment, step)[1].inputs for step in (0, 6))
    second = np.empty_like(images)
    second[order[:SIZE]] = _augmented(experiment, 3, order)[1].inputs
    flipped = (np.asarray(first) != images).any((1, 2, 3))
    assert 0.3 < flipped.mean() < 0.7
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(second, np.asarray(first)[:, :, ::-1])


@pytest.mark.slow
def test_mixed_labels_are_the_targets_of_the_loss():
    experiment = _experiment("mixup:alpha=1", "cutmix")
    steps = jit_steps(experiment, [TrainCall(1)])
    state = initial_state(experiment, steps)
    order = steps.epoch_order(experiment.keys.order, experiment.replicate(0))
    _, batch = _augmented(experiment, 0, np.asarray(order))
    np.testing.assert_allclose(batch.targets.sum(1), 1, atol=1e-6)
    assert (np.count_nonzero(batch.targets, axis=1) > 1).mean() > 0.5

    learner = experiment.learner
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    inputs = state.normalizer.apply(batch.inputs)
    predict = partial(learner.model.apply, train=True, mutable=["batch_stats"])
    logits = np.asarray(jax.jit(predict)(variables, inputs)[0], np.float64)
    losses = -(np.asarray(batch.targets) * scipy.special.log_softmax(logits, axis=1)).sum(1)
    correct = logits.argmax(1) == np.asarray(batch.targets).argmax(1)

    data = experiment.train_data
    _, metrics, _ = steps.train[TrainCall(1)](state, data, order, experiment.keys.step)
    assert float(metrics.loss[0]) == pytest.approx(losses.sum(), rel=1e-4)
    assert int(metrics.correct[0]) == correct.sum()


def test_mixing_stops_after_its_epochs():
    experiment = _experiment("mixup:alpha=1", mixing_epochs=2)
    images, labels = (np.asarray(array)[:SIZE] for array in experiment.train_data)
    for step, mixed in [(0, True), (5, True), (6, False), (11, False)]:  # 3 steps an epoch
        _, batch = _augmented(experiment, step)
        assert (np.asarray(batch.inputs) != images).any() == mixed
        assert (np.asarray(batch.targets) != np.eye(10)[labels]).any() == mixed


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ("cuttmix", "config.data.augment must be one of .*, got 'cuttmix'; did you mean 'cutmix'"),
        (
            "random_erasing:probability=2",
            r"config.data.augment must suit 8x8x1 images, got random_erasing:probability=2: "
            r"`probability` must be in \[0, 1\], got 2",
        ),
    ],
)
def test_augmentations_that_cannot_be_are_refused(augmentation, message):
    with pytest.raises(InputError, match=f"^{message}"):
        _experiment(augmentation)


def test_labels_are_mixed_for_losses_of_soft_labels_only():
    message = (
        "config.data.augment must not mix labels unless config.loss.name is one of "
        "softmax_cross_entropy, softmax_focal, one_vs_rest_cross_entropy, "
        "got mixup with crammer_singer_hinge"
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        create_experiment(
            tiny.config(
                data=DataConfig(augment=("mixup",)), loss=LossConfig(name="crammer_singer_hinge")
            )
        )
