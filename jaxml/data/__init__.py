"""Sets of examples by name, the order in which they are visited, and augmentation."""

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxml.data import cifar, digits, idx, tabular
from jaxml.data.dataset import Dataset

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
