"""Accuracy with several valid labels for an example, and on some of the classes."""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxml.errors import InputError
from jaxml.metrics import ClassificationMetrics, ValidLabelMetrics
from jaxml.training.compilation import StepFunctions, eval_batch
from jaxml.training.evaluation import reestimate_statistics
from jaxml.training.experiment import Experiment
from jaxml.training.feed import eval_feed
from jaxml.training.steps import TrainState, eval_outputs
from jaxml.types import Array, Batch


def valid_label_metrics(
    experiment: Experiment,
    steps: StepFunctions,
    state: TrainState,
    *,
    real_labels: Path | None = None,
    classes: Path | None = None,
) -> dict[str, int | float]:
    """Evaluates a state with labels or classes of one's own.

    Args:
      experiment: the experiment.
      steps: its functions.
      state: the state.
      real_labels: JSON file with the valid labels, class numbers, of each evaluation example: an
        object from file names to lists, or a list of lists in the order of the file names.
      classes: text file with the name or number of a class in each line. Only the logits of these
        classes are compared, and examples of others are ignored.

    Returns:
      "real_accuracy" and "real_count", the number of examples with a valid label, given
      `real_labels`; "classes_accuracy" and "classes_count" with the labels of the data set, given
      `classes`. If both are given, the first are of these classes, too.

    Raises:
      InputError: a file does not suit the data set, or the run has no classes.
    """
    objective, count = experiment.learner.objective, experiment.sizes.eval_count
    if objective.metrics is not ClassificationMetrics:
        raise InputError(
            "--real_labels and --classes must be empty unless config.loss.name is a loss of "
            f"several classes, got {experiment.config.loss.name}"
        )
    state = reestimate_statistics(experiment, steps, state)
    chosen = _read_classes(classes, experiment) if classes else None
    metrics = {}
    if real_labels:
        valid = _read_real_labels(real_labels, experiment)
        metrics |= {f"real_{k}": v for k, v in _evaluate(experiment, state, valid, chosen).items()}
    if chosen is not None:
        targets = (experiment.streamed.test if experiment.streamed else experiment.eval_data)[1]
        valid = np.asarray(targets)[:count, None] == np.arange(objective.num_classes)
        found = _evaluate(experiment, state, valid, chosen)
        metrics |= {f"classes_{name}": value for name, value in found.items()}
    return metrics


def _evaluate(
    experiment: Experiment, state: TrainState, valid: np.ndarray, classes: Sequence[int] | None
) -> dict[str, int | float]:
    indexed = _with_indices(experiment)

    @jax.jit
    def add(
        state: TrainState, metrics: ValidLabelMetrics, data: Batch, start: Array, valid: Array
    ) -> ValidLabelMetrics:
        batch, mask = eval_batch(indexed, data, start)
        logits, found = eval_outputs(indexed.learner, state, batch.inputs), valid[batch.targets]
        if classes is not None:
            logits, found = logits[:, np.asarray(classes)], found[:, np.asarray(classes)]
        return metrics.merge(ValidLabelMetrics.from_batch(logits, found, mask))

    metrics, on_devices = ValidLabelMetrics.empty(), jax.device_put(valid, experiment.replicated)
    with closing(eval_feed(indexed)) as feed:
        for start, data in feed:
            metrics = add(state, metrics, data, experiment.replicate(start), on_devices)
    return jax.device_get(metrics).compute()


def _with_indices(experiment: Experiment) -> Experiment:
    """Replaces the evaluation targets by the indices of the examples.

    A damaged image is replaced along with its target, and so along with its index.
    """
    if streamed := experiment.streamed:
        test = streamed.test
        test = test._replace(targets=np.arange(len(test.targets), dtype=np.int32))
        return dataclasses.replace(experiment, streamed=streamed._replace(test=test))
    data, last = experiment.eval_data, experiment.sizes.eval_count - 1
    indices = np.minimum(np.arange(len(data.targets), dtype=np.int32), last)
    data = data._replace(targets=jax.device_put(indices, experiment.replicated))
    return dataclasses.replace(experiment, eval_data=data)


def _read_real_labels(path: Path, experiment: Experiment) -> np.ndarray:
    """Reads valid labels, as booleans `[examples, classes]`."""
    count, num_classes = experiment.sizes.eval_count, experiment.learner.objective.num_classes
    names = _file_names(experiment)
    content = _read_json(path)
    if isinstance(content, dict) and names:
        missing = next((name for name in names if name not in content), None)
        if missing is not None:
            raise InputError(f"--real_labels={path}: must have an entry {missing!r}")
        lists = [content[name] for name in names]
    elif isinstance(content, list) and len(content) == count:
        order = np.argsort(names, kind="stable") if names else np.arange(count)
        lists: list[Any] = [None] * count
        for place, labels in zip(order, content, strict=True):
            lists[place] = labels
    else:
        raise InputError(f"--real_labels={path}: must be a list with {count} lists of labels")
    valid = np.zeros((count, num_classes), bool)
    for example, labels in enumerate(lists):
        for label in labels if isinstance(labels, list) else [labels]:
            if type(label) is not int or not 0 <= label < num_classes:
                raise InputError(
                    f"--real_labels={path}: labels must be integers in [0, {num_classes}), "
                    f"got {label!r}"
                )
            valid[example, label] = True
    return valid


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--real_labels={path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"--real_labels={path}: must be a JSON file") from None


def _file_names(experiment: Experiment) -> list[str]:
    """Returns the names of the files of the evaluation images, without their folders, if any."""
    if not experiment.streamed:
        return []
    table = experiment.streamed.test.inputs.table
    return [Path(table.name(index)).name for index in range(len(table))]


def _read_classes(path: Path, experiment: Experiment) -> list[int]:
    """Reads the numbers of the classes, in their order."""
    num_classes = experiment.learner.objective.num_classes
    names = experiment.class_names or tuple(map(str, range(num_classes)))
    known = {str(number): number for number in range(num_classes)}
    known |= {name: number for number, name in enumerate(names)}
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "must be text in UTF-8"
        raise InputError(f"--classes={path}: {reason}") from None
    wrong = next((line for line in lines if line and line not in known), None)
    if wrong is not None:
        raise InputError(f"--classes={path}: must hold names or numbers of classes, got {wrong!r}")
    found = sorted({known[line] for line in lines if line})
    if len(found) < 2:
        raise InputError(f"--classes={path}: must hold at least 2 classes, got {len(found)}")
    return found
