"""Linear support vector machines, trained to a verified duality gap, many problems at once.

`fit` solves problems over the same examples and verifies each solution in float64. `solve` (L2
penalty) and `solve_l1` are the solvers below it, and `certify` is the verification.
"""

from jaxml.svm.linear._certificate import Certificate, certify
from jaxml.svm.linear._dense import DenseExamples, StreamedExamples
from jaxml.svm.linear._examples import Examples, as_examples
from jaxml.svm.linear._fit import NO_INTERCEPT, LinearFit, fit
from jaxml.svm.linear._l1 import solve_l1
from jaxml.svm.linear._newton import solve
from jaxml.svm.linear._problems import LOSSES, LinearProblems
from jaxml.svm.linear._solution import LinearProgress, LinearSolution, LinearState
from jaxml.svm.linear._sparse import SparseExamples

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
    "solve_l1",
]
