"""Linear support vector machines, trained to a verified duality gap, many problems at once.

`fit` solves problems over the same examples by `solve`, and verifies the solutions in float64 by
`certify`.
"""

from jaxml.svm.linear._certificate import Certificate, certify
from jaxml.svm.linear._dense import DenseExamples, StreamedExamples
from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._fit import NO_INTERCEPT, LinearFit, fit, solve
from jaxml.svm.linear._problems import LOSSES, LinearProblems
from jaxml.svm.linear._solution import LinearProgress, LinearSolution, LinearState
from jaxml.svm.linear._sparse import SparseExamples, as_examples

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
