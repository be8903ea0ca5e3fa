"""Formulations in which a fraction nu of the samples replaces the penalty or the tube."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxml.losses import _inputs as inputs
from jaxml.svm import _validation as validation
from jaxml.svm.objectives import box
from jaxml.svm.objectives._problem import Equalities, Labels, Problem, Scalar, shifted, signs_of
from jaxml.svm.objectives._regression import epsilon_insensitive
from jaxml.types import Array, Float


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class OneClass(Problem):
    r"""The one-class support vector machine, which separates the samples from the origin.

    With the sum V of the sample weights and outputs :math:`f_i = \langle w, \phi(x_i) \rangle`,

    .. math::
      P(w, \rho) = \tfrac12 |w|^2 - \nu V \rho + \sum_i v_i \max(0, \rho - f_i), \qquad
      D(\alpha) = -\tfrac12 \sum_{ij} \alpha_i K_{ij} \alpha_j

    subject to :math:`0 \le \alpha_i \le v_i` and :math:`\sum \alpha_i = \nu V`. Samples with
    :math:`f_i < \rho` are outliers, at most a fraction nu of the weight. The scale is libsvm's;
    the w, rho and alpha of Schoelkopf et al. are these divided by :math:`\nu n`. In scikit-learn
    `dual_coef_` is alpha and `intercept_` is -rho.

    Attributes:
      nu: in (0, 1], the largest fraction of outliers.

    Reference: Schoelkopf et al., "Estimating the support of a high-dimensional distribution", 2001.
    """

    nu: Scalar

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_nu(self.nu)

    def cost(self, outputs: Array, rho: Scalar) -> Array:
        return _margin_cost(self, outputs, rho)

    def best_offsets(self, outputs: Array) -> tuple[Array, ...]:
        return (box.quantile(outputs, self.costs(outputs), _mass(self, outputs)),)

    def equalities(self, alpha: Array) -> Equalities:
        return jnp.ones_like(alpha)[None], _mass(self, alpha)[None]


@dataclasses.dataclass(frozen=True, eq=False)
class NuClassification(Problem):
    r"""The nu support vector machine for two classes.

    With signs :math:`s_i = \pm 1`, the sum V of the sample weights and outputs
    :math:`f_i = \langle w, \phi(x_i) \rangle + b`,

    .. math::
      P(w, b, \rho) = \tfrac12 |w|^2 - \nu V \rho + \sum_i v_i \max(0, \rho - s_i f_i), \qquad
      D(\alpha) = -\tfrac12 \sum_{ij} s_i \alpha_i K_{ij} s_j \alpha_j

    subject to :math:`0 \le \alpha_i \le v_i`, with :math:`\sum \alpha_i = \nu V / 2` over each
    class. Nu is an upper bound of the fraction of samples on the wrong side of their margin rho,
    and a lower bound of that of support vectors. Divided by rho, the model is that of
    `Classification` with the hinge and :math:`C = 1 / \rho`; libsvm stores it so, and
    scikit-learn's `dual_coef_` is :math:`s_i \alpha_i / \rho`.

    Attributes:
      labels: `[samples]`, integers 0 and 1 or booleans; others give NaN where they are traced.
      nu: in (0, 1], and at most twice the fraction of the smaller class.

    Reference: Schoelkopf, Smola, Williamson and Bartlett, "New support vector algorithms", 2000,
    in the scale of libsvm before its final division.
    """

    labels: Labels
    _: dataclasses.KW_ONLY
    nu: Scalar

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.check_labels(self.labels, 2, booleans=True)
        _check_nu(self.nu)
        _check_smaller_class(self.nu, self.labels, self.sample_weight)

    def coefficients(self, alpha: Array) -> Array:
        return signs_of(self.labels, alpha.dtype) * alpha

    def cost(self, outputs: Array, intercept: Scalar, rho: Scalar) -> Array:
        return _margin_cost(self, self.coefficients(shifted(outputs, intercept)), rho)

    def best_offsets(self, outputs: Array) -> tuple[Array, ...]:
        weights, half = self.costs(outputs), _mass(self, outputs) / 2
        signs = signs_of(self.labels, outputs.dtype)
        # rho - b and rho + b are quantiles of the signed outputs of one class each.
        zero, one = (
            box.quantile(signs * outputs, jnp.where(signs == s, weights, 0.0), half)
            for s in (-1, 1)
        )
        return (zero - one) / 2, (zero + one) / 2

    def equalities(self, alpha: Array) -> Equalities:
        signs = signs_of(self.labels, alpha.dtype)
        members = jnp.stack([signs == -1, signs == 1]).astype(alpha.dtype)
        return members, jnp.broadcast_to(_mass(self, alpha) / 2, (2,))


@dataclasses.dataclass(frozen=True, eq=False)
class NuRegression(Problem):
    r"""Nu support vector regression: the tube is as wide as a fraction of samples allows.

    With costs :math:`c_i = C v_i`, their sum :math:`\Sigma` and outputs
    :math:`f_i = \langle w, \phi(x_i) \rangle + b`,

    .. math::
      P(w, b, \epsilon) = \tfrac12 |w|^2 + \nu \Sigma \epsilon
      + \sum_i c_i \max(0, |f_i - y_i| - \epsilon), \quad \epsilon \ge 0, \qquad
      D(\beta) = \sum_i y_i \beta_i - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j

    subject to :math:`|\beta_i| \le c_i`, :math:`\sum \beta_i = 0` and
    :math:`\sum |\beta_i| \le \nu \Sigma`. At the optimal epsilon it is `Regression`, which has the
    residual and the projection. The scale is libsvm's; scikit-learn's `dual_coef_` is beta.

    Attributes:
      targets: `[samples]`, floating point.
      C: penalty parameter, > 0.
      nu: in (0, 1], the largest fraction of samples outside the tube.

    Reference: Schoelkopf, Smola, Williamson and Bartlett, "New support vector algorithms", 2000.
    """

    targets: Float[Array, " samples"]
    _: dataclasses.KW_ONLY
    C: Scalar
    nu: Scalar

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_nu(self.nu)

    def cost(self, outputs: Array, intercept: Scalar, epsilon: Scalar) -> Array:
        values = epsilon_insensitive(shifted(outputs, intercept), self.targets, epsilon=epsilon)
        tube = _mass(self, values) * jnp.asarray(epsilon).astype(values.dtype)
        return jnp.vdot(self.costs(values), values) + tube

    def best_offsets(self, outputs: Array) -> tuple[Array, ...]:
        outputs, targets = inputs.at_least_float32(outputs, self.targets)
        deviations = targets - outputs
        unit = dataclasses.replace(self, C=1.0, x=None, gram=None)
        weights, half = unit.costs(deviations), _mass(unit, deviations) / 2
        above = -box.quantile(-deviations, weights, half)
        below = box.quantile(deviations, weights, half)
        # Where they would cross, the tube is closed and the intercept is a median.
        middle = box.quantile(deviations, weights, weights.sum() / 2)
        is_open = above >= below
        b = jnp.where(is_open, (above + below) / 2, middle)
        return b, jnp.where(is_open, (above - below) / 2, 0.0)

    def gain(self, alpha: Array) -> Array:
        return jnp.vdot(alpha, self.targets)

    def excess(self, alpha: Array) -> Array:
        return jnp.abs(alpha).sum() - _mass(self, alpha)

    def check_separable(self, function: str) -> None:
        rule = f"must be Regression at the best epsilon for {function}"
        raise ValueError(f"`problem` {rule}, got NuRegression")


def _mass(problem: Any, like: Array) -> Array:
    """Returns nu times the sum of the costs."""
    return jnp.asarray(problem.nu).astype(like.dtype) * problem.costs(like).sum()


def _margin_cost(problem: Any, margins: Array, rho: Scalar) -> Array:
    """Returns the cost of hinges at a margin of rho instead of 1, less the gain of the margin."""
    margin = jnp.asarray(rho).astype(margins.dtype)
    hinges = jnp.maximum(margin - margins, 0.0)
    return jnp.vdot(problem.costs(margins), hinges) - _mass(problem, margins) * margin


def _check_nu(nu: Any) -> None:
    validation.check_scalar("nu", nu, "in (0, 1]", lambda number: 0 < number <= 1)


def _check_smaller_class(nu: Any, labels: Any, sample_weight: Any) -> None:
    """Raises ValueError where a class cannot hold half of nu."""
    if any(isinstance(value, Tracer) for value in (nu, labels, sample_weight)):
        return
    weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight)
    one = np.float64(weights[np.asarray(labels) == 1].sum())
    total, smaller = weights.sum(), min(one, weights.sum() - one)
    if float(nu) * total > 2 * smaller * (1 + 1e-6):
        rule = f"at most {2 * smaller / total:.6g}, twice the fraction of the smaller class"
        raise ValueError(f"`nu` must be {rule}, got {nu}")
