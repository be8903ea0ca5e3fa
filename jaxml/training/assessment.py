"""Assessment of a trained network on data: exact metrics, their spread, and robustness."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.config import Config
from jaxml.data import Dataset, Split, StreamedDataset, StreamedSplit, load_dataset, num_workers
from jaxml.data.corruptions import SEVERITIES, corrupt
from jaxml.data.stream import in_order
from jaxml.errors import InputError
from jaxml.training.objective import create_objective
from jaxml.training.prediction import on_devices
from jaxml.training.scores import bootstrap, by_class, calibration, example_scores
from jaxml.training.trained import (
    MULTICLASS,
    REGRESSION,
    TrainedNetwork,
    class_numbers,
    load_network,
    to_probabilities,
)
from jaxml.training.valid_labels import accuracy_of, read_classes, read_real_labels
from jaxml.training.workdir import read_config
from jaxml.types import Array

Examples = Split | StreamedSplit
Say = Callable[[str], None]


class Subject(NamedTuple):
    """A network with the data on which it is assessed.

    Attributes:
      network: the network.
      config: the config of its run, with the data that are assessed.
      dataset: the data, whose test split is assessed; labels are numbered as the network's classes.
    """

    network: TrainedNetwork
    config: Config
    dataset: Dataset | StreamedDataset


def load_subject(
    workdir: Path | str,
    checkpoint: str = "newest",
    *,
    change: Callable[[Config], None] = lambda _: None,
    flip: bool = False,
) -> Subject:
    """Loads a network and its evaluation set.

    Args:
      workdir: folder of the run; nothing in it is changed.
      checkpoint: see `load_network`.
      change: changes the config, to assess the network on other data.
      flip: whether to average the outputs for each image and its mirror image, whatever the config
        says.

    Raises:
      InputError: there is no such run or checkpoint, or the data do not suit the network.
    """
    network, config = load_network(workdir, checkpoint), read_config(Path(workdir))
    trained_on = config.data.name
    change(config)
    dataset = load_dataset(config.data, seed=config.seed)
    if isinstance(dataset, Dataset):
        dataset = dataset.hold_out(config.data.validation_size)
        unnamed = network.class_names == class_numbers(dataset.num_classes)
        if unnamed and config.data.name == trained_on:
            dataset = dataset._replace(class_names=())  # the run is older than the names
    shape = tuple(dataset.test.inputs.shape[1:])
    if shape != network.example_shape:
        raise InputError(
            f"config.data must have inputs of the shape {network.example_shape} of {network.name}, "
            f"got {shape}"
        )
    if (network.task == REGRESSION) != (dataset.num_classes == 0):
        raise InputError(f"config.data.name must suit {network.name}, got {config.data.name}")
    if flip:
        if len(shape) != 3:
            raise InputError(f"--tta must be false for {network.name}, which takes features")
        network = network.replace(eval_flip=True)
    return Subject(network, config, _renumber(dataset, network.class_names))


def _renumber(
    dataset: Dataset | StreamedDataset, class_names: Sequence[str]
) -> Dataset | StreamedDataset:
    """Numbers the labels as the classes of a network with the same names."""
    if dataset.num_classes == len(class_names) and dataset.class_names in ((), tuple(class_names)):
        return dataset
    names = dataset.class_names or class_numbers(dataset.num_classes)
    numbers = {name: number for number, name in enumerate(class_names)}
    if unknown := [name for name in names if name not in numbers]:
        raise InputError(
            f"config.data must have only classes of the network, got {', '.join(unknown[:5])}"
        )
    table = np.asarray([numbers[name] for name in names], np.int32)
    train, test = (s._replace(targets=table[s.targets]) for s in (dataset.train, dataset.test))
    return dataset._replace(  # pyright: ignore[reportReturnType]
        train=train, test=test, num_classes=len(class_names), class_names=tuple(class_names)
    )


def assess(
    subject: Subject,
    *,
    corruptions: Iterable[str] = (),
    real_labels: Path | None = None,
    classes: Path | None = None,
    batch_size: int | None = None,
    resamples: int = 1000,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Computes exact metrics over the evaluation set of a subject.

    For classes these are the loss, the accuracy, the negative log-likelihood, the Brier score (the
    squared error of the probabilities, summed over the classes), the calibration errors, the
    confusion matrix, and precision, recall and F1 score of each class. `intervals` are 95 %
    percentile intervals over bootstrap resamples of the examples.

    Args:
      subject: see `load_subject`.
      corruptions: names in `jaxml.data.corruptions`; the accuracy at each severity is added.
      real_labels: file with several valid labels of each example (see `valid_labels`), which adds
        "real_accuracy", and "real_count", the number of examples with a valid label.
      classes: file with the classes to which the outputs are restricted, which adds
        "classes_accuracy" and "classes_count", and changes "real_accuracy".
      batch_size: examples in a batch; None takes that of the config. It is halved while memory does
        not suffice.
      resamples: number of bootstrap resamples.
      say: receives a line about what is computed or changed.

    Returns:
      JSON values by name.
    """
    network, config, dataset = subject
    choice = _read_choice(subject, real_labels, classes)
    # A damaged image is replaced along with its target, here the position of the example.
    indexed = dataset.test._replace(targets=np.arange(len(dataset.test.targets), dtype=np.int32))
    outputs, positions = collect(subject, indexed, batch_size=batch_size, say=say)
    targets = np.asarray(dataset.test.targets)[positions]
    result = {"step": network.step, "split": dataset.test_name}
    result |= _means(subject, outputs, targets)
    if network.task == REGRESSION:
        scores = {"squared_error": (outputs[:, 0] - targets) ** 2}
    else:
        probabilities = _probabilities(network, outputs)
        scores = example_scores(probabilities, targets)
        result |= calibration(probabilities, targets) | by_class(
            probabilities, targets, network.class_names
        )
        result |= _chosen_accuracies(choice, probabilities, targets, positions)
    result |= {name: float(values.mean()) for name, values in scores.items()}
    result["intervals"] = {
        name: bootstrap(values, resamples=resamples, seed=config.seed)
        for name, values in scores.items()
    }
    if chosen := list(corruptions):
        result["corruptions"] = _robustness(subject, chosen, batch_size, say)
    if damaged := getattr(dataset, "damage", None):
        result |= {"damaged_images": len(damaged.messages)} if damaged.messages else {}
    return result


class _Choice(NamedTuple):
    """Valid labels as booleans `[n, classes]`, and the numbers of the classes that are compared."""

    valid: np.ndarray | None
    classes: list[int] | None


def _read_choice(subject: Subject, real_labels: Path | None, classes: Path | None) -> _Choice:
    network, _, dataset = subject
    if (real_labels or classes) and network.task != MULTICLASS:
        raise InputError(
            f"--real_labels and --classes must be unset for {network.name}, which has no classes "
            "to choose from"
        )
    test, names = dataset.test, network.class_names
    files = []
    if isinstance(test, StreamedSplit):
        table = test.inputs.table
        files = [Path(table.name(index)).name for index in range(len(table))]
    valid = real_labels and read_real_labels(
        real_labels, count=len(test.targets), num_classes=len(names), file_names=files
    )
    return _Choice(valid, read_classes(classes, names) if classes else None)


def _chosen_accuracies(
    choice: _Choice, probabilities: np.ndarray, targets: np.ndarray, positions: np.ndarray
) -> dict[str, int | float]:
    """Returns the accuracies with the valid labels, and with the labels of the data set."""
    given = {}
    if choice.valid is not None:
        given["real"] = choice.valid[positions]
    if choice.classes is not None:
        given["classes"] = targets[:, None] == np.arange(probabilities.shape[1])
    return {
        f"{prefix}_{name}": value
        for prefix, valid in given.items()
        for name, value in accuracy_of(probabilities, valid, choice.classes).items()
    }


def _means(subject: Subject, outputs: np.ndarray, targets: np.ndarray) -> dict[str, int | float]:
    """Computes the metrics that a run reports."""
    labels = subject.dataset.train.targets if subject.config.loss.balance_classes else None
    objective = create_objective(subject.config.loss, subject.dataset.num_classes, labels)
    shaped = objective.outputs(jnp.asarray(outputs))
    losses = objective.loss(shaped, jnp.asarray(targets))
    metrics = objective.metrics.from_batch(losses, shaped, jnp.asarray(targets))
    return objective.compute(jax.device_get(metrics))


def _probabilities(network: TrainedNetwork, outputs: np.ndarray) -> np.ndarray:
    return np.asarray(to_probabilities(network.task, jnp.asarray(outputs)), np.float64)


def collect(
    subject: Subject,
    examples: Examples,
    method: Callable[[TrainedNetwork, Array], Array] = TrainedNetwork.logits,
    *,
    transform: Callable[[np.ndarray, int], np.ndarray] | None = None,
    batch_size: int | None = None,
    say: Say = lambda _: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the outputs of a network for every example of a split.

    Args:
      subject: provides the network.
      examples: the split.
      method: function of the network and a batch of raw inputs.
      transform: changes a batch on the host, given the index of its first example.
      batch_size: see `assess`.
      say: see `assess`.

    Returns:
      The outputs `[n, ...]`, and the targets `[n]`.
    """
    size = batch_size or subject.config.eval_batch_size
    compute = halving(on_devices(subject.network, method), say)
    outputs, targets, start = [], [], 0
    for inputs, labels in in_order(examples, size, workers=num_workers(subject.config.data)):
        outputs.append(compute(transform(inputs, start) if transform else inputs))
        targets.append(labels)
        start += len(labels)
    return np.concatenate(outputs), np.concatenate(targets)


def halving(
    compute: Callable[[np.ndarray], Array], say: Say = lambda _: None
) -> Callable[[np.ndarray], np.ndarray]:
    """Splits batches in halves, again and again, while memory does not suffice for them.

    Args:
      compute: a function of a batch.
      say: receives a line when the size of batches changes.
    """
    largest: int | None = None

    def run(batch: np.ndarray) -> np.ndarray:
        nonlocal largest
        while True:
            size = min(largest or len(batch), len(batch))
            parts = range(0, len(batch), size)
            try:
                return np.concatenate([_rows(compute, batch[i : i + size]) for i in parts])
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                text = str(error)
                known = "RESOURCE_EXHAUSTED" in text or "Out of memory" in text
                if size == 1 or not (known or isinstance(error, MemoryError)):
                    raise
            largest = size // 2
            say(f"out of memory with batches of {size}; going on with {largest}")

    return run


def _rows(compute: Callable[[np.ndarray], Array], batch: np.ndarray) -> np.ndarray:
    return np.asarray(compute(batch))[: len(batch)]  # without padding


def _robustness(
    subject: Subject, names: Sequence[str], batch_size: int | None, say: Say
) -> dict[str, list[float]]:
    """Returns the accuracy at each severity, by the name of the corruption."""
    network = subject.network
    if network.task == REGRESSION or len(network.example_shape) != 3:
        raise InputError(f"--corruptions must be unset for {network.name}: they need images")
    found: dict[str, list[float]] = {}
    for name in names:
        found[name] = []
        for severity in SEVERITIES:
            transform = functools.partial(_corrupted, name=name, severity=severity)
            outputs, targets = collect(
                subject, subject.dataset.test, transform=transform, batch_size=batch_size, say=say
            )
            scores = example_scores(_probabilities(network, outputs), targets)
            found[name].append(float(scores["accuracy"].mean()))
            say(f"{name}, severity {severity}: accuracy {found[name][-1]:.4f}")
    return found


def _corrupted(batch: np.ndarray, start: int, *, name: str, severity: int) -> np.ndarray:
    images = (corrupt(one, name, severity=severity, seed=start + i) for i, one in enumerate(batch))
    return np.stack(list(images))


def scalars(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of an assessment that fit into the cell of a table.

    >>> scalars({"accuracy": 0.5, "intervals": {"accuracy": [0.4, 0.6]}, "classes": []})
    {'accuracy': 0.5, 'accuracy_low': 0.4, 'accuracy_high': 0.6}
    """
    row = {name: value for name, value in result.items() if isinstance(value, str | int | float)}
    for name, (low, high) in result.get("intervals", {}).items():
        row |= {f"{name}_low": low, f"{name}_high": high}
    for name, accuracies in result.get("corruptions", {}).items():
        row[f"{name}_accuracy"] = float(np.mean(accuracies))
    for found in result.get("probes", []):
        row[f"{found['tap']}_probe_accuracy"] = found["probe_accuracy"]
    return row
