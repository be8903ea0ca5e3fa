"""Accuracy with several valid labels for an example, and on some of the classes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.metrics import ValidLabelMetrics


def accuracy_of(
    logits: np.ndarray, valid: np.ndarray, classes: Sequence[int] | None
) -> dict[str, int | float]:
    """Computes the accuracy with several valid labels; see `ValidLabelMetrics`.

    Args:
      logits: `[n, classes]`, or probabilities.
      valid: `[n, classes]` booleans.
      classes: numbers of the classes to which both are restricted; None for all.
    """
    if classes is not None:
        logits, valid = logits[:, classes], valid[:, classes]
    return ValidLabelMetrics.from_batch(jnp.asarray(logits), jnp.asarray(valid)).compute()


def read_real_labels(
    path: Path, *, count: int, num_classes: int, file_names: Sequence[str]
) -> np.ndarray:
    """Reads the valid labels of each example.

    Args:
      path: JSON file with the class numbers of each example: an object from file names to lists, or
        a list of lists in the order of the file names.
      count: number of examples.
      num_classes: number of classes.
      file_names: of the examples, without folders; empty if they do not come from files.

    Returns:
      Booleans `[count, num_classes]`.

    Raises:
      InputError: the file cannot be read or does not suit the examples.
    """
    content = _read_json(path)
    if isinstance(content, dict) and file_names:
        missing = next((name for name in file_names if name not in content), None)
        if missing is not None:
            raise InputError(f"--real_labels={path}: must have an entry {missing!r}")
        lists = [content[name] for name in file_names]
    elif isinstance(content, list) and len(content) == count:
        order = np.argsort(file_names, kind="stable") if file_names else np.arange(count)
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


def read_classes(path: Path, class_names: Sequence[str]) -> list[int]:
    """Reads a text file with the name or number of a class in each line; returns sorted numbers.

    Raises:
      InputError: the file cannot be read, or names less than 2 of the classes.
    """
    known = {str(number): number for number in range(len(class_names))}
    known |= {name: number for number, name in enumerate(class_names)}
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


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--real_labels={path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"--real_labels={path}: must be a JSON file") from None
