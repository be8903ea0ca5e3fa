"""What the network of a run makes of its examples on the way: features for another learner."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxml.config import Config
from jaxml.data import DATASETS, Split
from jaxml.errors import InputError, choose
from jaxml.models import intermediate_shapes, intermediates
from jaxml.normalize import Normalizer
from jaxml.training.evaluate import restore
from jaxml.types import Array, PyTree


def features(
    workdir: Path, tap: str, *, split: str = "test", checkpoint: str = "newest"
) -> tuple[np.ndarray, np.ndarray]:
    """The values of one tap for every example of a split, in evaluation, not augmented.

    Args:
      workdir: folder of a run; nothing in it is changed.
      tap: name of an intermediate result, as `jaxml.models.intermediates` names them: "features"
        is the input of the classifier.
      split: "train", "test", or "validation" where the run holds one out of the training set.
      checkpoint: "newest", "best", or the number of a step.

    Returns:
      Features `[n, d]`, float32, images flattened in the order height, width, channels; and the
      targets `[n]` of the data set, in its order.

    Raises:
      InputError: there is no such run, checkpoint, split or tap.
    """
    program, _, state = restore(workdir, checkpoint)
    config, model = program.config, program.model
    examples = _examples(config, split)
    shapes = intermediate_shapes(model, program.input_shape)
    if not shapes:
        raise InputError(f"--tap={tap}: {config.model.name} has no intermediate results")
    choose(shapes, tap, "--tap")

    def compute(variables: PyTree, normalizer: Normalizer, batch: Array) -> Array:
        found = intermediates(model, variables, normalizer.apply(batch), [tap])[tap]
        return found.reshape(len(batch), -1).astype(np.float32)

    replicated: Any = state.step.sharding
    rows = NamedSharding(replicated.mesh, PartitionSpec("data"))
    run = partial(jax.jit(compute), program.evaluated(state), state.normalizer)
    # A step of the evaluation is a multiple of the devices: see `Program`.
    size = min(config.eval_batch_size, _rounded_up(len(examples.targets), replicated.mesh.size))
    parts = [
        np.asarray(run(jax.device_put(_padded(examples.inputs[start : start + size], size), rows)))
        for start in range(0, len(examples.targets), size)
    ]
    return np.concatenate(parts)[: len(examples.targets)], examples.targets


def _examples(config: Config, split: str) -> Split:
    """A split of the data of a run, as the run divides it."""
    dataset = DATASETS[config.data.name](Path(config.data.dir))
    splits = {"train": dataset.train, "test": dataset.test}
    if config.data.validation_size:
        divided = dataset.hold_out(config.data.validation_size)
        splits |= {"train": divided.train, "validation": divided.test}
    return choose(splits, split, "--split")


def _padded(inputs: np.ndarray, size: int) -> np.ndarray:
    """With zeros for the rows that the last batch lacks."""
    return np.pad(inputs, [(0, size - len(inputs)), *[(0, 0)] * (inputs.ndim - 1)])


def _rounded_up(count: int, multiple: int) -> int:
    return count + -count % multiple
