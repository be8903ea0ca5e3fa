"""Margin losses for binary classification."""

import jax.numpy as jnp
import optax

from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.types import Array, Bool, Float, Integer


def hinge(
    logits: Float[Array, "*batch"],
    labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the binary hinge loss.

    .. math:: \ell = \max(0, 1 - s z), \qquad s = 2 y - 1

    The gradient at the kink is half the slope.

    Args:
      logits: decision values; positive values decide for class 1.
      labels: integers 0 and 1, or booleans. `optax.losses.hinge_loss` takes -1 and 1 instead.
      where: mask over examples.

    Example:
      >>> hinge(jnp.array([3.0, 0.5, -2.0]), jnp.array([1, 1, 1])).tolist()
      [0.0, 0.5, 3.0]

    Reference: Cortes and Vapnik, "Support-vector networks", 1995.
    """
    logits, targets = labelling.prepare_binary(logits, labels, where, soft=False)
    return inputs.keep(optax.losses.hinge_loss(logits, 2 * targets - 1), where)


def squared_hinge(
    logits: Float[Array, "*batch"],
    labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""Computes the squared binary hinge loss, which is differentiable everywhere.

    .. math:: \ell = \max(0, 1 - s z)^2, \qquad s = 2 y - 1

    Args:
      logits: decision values; positive values decide for class 1.
      labels: integers 0 and 1, or booleans.
      where: mask over examples.

    Example:
      >>> squared_hinge(jnp.array([3.0, 0.5, -2.0]), jnp.array([1, 1, 1])).tolist()
      [0.0, 0.25, 9.0]

    This is the default loss of `sklearn.svm.LinearSVC`.
    """
    return jnp.square(hinge(logits, labels, where=where))
