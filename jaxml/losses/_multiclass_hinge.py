"""Margin losses for multiclass classification.

Logits are decision values `[..., classes]`, labels are integers `[...]` in `[0, classes)`, and
`squared` squares each hinge. A class with a logit of minus infinity is ignored.
"""

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.losses._hinge import hinge
from jaxml.types import Array, Bool, Float, Integer

Logits = Float[Array, "*batch classes"]
Labels = Integer[Array, "*batch"]
Mask = Bool[Array, "*batch"] | None
Losses = Float[Array, "*batch"]


def one_vs_rest_hinge(
    logits: Logits, labels: Labels, *, squared: bool = False, where: Mask = None
) -> Losses:
    r"""Computes the sum of the binary hinge losses of each class against the rest.

    .. math:: \ell = \sum_c \max(0, 1 - s_c z_c), \qquad s_y = 1, \; s_{c \ne y} = -1

    >>> float(one_vs_rest_hinge(jnp.array([2.0, 0.5, -3.0]), jnp.array(0)))
    1.5

    Reference: Rifkin and Klautau, "In defense of one-vs-all classification", 2004.
    """
    logits, labels = _prepare(logits, labels, where)
    hinges = hinge(logits, labelling.is_label(labels, logits.shape[-1]))
    return inputs.keep(_squared(hinges, squared).sum(axis=-1), where)


def crammer_singer_hinge(
    logits: Logits, labels: Labels, *, squared: bool = False, where: Mask = None
) -> Losses:
    r"""Computes the hinge loss of the margin over the strongest other class.

    .. math:: \ell = \max_{c \ne y} \max(0, 1 + z_c - z_y)

    Classes that are equally strong share the gradient.

    >>> float(crammer_singer_hinge(jnp.array([2.0, 1.5, 1.25]), jnp.array(0)))
    0.5

    Equals `optax.losses.multiclass_hinge_loss` and, averaged, `sklearn.metrics.hinge_loss`.

    Reference: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based
    vector machines", 2001.
    """
    logits, labels = _prepare(logits, labels, where)
    violations = _violations(logits, labels)
    # The gradient of the maximum multiplies the slope of the square by 0 for all other classes. The
    # slope may be infinite, so these classes become constants, which keeps NaN out of the gradient.
    violations = jnp.where(violations < violations.max(axis=-1, keepdims=True), 0.0, violations)
    return inputs.keep(_squared(violations.max(axis=-1), squared), where)


def weston_watkins_hinge(
    logits: Logits, labels: Labels, *, squared: bool = False, where: Mask = None
) -> Losses:
    r"""Computes the sum of the hinge losses of the margins over each other class.

    .. math:: \ell = \sum_{c \ne y} \max(0, 1 + z_c - z_y)

    >>> float(weston_watkins_hinge(jnp.array([2.0, 1.5, 1.25]), jnp.array(0)))
    0.75

    `torch.nn.functional.multi_margin_loss` divides this loss by the number of classes; its `p=2` is
    `squared=True`.

    Reference: Weston and Watkins, "Support vector machines for multi-class pattern recognition",
    1999.
    """
    logits, labels = _prepare(logits, labels, where)
    violations = _squared(_violations(logits, labels), squared)
    return inputs.keep(violations.sum(axis=-1), where)


def _violations(logits: Array, labels: Array) -> Array:
    """Returns `max(0, 1 + z_c - z_y)` for each class, and 0 for the label itself."""
    own = jnp.take_along_axis(logits, labels[..., None], axis=-1, mode="clip")
    hinges = jnp.maximum(1 + logits - own, 0)
    return jnp.where(labelling.is_label(labels, logits.shape[-1]), 0.0, hinges)


def _squared(hinges: Array, squared: bool) -> Array:
    return jnp.square(hinges) if squared else hinges


def _prepare(logits: Array, labels: Array, where: Array | None) -> tuple[Array, Array]:
    labelling.check_classes(logits, labels, where, soft=False)
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    labels = inputs.keep(labels, where)
    return labelling.poison(logits, labels), labels
