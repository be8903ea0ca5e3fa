"""Linear support vector machines: solves many problems together, to a verified duality gap.

`fit` solves problems over the same examples by `solve`, and verifies the solutions in float64 by
`certify`.
"""

from jaxml.svm.linear._examples import (
    DenseExamples,
    Examples,
    SparseExamples,
    StreamedExamples,
    as_examples,
)
from jaxml.svm.linear._fit import NO_INTERCEPT, Certificate, LinearFit, certify, fit, solve
from jaxml.svm.linear._problems import LOSSES, LinearProblems
from jaxml.svm.linear._solution import LinearProgress, LinearSolution, LinearState

__all__ = [
    "LOSSES",
    "NO_INTERCEPT",
    "Certificate",
    "DenseExamples",
    "Examples",
    "LinearFit",
    "LinearProblems",
    "LinearProgress",
    "LinearSolution",
    "LinearState",
    "SparseExamples",
    "StreamedExamples",
    "as_examples",
    "certify",
    "fit",
    "solve",
]
