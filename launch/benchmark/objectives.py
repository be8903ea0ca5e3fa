"""The dual objective of a kernel SVM, from its support vectors and coefficients."""

from typing import Any

import numpy as np


def dual(model: Any) -> float:
    """Returns the dual objective of an RBF classifier, summed over pairs of classes, in float64.

    Args:
      model: a fitted SVC of this library or of scikit-learn.
    """
    vectors = model.support_vectors_
    vectors = np.asarray(vectors.todense() if hasattr(vectors, "todense") else vectors, np.float64)
    coefficients = model.dual_coef_
    coefficients = np.asarray(
        coefficients.todense() if hasattr(coefficients, "todense") else coefficients
    )
    ends = np.cumsum([0, *model.n_support_])
    total = 0.0
    for i in range(len(model.n_support_)):
        for j in range(i + 1, len(model.n_support_)):
            a, b = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            weight = np.r_[coefficients[j - 1, a], coefficients[i, b]]
            here = np.r_[vectors[a], vectors[b]]
            some = weight != 0
            weight, here = weight[some], here[some]
            norms = np.square(here).sum(1)
            gamma = model._gamma if hasattr(model, "_gamma") else model._kernel.gamma
            kernel = np.exp(-gamma * np.maximum(norms[:, None] + norms - 2 * here @ here.T, 0))
            total += np.abs(weight).sum() - weight @ kernel @ weight / 2
    return float(total)
