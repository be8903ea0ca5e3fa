"""Losses of the margins between several classes, of which one is right."""

import jax.numpy as jnp

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.losses._hinge import hinge
from jaxml.types import Array, Bool, Float, Integer


def one_vs_rest_hinge(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"],
    *,
    squared: bool = False,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The sum of a binary hinge for each class against all others.

    .. math:: \ell = \sum_c \max(0, 1 - s_c z_c), \qquad s_y = 1, \; s_{c \ne y} = -1

    Args:
      logits: `[..., classes]`, floating point.
      labels: `[...]`, integers in [0, classes); one outside is an error, or gives NaN (loss and
        gradient) where labels or the mask are traced.
      squared: whether each class's hinge is squared.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least.

    Raises:
      TypeError: labels that are not integers, logits that are not floating point, a mask that is
        not boolean.
      ValueError: labels or a mask of another shape, labels out of range.

    Example:
      >>> float(one_vs_rest_hinge(jnp.array([2.0, 0.5, -3.0]), jnp.array(0)))
      1.5

    Source: Rifkin and Klautau, "In defense of one-vs-all classification", 2004. Keras' `Hinge` on
    one-hot labels is its mean over the classes.
    """
    logits, labels = _prepare(logits, labels, where)
    hinges = hinge(logits, labelling.is_label(labels, logits.shape[-1]))
    return inputs.keep(_squared(hinges, squared).sum(axis=-1), where)


def crammer_singer_hinge(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"],
    *,
    squared: bool = False,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""How much is missing to a margin of 1 over the strongest other class.

    .. math:: \ell = \max_{c \ne y} \max(0, 1 + z_c - z_y)

    Args:
      logits: `[..., classes]`, floating point.
      labels: `[...]`, integers in [0, classes); one outside is an error, or gives NaN (loss and
        gradient) where labels or the mask are traced.
      squared: whether the hinge is squared.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least; classes that are equally strong share the gradient.

    Raises:
      TypeError: labels that are not integers, logits that are not floating point, a mask that is
        not boolean.
      ValueError: labels or a mask of another shape, labels out of range.

    Example:
      >>> float(crammer_singer_hinge(jnp.array([2.0, 1.5, 1.25]), jnp.array(0)))
      0.5

    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based
    vector machines", 2001; scikit-learn's `hinge_loss` is its mean, `optax.multiclass_hinge_loss`
    the same. Keras' `CategoricalHinge` takes 0 for the strongest other class where all are below.
    """
    logits, labels = _prepare(logits, labels, where)
    missing = _missing_margins(logits, labels)
    # The gradient of the maximum multiplies the others by 0: NaN where that of the square is inf.
    missing = jnp.where(missing < missing.max(axis=-1, keepdims=True), 0.0, missing)
    strongest = missing.max(axis=-1)
    return inputs.keep(_squared(strongest, squared), where)


def weston_watkins_hinge(
    logits: Float[Array, "*batch classes"],
    labels: Integer[Array, "*batch"],
    *,
    squared: bool = False,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The sum of what is missing to a margin of 1 over each other class.

    .. math:: \ell = \sum_{c \ne y} \max(0, 1 + z_c - z_y)

    Args:
      logits: `[..., classes]`, floating point.
      labels: `[...]`, integers in [0, classes); one outside is an error, or gives NaN (loss and
        gradient) where labels or the mask are traced.
      squared: whether each class's hinge is squared.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the example holds.

    Returns:
      `[...]`, in float32 at least.

    Raises:
      TypeError: labels that are not integers, logits that are not floating point, a mask that is
        not boolean.
      ValueError: labels or a mask of another shape, labels out of range.

    Example:
      >>> float(weston_watkins_hinge(jnp.array([2.0, 1.5, 1.25]), jnp.array(0)))
      0.75

    Source: Weston and Watkins, "Support vector machines for multi-class pattern recognition",
    1999. `torch.nn.functional.multi_margin_loss` divides it by the number of classes; its `p=2`
    is `squared=True`.
    """
    logits, labels = _prepare(logits, labels, where)
    missing = _squared(_missing_margins(logits, labels), squared)
    return inputs.keep(missing.sum(axis=-1), where)


def _missing_margins(logits: Array, labels: Array) -> Array:
    """`max(0, 1 + z_c - z_y)` of each class, 0 for the label's own."""
    own = jnp.take_along_axis(logits, labels[..., None], axis=-1, mode="clip")
    hinges = jnp.maximum(1 + logits - own, 0)
    return jnp.where(labelling.is_label(labels, logits.shape[-1]), 0.0, hinges)


def _squared(hinges: Array, squared: bool) -> Array:
    return jnp.square(hinges) if squared else hinges


def _prepare(logits: Array, labels: Array, where: Array | None) -> tuple[Array, Array]:
    labelling.check_classes(logits, labels, where, shares=False)
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    labels = inputs.keep(labels, where)
    return labelling.spoil(logits, labels), labels
