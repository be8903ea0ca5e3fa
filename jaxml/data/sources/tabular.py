"""The tables of features that are embedded in scikit-learn."""

from pathlib import Path

import numpy as np

from jaxml.data._dataset import Dataset, Split
from jaxml.data.sources import _embedded

TEST_EVERY = 5  # every fifth row is for the test: the rows are in no order that matters


def load_diabetes(directory: Path) -> Dataset:
    """442 patients: 10 features, and how the disease went on in the year after.

    Args:
      directory: not read, the table is part of scikit-learn.

    Source: Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", 2004.
    """
    del directory
    features = np.loadtxt(_embedded.path("diabetes_data_raw.csv.gz"))
    targets = np.loadtxt(_embedded.path("diabetes_target.csv.gz"), np.float32)
    return _split(features, targets, num_classes=0)


def load_breast_cancer(directory: Path) -> Dataset:
    """569 tumours: 30 features of their cell nuclei; label 0 is malignant, 1 benign.

    Args:
      directory: not read, the table is part of scikit-learn.

    Source: Wolberg, Mangasarian, Street, "Breast Cancer Wisconsin (Diagnostic)", UCI, 1995.
    """
    del directory
    rows = np.loadtxt(_embedded.path("breast_cancer.csv"), delimiter=",", skiprows=1)
    return _split(rows[:, :-1], rows[:, -1].astype(np.int32), num_classes=2)


def _split(features: np.ndarray, targets: np.ndarray, *, num_classes: int) -> Dataset:
    features = features.astype(np.float32)
    test = np.arange(len(targets)) % TEST_EVERY == TEST_EVERY - 1
    return Dataset(
        Split(features[~test], targets[~test]), Split(features[test], targets[test]), num_classes
    )
