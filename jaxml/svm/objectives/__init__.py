r"""Primals, duals, gaps and optimality conditions of support vector machines, as pure functions.

A problem holds the data and the hyper-parameters of one formulation, and is checked once:

==================== ================================================= =====================
problem              primal variables after the weights (`*offsets`)   dual variables
==================== ================================================= =====================
`Classification`     intercept                                         alpha `[samples]`
`Multiclass`         intercept `[classes]`                             `[samples, classes]`
`Regression`         intercept                                         beta `[samples]`
`OneClass`           rho                                               alpha `[samples]`
`NuClassification`   intercept, rho                                    alpha `[samples]`
`NuRegression`       intercept, epsilon                                beta `[samples]`
==================== ================================================= =====================

Every function takes a problem first. The data is `x`, the samples of a linear model, `gram`, the
kernel values of any other, or neither for functions of outputs and of constraints alone. The other
arguments are the same everywhere:

- `weights`: `[features]`, or `[features, classes]` for `Multiclass`.
- `outputs`: `[samples]` or `[samples, classes]`, :math:`\langle w, \phi(x_i) \rangle` without
  offsets.
- `*offsets`: scalars as in the table; an intercept defaults to 0 where it comes alone.
- `alpha`: the dual variables, in float32 or float64 like the data.

>>> import jax
>>> import jax.numpy as jnp
>>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
>>> problem, alpha = Classification(labels, C=1.0, loss="hinge", x=x), jnp.array([0.25, 0.25])
>>> float(kernel_primal(problem, alpha)), float(dual(problem, alpha))
(1.125, 0.375)
>>> float(kernel_duality_gap(problem, alpha)), float(kkt_residual(problem, alpha))
(0.75, 1.0)
>>> float(primal(problem, jnp.array([1.0]), 0.0)), float(dual(problem, 2 * alpha))  # the optimum
(0.5, 0.5)

Problems are pytrees whose arrays and numbers are leaves: they pass through `jax.jit`, and
`jax.grad` differentiates with respect to any of them. A problem is one problem; `jax.vmap` makes
it many, over whatever differs:

>>> x, labels = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), jnp.array([0, 1, 2])
>>> def value(weights, labels, C):
...     return primal(Classification(labels, C=C, x=x), weights, 0.0)
>>> weights, one_vs_rest = jnp.zeros((3, 2)), labels[None, :] == jnp.arange(3)[:, None]
>>> jax.vmap(value, (0, 0, None))(weights, one_vs_rest, 1.0).tolist()  # over classes
[3.0, 3.0, 3.0]
>>> jax.vmap(value, (None, None, 0))(weights[0], one_vs_rest[0], jnp.array([0.5, 2.0])).tolist()
[1.5, 6.0]

Values are scalars in the dtype of `alpha`, or in float32 at least for functions without it. Shapes,
dtypes, labels and hyper-parameters that do not fit raise ValueError or TypeError, as far as they
are known: traced values are not checked.
"""

from jaxml.svm.objectives import box
from jaxml.svm.objectives._classification import Classification, Multiclass, shrink
from jaxml.svm.objectives._nu import NuClassification, NuRegression, OneClass
from jaxml.svm.objectives._optimality import (
    best_offsets,
    cost,
    dual,
    dual_point,
    duality_gap,
    infeasibility,
    kernel_duality_gap,
    kernel_primal,
    kkt_residual,
    primal,
    project,
)
from jaxml.svm.objectives._problem import KnownProducts, Problem
from jaxml.svm.objectives._regression import Regression, epsilon_insensitive

__all__ = [
    "Classification", "KnownProducts", "Multiclass", "NuClassification", "NuRegression", "OneClass",
    "Problem", "Regression", "best_offsets", "box", "cost", "dual", "dual_point", "duality_gap",
    "epsilon_insensitive", "infeasibility", "kernel_duality_gap", "kernel_primal", "kkt_residual",
    "primal", "project", "shrink",
]  # fmt: skip
