"""Linear probes: support vector machines on the intermediate results of a network."""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.data import Dataset, StreamedDataset
from jaxml.errors import InputError
from jaxml.models import intermediates
from jaxml.svm import LinearSVC
from jaxml.training.assessment import Examples, Subject, collect
from jaxml.training.trained import REGRESSION, TrainedNetwork, check_tap
from jaxml.types import Array

PROBE_C = 0.01  # penalty parameter of probes, on standardized features


def probe(subject: Subject, tap: str, *, batch_size: int | None = None) -> dict[str, Any]:
    """Fits a linear SVM to features of a network, and compares it with the network's head.

    The features are means over height and width, standardized on the training set. A probe that is
    better than the head shows that the head limits the network; an equal one, that the features do.

    Args:
      subject: see `load_subject`.
      tap: name of an intermediate result, see `jaxml.models.intermediates`.
      batch_size: see `assess`.

    Returns:
      The accuracies of head and probe on both splits, and the certified relative duality gap.

    Raises:
      InputError: the network has no such tap, or no classes.
    """
    network, _, dataset = subject
    if network.task == REGRESSION:
        raise InputError(f"--probe must be unset for {network.name}, which has no classes")
    check_tap(network, tap, "--probe")
    method = functools.partial(_pooled, tap=tap)
    features, head = {}, {}
    # Training images are read as in evaluation, at the size that evaluation uses.
    splits = {"train": _as_evaluated(dataset), "test": dataset.test}
    for name, split in splits.items():
        values, targets = collect(subject, split, method, batch_size=batch_size)
        size = values.shape[1] - len(network.class_names)
        features[name] = values[:, :size], targets
        head[name] = float((values[:, size:].argmax(axis=1) == targets).mean())
    mean = features["train"][0].mean(axis=0)
    deviation = features["train"][0].std(axis=0)
    divisor = np.where(deviation > 0, deviation, 1)
    scaled = {name: ((x - mean) / divisor, y) for name, (x, y) in features.items()}
    model = LinearSVC(C=PROBE_C).fit(*scaled["train"])
    return {
        "tap": tap,
        "features": len(mean),
        "head_accuracy": head["test"],
        "probe_accuracy": float(model.score(*scaled["test"])),
        "head_train_accuracy": head["train"],
        "probe_train_accuracy": float(model.score(*scaled["train"])),
        "relative_gap": float(np.max(model.relative_gap_)),
    }


def _pooled(network: TrainedNetwork, inputs: Array, *, tap: str) -> Array:
    """Returns features `[batch, channels]` and the probabilities, side by side."""
    normalized = network.normalizer.apply(inputs)
    found = intermediates(network.model, network.variables, normalized, [tap])[tap]
    pooled = found.mean(axis=tuple(range(1, found.ndim - 1))).astype(jnp.float32)
    return jnp.concatenate([pooled, network.probabilities(inputs)], axis=1)


def _as_evaluated(dataset: Dataset | StreamedDataset) -> Examples:
    """Returns the training split, with images of the size that evaluation uses."""
    if isinstance(dataset, Dataset):
        return dataset.train
    test = dataset.test.inputs
    images = dataclasses.replace(
        dataset.train.inputs, preparation=test.preparation, example_shape=test.example_shape
    )
    return dataset.train._replace(inputs=images)
