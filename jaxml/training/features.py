"""Extracts intermediate results of a run's network, as features for another model."""

from functools import partial
from pathlib import Path

import numpy as np

from jaxml.config import Config
from jaxml.data import Dataset, Split, StreamedSplit, load_dataset, num_workers, stream
from jaxml.errors import choose
from jaxml.training.prediction import on_devices
from jaxml.training.restore import restore_checkpoint
from jaxml.training.trained import TrainedNetwork, check_tap, network_of


def extract_features(
    workdir: Path | str, tap: str, *, split: str = "test", checkpoint: str = "newest"
) -> tuple[np.ndarray, np.ndarray]:
    """Computes one intermediate result for every example of a split, without augmentation.

    Args:
      workdir: folder of the run; nothing in it is changed.
      tap: name of the intermediate result (see `jaxml.models.intermediates`); "features" is the
        input of the classifier.
      split: "train", "test", or "validation" if the run holds one out of the training set.
      checkpoint: "newest", "best", or the number of a step.

    Returns:
      Features `[n, d]`, float32, with images flattened in the order height, width, channels; and
      the targets `[n]`, both in the order of the data set.

    Raises:
      InputError: there is no such run, checkpoint, split or tap.
    """
    restored = restore_checkpoint(workdir, checkpoint)
    network, config = network_of(restored, Path(workdir)), restored.experiment.config
    examples = _examples(config, split)
    check_tap(network, tap, name=config.model.name)
    run = on_devices(network, partial(TrainedNetwork.features, tap=tap))
    features, targets = [], []
    batches = stream.in_order(examples, config.eval_batch_size, workers=num_workers(config.data))
    for inputs, labels in batches:
        features.append(np.asarray(run(inputs))[: len(labels)])
        targets.append(labels)
    return np.concatenate(features), np.concatenate(targets)


def _examples(config: Config, split: str) -> Split | StreamedSplit:
    """Loads a split of the data of a run, divided as in the run."""
    dataset = load_dataset(config.data)
    splits = {"train": dataset.train, dataset.test_name: dataset.test}
    if config.data.validation_size and isinstance(dataset, Dataset):
        divided = dataset.hold_out(config.data.validation_size)
        splits |= {"train": divided.train, "validation": divided.test}
    return choose(splits, split, "--split")
