"""Extracts intermediate results of a run's network, as features for another model."""

from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxml.config import Config
from jaxml.data import Dataset, Split, StreamedSplit, load_dataset, num_workers, stream
from jaxml.errors import InputError, choose
from jaxml.models import intermediate_shapes, intermediates
from jaxml.normalize import Normalizer
from jaxml.training.compilation import jit_steps
from jaxml.training.evaluation import final_variables
from jaxml.training.restore import restore_checkpoint
from jaxml.types import Array, PyTree


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
    experiment, _, state = restore_checkpoint(workdir, checkpoint)
    config, model = experiment.config, experiment.learner.model
    examples = _examples(config, split)
    count = len(examples.targets)
    shapes = intermediate_shapes(model, experiment.input_shape)
    if not shapes:
        raise InputError(
            f"--tap must name an intermediate result of {config.model.name}, which has none, "
            f"got {tap!r}"
        )
    choose(shapes, tap, "--tap")

    def compute(variables: PyTree, normalizer: Normalizer, batch: Array) -> Array:
        found = intermediates(model, variables, normalizer.apply(batch), [tap])[tap]
        return found.reshape(len(batch), -1).astype(np.float32)

    variables = final_variables(experiment, jit_steps(experiment), state)
    run = partial(jax.jit(compute), variables, state.normalizer)
    # A batch is sharded over the devices; both sizes are multiples of their number.
    size = min(config.eval_batch_size, count + -count % experiment.replicated.mesh.size)
    features = []
    targets = []
    for inputs, labels in stream.in_order(examples, size, workers=num_workers(config.data)):
        batch = jax.device_put(_padded(inputs, size), experiment.sharded)
        features.append(np.asarray(run(batch)))
        targets.append(labels)
    return np.concatenate(features)[:count], np.concatenate(targets)


def _examples(config: Config, split: str) -> Split | StreamedSplit:
    """Loads a split of the data of a run, divided as in the run."""
    dataset = load_dataset(config.data)
    splits = {"train": dataset.train, dataset.test_name: dataset.test}
    if config.data.validation_size and isinstance(dataset, Dataset):
        divided = dataset.hold_out(config.data.validation_size)
        splits |= {"train": divided.train, "validation": divided.test}
    return choose(splits, split, "--split")


def _padded(inputs: np.ndarray, size: int) -> np.ndarray:
    """Appends zeros to a batch until it has `size` examples."""
    return np.pad(inputs, [(0, size - len(inputs)), *[(0, 0)] * (inputs.ndim - 1)])
