"""Classes, sample weights and class weights."""

from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from jaxml.errors import InputError
from jaxml.svm._validation import is_number


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted classes, at least two, and the index of each sample's class."""
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) < 2:
        raise InputError(f"`y` must have at least two classes, got 1 class: {classes[0]}")
    return classes, np.searchsorted(classes, y)  # faster than `return_inverse`, which sorts


def sample_weights(given: Any, num_samples: int, *, negative: bool = False) -> np.ndarray:
    """Returns weights in float64, of which at least one is positive.

    They are given by None for ones, a number, or an array. If `negative` is set, negative weights
    are allowed and count as 0.
    """
    if given is None or is_number(given):
        given = np.full(num_samples, 1.0 if given is None else given)
    dtype: Any = np.float64
    weights = check_array(given, ensure_2d=False, dtype=dtype, input_name="sample_weight")
    if weights.shape != (num_samples,):
        raise InputError(f"`sample_weight` must have shape {(num_samples,)}, got {weights.shape}")
    if not negative and weights.min() < 0:
        raise InputError(f"`sample_weight` must be non-negative, got {weights.min():g}")
    if weights.max() <= 0:
        raise InputError("`sample_weight` must be > 0 for at least one sample, got zero for all")
    return np.maximum(weights, 0.0)


def check_class_totals(classes: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    """Raises `InputError` unless each class has a positive total weight."""
    totals = np.bincount(labels, weights, minlength=len(classes))
    if not totals.all():
        raise InputError(
            "`sample_weight` must be > 0 for a sample of each class, "
            f"got 0 for all of class {classes[totals.argmin()]}"
        )


def class_weights(
    setting: Any, classes: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns the factor of C for each class, given scikit-learn's `class_weight`.

    A sample of weight k counts as k samples, so "balanced" is
    `sum(sample_weight) / (num_classes * sum(sample_weight of the class))`. scikit-learn's kernel
    SVMs count samples without their weights there.
    """
    check_class_totals(classes, labels, weights)
    if setting is None:
        return np.ones(len(classes))
    y = classes[labels]
    found = compute_class_weight(setting, classes=classes, y=y, sample_weight=weights)
    factors = np.asarray(found, np.float64)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise InputError(f"`class_weight` must have finite factors > 0, got {setting!r}")
    return factors
