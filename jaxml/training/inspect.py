"""The examples of any step of a run, also of a finished one, as the network sees them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxml.data import Images
from jaxml.errors import InputError
from jaxml.training.compilation import StepFunctions, jit_steps
from jaxml.training.experiment import Experiment
from jaxml.training.feed import train_feed
from jaxml.training.restore import read_experiment


class ShownExample(NamedTuple):
    """An example of a training batch.

    Attributes:
      example: index in the training set, of the image that replaces it if it is damaged.
      label: name or number of its class, or its target.
      name: name of its file or record, if it is streamed.
      box: left, upper, right and lower edge of its random resized crop, if there is one.
    """

    example: int
    label: str
    name: str = ""
    box: tuple[int, int, int, int] | None = None


def inspect_batch(workdir: Path | str, step: int) -> tuple[list[ShownExample], np.ndarray]:
    """Returns the examples of a training step, and their augmented inputs.

    Args:
      workdir: folder of the run; nothing in it is changed.
      step: index of the step, from 0.

    Raises:
      InputError: there is no such run or step, or its data have changed place.
    """
    workdir = Path(workdir)
    experiment = read_experiment(workdir)
    sizes = experiment.sizes
    if not 0 <= step < sizes.num_steps:
        raise InputError(f"--step must be in [0, {sizes.num_steps}), got {step}")
    chosen, inputs, targets = augmented_batch(experiment, jit_steps(experiment), step)
    labels = [label_name(experiment, target) for target in targets]
    if experiment.streamed is None:
        examples = map(ShownExample, chosen.tolist(), labels)
    else:
        images, epoch = experiment.streamed.train.inputs, step // sizes.steps_per_epoch
        examples = (
            _describe(images, example, epoch, label)
            for example, label in zip(chosen.tolist(), labels, strict=True)
        )
    return list(examples), inputs


class AugmentedBatch(NamedTuple):
    """A training batch as the network sees it.

    Attributes:
      indices: indices of the examples in the training set.
      inputs: augmented inputs, not normalized.
      targets: targets before the augmentation.
    """

    indices: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray


def augmented_batch(experiment: Experiment, steps: StepFunctions, step: int) -> AugmentedBatch:
    """Returns the augmented batch of a training step.

    Args:
      experiment: the experiment.
      steps: its functions.
      step: index of the step.
    """
    sizes, keys = experiment.sizes, experiment.keys
    epoch, index = divmod(step, sizes.steps_per_epoch)
    order = steps.epoch_order(keys.order, experiment.replicate(epoch))
    with train_feed(experiment, steps.epoch_order, step) as data:
        batch = steps.augment(data(1), order, keys.step, experiment.replicate(step))
    chosen = np.asarray(order)[index * sizes.batch_size :][: sizes.batch_size]
    return AugmentedBatch(chosen, *map(np.asarray, batch))


def label_name(experiment: Experiment, target: np.generic) -> str:
    """Returns the name of a class if it is known, or else its number or the target."""
    names = experiment.class_names
    return names[int(target)] if names else str(target)


def _describe(images: Images, example: int, epoch: int, label: str) -> ShownExample:
    found, box = images.locate(example, epoch)
    return ShownExample(found, label, images.table.name(found), box)
