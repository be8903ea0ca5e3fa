"""The examples of linear problems, accessed through the products that the solvers need.

All products take and return NumPy arrays in the dtype of their arguments, with the problems along
the first axis. On CPU they use BLAS and SciPy, which need no compilation; on an accelerator, and
for arrays sharded over devices, XLA.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np


class Examples(ABC):
    """Examples `[examples, features]`, dense, sparse or streamed.

    Gram matrices of features have a last feature that is 1 in each example, for the intercept, and
    only their lower triangle is valid.
    """

    x: Any
    num_examples: int
    num_features: int
    dtype: Any

    @abstractmethod
    def products(self, weights: np.ndarray) -> np.ndarray:
        """Multiplies each example by each `[problems, features]`: `[problems, examples]`."""

    @abstractmethod
    def weighted_sums(self, coefficients: np.ndarray) -> np.ndarray:
        """Sums the examples weighted by `[problems, examples]`: `[problems, features]`."""

    @abstractmethod
    def add_gram(self, gram: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Adds the outer products of the examples, weighted by `change` `[examples]`, to `gram`."""

    @abstractmethod
    def example_gram(self, index: np.ndarray) -> np.ndarray:
        """Returns the inner products of some examples, `[len(index), len(index)]` float64."""

    @abstractmethod
    def feature_gram(self, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Returns the weighted Gram matrix of some features, `[len(index) + 1] * 2`."""

    @abstractmethod
    def subset(self, index: np.ndarray) -> "Examples":
        """Selects examples."""

    @abstractmethod
    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Iterates over the examples on the host, dense or sparse."""

    @abstractmethod
    def standardized(self, shift: np.ndarray, scale: np.ndarray) -> "Examples":
        """Returns `(x - shift) / scale`, `[features]` each."""
