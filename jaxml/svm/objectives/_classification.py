"""Classification with two classes, and with several classes in one problem."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from jaxml import losses
from jaxml.losses import _labels as labelling
from jaxml.svm import _validation as validation
from jaxml.svm.objectives._problem import Equalities, Labels, Problem, Scalar, shifted, signs_of
from jaxml.types import Array, Float, Integer

LOSSES = {
    "hinge": losses.hinge,
    "squared_hinge": losses.squared_hinge,
    "logistic": losses.sigmoid_cross_entropy,
}
MULTICLASS_LOSSES = {
    "crammer_singer": losses.crammer_singer_hinge,
    "weston_watkins": losses.weston_watkins_hinge,
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


@dataclasses.dataclass(frozen=True, eq=False)
class Multiclass(Problem):
    r"""The support vector machines of Crammer and Singer, and of Weston and Watkins.

    With costs :math:`c_i = C v_i` and outputs
    :math:`z_{im} = \langle w_m, \phi(x_i) \rangle + b_m`,

    .. math::
      P(W, b) = \tfrac12 \sum_m |w_m|^2 + \sum_i c_i \ell(z_i, y_i), \qquad
      D(\alpha) = -\tfrac12 \sum_m \sum_{ij} \alpha_{im} K_{ij} \alpha_{jm}
      - \sum_i \sum_{m \ne y_i} \alpha_{im} \; - \; q(\alpha)

    subject to :math:`\sum_m \alpha_{im} = 0` for every sample (and :math:`\sum_i \alpha_{im} = 0`
    for every class where the intercept is free), and

    - "crammer_singer": :math:`\alpha_{im} \le c_i` for the class :math:`m = y_i`,
      :math:`\alpha_{im} \le 0` for the others. The squared loss replaces :math:`c_i` by
      :math:`q = \sum_i \alpha_{i y_i}^2 / 4 c_i`;
    - "weston_watkins": :math:`-c_i \le \alpha_{im} \le 0` for the other classes. The squared loss
      replaces :math:`-c_i` by :math:`q = \sum_i \sum_{m \ne y_i} \alpha_{im}^2 / 4 c_i`.

    The weights `[features, classes]` are the transpose of scikit-learn's `coef_`.

    Attributes:
      labels: `[samples]`, integers in [0, num_classes); others give NaN where they are traced.
      num_classes: at least 2.
      C: penalty parameter, > 0.
      loss: "crammer_singer" or "weston_watkins".
      squared: whether the hinges are squared.
      bias: "penalized", "free" or "none", as in `Classification`. A free intercept ties the
        samples together: it has no default offsets, no projection and no residual.
      class_weight: `[num_classes]`, non-negative factors of v.

    References: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based
    vector machines", 2001; Weston and Watkins, "Support vector machines for multi-class pattern
    recognition", 1999, with margins of 1 instead of 2.
    """

    labels: Integer[Array, " samples"]
    _: dataclasses.KW_ONLY
    num_classes: int
    C: Scalar
    loss: str = "crammer_singer"
    squared: bool = False
    bias: str = "penalized"
    class_weight: Float[Array, " classes"] | None = None

    _static: ClassVar[tuple[str, ...]] = ("num_classes", "loss", "squared", "bias")

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.check_num_classes(self.num_classes)
        validation.check_labels(self.labels, self.num_classes)
        validation.check_choice("loss", self.loss, MULTICLASS_LOSSES)

    @property
    def shape(self) -> tuple[int | str, ...]:
        return len(self.labels), self.num_classes

    @property
    def is_squared(self) -> bool:
        return self.squared

    def cost(self, outputs: Array, intercept: Any = 0.0) -> Array:
        outputs = shifted(outputs, intercept)
        values = MULTICLASS_LOSSES[self.loss](outputs, self.labels, squared=self.squared)
        return jnp.sum(values * self.costs(values))

    def best_offsets(self, outputs: Array) -> tuple[Array, ...]:
        del outputs
        raise ValueError("`offsets` must hold the intercept where it is free, got none")

    def gain(self, alpha: Array) -> Array:
        own = labelling.is_label(self.labels, self.num_classes)
        # As each sample's variables sum to 0, the own class could be summed; this holds anywhere.
        value = -jnp.where(own, 0.0, alpha).sum()
        if not self.squared:
            return value
        counted = own if self.loss == "crammer_singer" else ~own
        return value - self.smoothing(jnp.where(counted, alpha, 0.0))

    def bounds(self, alpha: Array) -> tuple[Array, Array]:
        own = labelling.is_label(self.labels, self.num_classes)
        reach = jnp.broadcast_to(self.reach(alpha)[:, None], alpha.shape)
        if self.loss == "weston_watkins":
            return jnp.where(own, 0.0, -reach), jnp.where(own, jnp.inf, 0.0).astype(alpha.dtype)
        # The own class needs no lower bound, as the others are at most 0.
        return jnp.full_like(alpha, -jnp.inf), jnp.where(own, reach, 0.0)

    def equalities(self, alpha: Array) -> Equalities:
        samples, classes = alpha.shape
        return jnp.ones((samples, 1, classes), alpha.dtype), jnp.zeros((samples, 1), alpha.dtype)

    def excess(self, alpha: Array) -> Array:
        if self.bias != "free":
            return super().excess(alpha)
        return jnp.abs(alpha.sum(axis=0)).max()

    def check_separable(self, function: str) -> None:
        if self.bias == "free":
            raise ValueError(f"`bias` must be 'penalized' or 'none' for {function}, got 'free'")


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
