"""Classification with several classes in one problem."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from jaxml import losses
from jaxml.losses import _labels as labelling
from jaxml.svm import _validation as validation
from jaxml.svm.objectives._problem import Equalities, Problem, Scalar, shifted
from jaxml.types import Array, Float, Integer

LOSSES = {
    "crammer_singer": losses.crammer_singer_hinge,
    "weston_watkins": losses.weston_watkins_hinge,
}


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
        validation.check_choice("loss", self.loss, LOSSES)

    @property
    def shape(self) -> tuple[int | str, ...]:
        return len(self.labels), self.num_classes

    @property
    def is_squared(self) -> bool:
        return self.squared

    def cost(self, outputs: Array, intercept: Any = 0.0) -> Array:
        outputs = shifted(outputs, intercept)
        values = LOSSES[self.loss](outputs, self.labels, squared=self.squared)
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
