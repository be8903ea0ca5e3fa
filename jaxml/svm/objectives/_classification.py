"""Classification with two classes."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from jaxml import losses
from jaxml.svm import _validation as validation
from jaxml.svm.objectives._problem import Labels, Problem, Scalar, shifted, signs_of
from jaxml.types import Array, Float

LOSSES = {
    "hinge": losses.hinge,
    "squared_hinge": losses.squared_hinge,
    "logistic": losses.sigmoid_cross_entropy,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Classification(Problem):
    r"""A soft-margin support vector machine, or logistic regression, for two classes.

    With signs :math:`s_i = \pm 1` for the labels 1 and 0, costs :math:`c_i = C v_i`, outputs
    :math:`f_i = \langle w, \phi(x_i) \rangle + b` and :math:`\beta_i = s_i \alpha_i`,

    .. math::
      P(w, b) = \tfrac12 |w|^2 + \sum_i c_i \ell(s_i f_i), \qquad
      D(\alpha) = \sum_i \alpha_i - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j
      - \sum_i \frac{\alpha_i^2}{4 c_i} \text{ (squared hinge only)}

    subject to :math:`0 \le \alpha_i \le c_i` (no upper bound for the squared hinge) and
    :math:`\sum \beta_i = 0` where the intercept is free. For the penalty "l1", the norm is
    :math:`|w|_1`, and the constraints :math:`|\sum_i \beta_i x_{ij}| \le 1` replace the quadratic.

    **From logistic regression to the support vector machine.** Logistic regression minimizes the
    mean of :math:`\log(1 + e^{-m_i})` at the margins :math:`m_i = s_i f_i` plus
    :math:`\tfrac\lambda2 |w|^2`. Dividing by lambda moves the weight to the loss,
    :math:`C = 1 / (\lambda n)`, which keeps the minimizer. Replacing the loss by the hinge
    :math:`\max(0, 1 - m)`, of the same asymptotic slopes, makes it 0 beyond a margin of 1: only
    the other samples, the support vectors, matter. The logistic loss has no dual here.

    Attributes:
      labels: `[samples]`, integers 0 and 1 or booleans; others give NaN where they are traced.
      C: penalty parameter, > 0.
      loss: "squared_hinge", "hinge" or "logistic".
      penalty: "l2" or "l1".
      bias: "free", an unpenalized intercept as in libsvm; "penalized", a weight of a feature of
        ones as in liblinear (:math:`\tfrac12 b^2` more in P, K + 1 for K in D); or "none".
      class_weight: `[2]`, non-negative factors of v for labels 0 and 1.

    References: Cortes and Vapnik, "Support-vector networks", 1995; Fan et al., "LIBLINEAR: a
    library for large linear classification", 2008; Yuan et al., "A comparison of optimization
    methods and software for large-scale L1-regularized linear classification", 2010.
    """

    labels: Labels
    _: dataclasses.KW_ONLY
    C: Scalar
    loss: str = "squared_hinge"
    penalty: str = "l2"
    bias: str = "free"
    class_weight: Float[Array, "2"] | None = None

    _static: ClassVar[tuple[str, ...]] = ("loss", "penalty", "bias")

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.check_labels(self.labels, 2, booleans=True)
        validation.check_choice("loss", self.loss, LOSSES)
        validation.check_choice("penalty", self.penalty, ("l1", "l2"))

    def coefficients(self, alpha: Array) -> Array:
        return signs_of(self.labels, alpha.dtype) * alpha

    def cost(self, outputs: Array, intercept: Scalar = 0.0) -> Array:
        values = LOSSES[self.loss](shifted(outputs, intercept), self.labels)
        return jnp.sum(self.costs(values) * values)

    def best_offsets(self, outputs: Array) -> tuple[Array, ...]:
        return (self._best_intercept(outputs, signs_of(self.labels, outputs.dtype) - outputs),)

    def gain(self, alpha: Array) -> Array:
        return alpha.sum() - self.smoothing(alpha) if self.is_squared else alpha.sum()

    def excess(self, alpha: Array) -> Array:
        return _steepest(self, alpha) - 1 if self.penalty == "l1" else super().excess(alpha)

    def check_dual(self) -> None:
        validation.check_choice("loss", self.loss, ("hinge", "squared_hinge"))


def shrink(problem: Classification, alpha: Float[Array, " samples"]) -> Float[Array, " samples"]:
    r"""Scales a dual point down until it is feasible for the penalty "l1".

    .. math:: \alpha / \max(1, \max_j |\textstyle\sum_i \beta_i x_{ij}|)

    Requires samples `x`, and alpha to be feasible for the penalty "l2". Where the intercept is
    penalized its feature of ones counts.

    Example:
      >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
      >>> shrink(Classification(labels, C=4.0, penalty="l1", x=x), jnp.array([2.0, 2.0])).tolist()
      [0.5, 0.5]

    Reference: Kim, Koh, Lustig, Boyd and Gorinevsky, "An interior-point method for large-scale
    l1-regularized least squares", 2007, whose scaled dual point this is.
    """
    validation.check_array("alpha", alpha, problem.shape)
    return alpha / jnp.maximum(_steepest(problem, alpha), 1.0)


def _steepest(problem: Classification, alpha: Array) -> Array:
    """Returns the largest slope of the dual's Lagrangian with respect to a weight."""
    beta = problem.coefficients(alpha)
    steepest = jnp.abs(problem.linear_samples("the penalty 'l1'").T @ beta).max(initial=0.0)
    return jnp.maximum(steepest, jnp.abs(beta.sum())) if problem.bias == "penalized" else steepest
