"""Class weights of the classifiers."""

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from jaxml.errors import InputError


def class_weights(setting: Any, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Factors of C `[classes]`, of `setting` as scikit-learn reads it; labels index the classes."""
    weights = compute_class_weight(setting, classes=classes, y=classes[labels])
    weights = np.asarray(weights, np.float64)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise InputError(
            f"class_weight: {setting!r} is not allowed, its factors of C are numbers above 0"
        )
    return weights
