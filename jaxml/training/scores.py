"""Scores of predicted classes: of each example, of each class, calibration, and their spread."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.metrics import CalibrationError, ConfusionMatrix


def example_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns accuracy, negative log-likelihood and Brier score of each example.

    Args:
      probabilities: `[n, classes]`.
      labels: `[n]` integers.

    Example:
      >>> scores = example_scores(np.array([[0.5, 0.5]]), np.array([0]))
      >>> scores["accuracy"].tolist(), scores["brier"].tolist()
      ([1.0], [0.5])
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    rest = (probabilities**2).sum(axis=1) - chosen**2
    return {
        "accuracy": (probabilities.argmax(axis=1) == labels).astype(np.float64),
        "nll": -np.log(np.maximum(chosen, np.finfo(np.float32).tiny)),
        "brier": rest + (1 - chosen) ** 2,
    }


def calibration(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns the calibration errors of the predicted classes; see `CalibrationError`."""
    confidences = jnp.asarray(probabilities.max(axis=1), jnp.float32)
    correct = jnp.asarray(probabilities.argmax(axis=1) == labels)
    errors = CalibrationError.from_batch(confidences, correct).compute()
    return {name: value for name, value in errors.items() if name != "count"}


def by_class(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Returns the confusion matrix, and the scores of each class, as JSON values."""
    matrix = ConfusionMatrix.from_batch(
        jnp.asarray(probabilities.argmax(axis=1), jnp.int32),
        jnp.asarray(labels, jnp.int32),
        num_classes=len(class_names),
    )
    columns = {
        "precision": matrix.precision(),
        "recall": matrix.recall(),
        "f1": matrix.f1(),
        "support": matrix.counts.sum(axis=1),
    }
    table = zip(
        class_names, *(np.asarray(column).tolist() for column in columns.values()), strict=True
    )
    names = ("class", *columns)
    return {
        "confusion": np.asarray(matrix.counts).tolist(),
        "classes": [dict(zip(names, row, strict=True)) for row in table],
    }


def bootstrap(
    values: np.ndarray, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> list[float]:
    """Returns the ends of a percentile bootstrap interval for the mean.

    Args:
      values: one score an example, `[n]`.
      resamples: number of resamples with replacement.
      seed: seed of the resamples.
      level: confidence level.

    Example:
      >>> bootstrap(np.ones(5))
      [1.0, 1.0]

    Reference: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    generator, count = np.random.default_rng(seed), len(values)
    means = [values[generator.integers(count, size=count)].mean() for _ in range(resamples)]
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
