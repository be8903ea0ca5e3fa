"""Class weights of the classifiers."""

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from jaxml.errors import InputError


def class_weights(
    setting: Any, classes: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Computes the factors of C of each class.

    A sample of weight k counts as k samples, and one of weight 0 as none, so "balanced" is
    `sum(sample_weight) / (num_classes * sum(sample_weight of the class))`. scikit-learn's
    kernel SVMs count samples without their weights there.

    Args:
      setting: None, "balanced" or a dict from class to factor.
      classes: `[classes]`, sorted.
      labels: `[samples]`, indices of the classes.
      sample_weight: `[samples]`, non-negative; None is 1 for all.

    Returns:
      `[classes]`, positive.

    Raises:
      InputError: a class has no sample of positive weight, or a factor is not positive and finite.
    """
    count = np.bincount(labels, sample_weight, minlength=len(classes)).astype(np.float64)
    if not count.all():
        raise InputError(
            "sample_weight must be positive for a sample of each class, got 0 for all of class "
            f"{classes[count.argmin()]}"
        )
    if isinstance(setting, str) and setting == "balanced":
        weights = count.sum() / (len(classes) * count)
    else:
        found = compute_class_weight(setting, classes=classes, y=classes[labels])
        weights = np.asarray(found, np.float64)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise InputError(
            f"class_weight: {setting!r} is not allowed, its factors of C are numbers above 0"
        )
    return weights
