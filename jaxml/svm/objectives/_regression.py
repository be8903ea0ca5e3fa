"""Regression with an epsilon-insensitive loss."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from jaxml import losses
from jaxml.losses import _inputs as inputs
from jaxml.svm import _validation as validation
from jaxml.svm.objectives._problem import Problem, Scalar, shifted
from jaxml.types import Array, Float

LOSSES = ("epsilon_insensitive", "squared_epsilon_insensitive")


@dataclasses.dataclass(frozen=True, eq=False)
class Regression(Problem):
    r"""Support vector regression: errors within a tube of half-width epsilon cost nothing.

    With costs :math:`c_i = C v_i` and outputs :math:`f_i = \langle w, \phi(x_i) \rangle + b`,

    .. math::
      P(w, b) = \tfrac12 |w|^2 + \sum_i c_i \ell(f_i, y_i), \qquad
      D(\beta) = \sum_i \left( y_i \beta_i - \epsilon |\beta_i| \right)
      - \tfrac12 \sum_{ij} \beta_i K_{ij} \beta_j
      - \sum_i \frac{\beta_i^2}{4 c_i} \text{ (squared loss only)}

    subject to :math:`|\beta_i| \le c_i` (no bound for the squared loss), and
    :math:`\sum \beta_i = 0` where the intercept is free. The dual variables beta are differences
    of the textbooks' two, one for each side of the tube; scikit-learn's `dual_coef_`.

    Attributes:
      targets: `[samples]`, floating point.
      C: penalty parameter, > 0.
      epsilon: non-negative, in the unit of the targets.
      loss: "epsilon_insensitive" or "squared_epsilon_insensitive".
      bias: "free", "penalized" or "none", as in `Classification`.

    References: Smola and Schoelkopf, "A tutorial on support vector regression", 2004; Ho and Lin,
    "Large-scale linear support vector regression", 2012.
    """

    targets: Float[Array, " samples"]
    _: dataclasses.KW_ONLY
    C: Scalar
    epsilon: Scalar = 0.1
    loss: str = "epsilon_insensitive"
    bias: str = "free"

    _static: ClassVar[tuple[str, ...]] = ("loss", "bias")

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.check_choice("loss", self.loss, LOSSES)
        _check_epsilon(self.epsilon)

    def cost(self, outputs: Array, intercept: Scalar = 0.0) -> Array:
        values = epsilon_insensitive(
            shifted(outputs, intercept),
            self.targets,
            epsilon=self.epsilon,
            squared=self.is_squared,
        )
        return jnp.sum(values * self.costs(values))

    def best_offsets(self, outputs: Array) -> tuple[Array, ...]:
        outputs, targets = inputs.at_least_float32(outputs, self.targets)
        return (self._best_intercept(outputs, targets - outputs),)

    def gain(self, alpha: Array) -> Array:
        width = jnp.asarray(self.epsilon).astype(alpha.dtype)
        # Written with signs, the gradient at 0 is the middle one.
        value = jnp.vdot(alpha, self.targets - width * jnp.sign(alpha))
        return value - self.smoothing(alpha) if self.is_squared else value


def epsilon_insensitive(
    predictions: Float[Array, "*batch"],
    targets: Float[Array, "*batch"],
    *,
    epsilon: Scalar = 0.1,
    squared: bool = False,
) -> Float[Array, "*batch"]:
    r"""Computes the epsilon-insensitive loss.

    .. math:: \ell = \max(0, |f - y| - \epsilon)

    Args:
      predictions: `[...]`, f, floating point.
      targets: y, the same shape, floating point.
      epsilon: non-negative, in the unit of the targets.
      squared: whether to square the loss.

    Returns:
      `[...]`, in float32 at least. At the edge of the tube the gradient is the mean of the slopes.

    Example:
      >>> epsilon_insensitive(jnp.array([0.25, 3.0]), jnp.array([0.0, 1.0]), epsilon=0.5).tolist()
      [0.0, 1.5]

    Reference: Vapnik, "The nature of statistical learning theory", 1995.
    """
    _check_epsilon(epsilon)
    errors = losses.absolute_error(predictions, targets)
    outside = jnp.maximum(errors - jnp.asarray(epsilon).astype(errors.dtype), 0.0)
    return jnp.square(outside) if squared else outside


def _check_epsilon(epsilon: Any) -> None:
    rule = "a finite number >= 0"
    validation.check_scalar("epsilon", epsilon, rule, lambda number: number >= 0)
