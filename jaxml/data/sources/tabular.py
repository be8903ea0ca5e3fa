"""Tabular data sets from scikit-learn. Every fifth row is a test example."""

from pathlib import Path

import numpy as np

from jaxml.data._dataset import Dataset, Split
from jaxml.data.sources import _embedded

__all__ = ["load_breast_cancer", "load_diabetes"]


def load_diabetes(directory: Path) -> Dataset:
    """Loads 10 features of 442 patients and the progression of the disease after one year.

    Args:
      directory: ignored, the table is part of scikit-learn.

    References:
      Efron, Hastie, Johnstone and Tibshirani, "Least angle regression", 2004.
    """
    del directory
    features = np.loadtxt(_embedded.path("diabetes_data_raw.csv.gz"))
    targets = np.loadtxt(_embedded.path("diabetes_target.csv.gz"), np.float32)
    return _split(features, targets, num_classes=0)


def load_breast_cancer(directory: Path) -> Dataset:
    """Loads 30 features of the cell nuclei of 569 tumours, malignant (0) or benign (1).

    Args:
      directory: ignored, the table is part of scikit-learn.

    References:
      Wolberg, Mangasarian and Street, "Breast cancer Wisconsin (diagnostic)", UCI, 1995.
    """
    del directory
    rows = np.loadtxt(_embedded.path("breast_cancer.csv"), delimiter=",", skiprows=1)
    return _split(rows[:, :-1], rows[:, -1].astype(np.int32), num_classes=2)


def _split(features: np.ndarray, targets: np.ndarray, *, num_classes: int) -> Dataset:
    features = features.astype(np.float32)
    test = np.arange(len(targets)) % 5 == 4
    return Dataset(
        Split(features[~test], targets[~test]), Split(features[test], targets[test]), num_classes
    )
