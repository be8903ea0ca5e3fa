"""Data sets: each source is a function from a directory to a `Dataset`.

Sources are selected by name from `DATASETS`. Those that are not part of an installed package read
their published files from the directory; nothing is downloaded.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxml.data._dataset import Dataset
from jaxml.data.sources import cifar, digits, idx, tabular

__all__ = ["DATASETS", "cifar", "digits", "idx", "tabular"]

DATASETS: Mapping[str, Callable[[Path], Dataset]] = {
    "digits": digits.load,
    "diabetes": tabular.load_diabetes,
    "breast_cancer": tabular.load_breast_cancer,
    "mnist": idx.load,
    "fashion_mnist": idx.load,
    "idx": idx.load,
    "cifar10": cifar.load_cifar10,
    "cifar100": cifar.load_cifar100,
}
