r"""Support vector machines with kernels: the dual problems, solved exactly.

Each problem is a quadratic program over a box and one equality constraint, in libsvm's form

.. math:: \min_a \tfrac12 a^\top Q a + p^\top a, \quad 0 \le a \le u, \quad y^\top a = \text{const},
          \quad Q_{ij} = y_i y_j K_{ij}.

The nu forms have two equality constraints, one for the variables of each sign y. Solvers work with
the *scores* :math:`-y_i \nabla_i`, minus the sign times the gradient: at the optimum, no variable
that can move along its sign (the set :math:`I_{up}`) has a larger score than one of the same
constraint that can move against it (:math:`I_{low}`). The largest difference is the *violation*.

Examples are columns of the kernel matrix, arranged in groups, and a problem covers the columns of
some groups. It has k variables per column: k = 1, or 2 in regression, one for each direction of the
error. `solve` solves many problems in one call.
"""

from jaxml.svm.kernel._column_groups import (
    ColumnGroups,
    padded_size,
    pair_problems,
    single_group,
)
from jaxml.svm.kernel._host_kernel import HostExamples, HostKernel, product_error, take
from jaxml.svm.kernel._problems import DualProblems, KernelProgress
from jaxml.svm.kernel._solve import KernelExamples, KernelSolution, solve

__all__ = [
    "ColumnGroups",
    "DualProblems",
    "HostExamples",
    "HostKernel",
    "KernelExamples",
    "KernelProgress",
    "KernelSolution",
    "padded_size",
    "pair_problems",
    "product_error",
    "single_group",
    "solve",
    "take",
]
