"""Readers of data sets: functions from a directory to a `Dataset`, selected by name.

They read the published files, and download nothing.
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
