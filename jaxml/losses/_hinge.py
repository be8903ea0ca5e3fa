"""Losses of the margin between two classes."""

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
    r"""How much is missing to a margin of 1 on the right side.

    .. math:: \ell = \max(0, 1 - s z), \qquad s = 2 y - 1

    Args:
      logits: `[...]`, floating point: positive decides for class 1.
      labels: the same shape: integers 0 and 1, or booleans. Others, -1 among them, are an error,
        or NaN where labels or the mask are traced.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the entry holds.

    Returns:
      `[...]`, in float32 at least: one value an entry. At the kink the gradient is half of the
      slope.

    Raises:
      TypeError: labels that are not integers or booleans, logits that are not floating point, a
        mask that is not boolean.
      ValueError: labels or a mask of another shape, labels out of range.

    Example:
      >>> hinge(jnp.array([3.0, 0.5, -2.0]), jnp.array([1, 1, 1])).tolist()
      [0.0, 0.5, 3.0]

    Source: Cortes and Vapnik, "Support-vector networks", 1995; computed by optax, which takes
    labels of -1 and 1. Keras' takes both and averages over the last axis. Torch's
    `hinge_embedding_loss` is another function.
    """
    labelling.check_binary(logits, labels, where, soft=False)
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    signs = 2 * labelling.binary_shares(inputs.keep(labels, where), logits.dtype) - 1
    return inputs.keep(optax.losses.hinge_loss(logits, signs), where)


def squared_hinge(
    logits: Float[Array, "*batch"],
    labels: Integer[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    where: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
    r"""The square of `hinge`, which has a gradient everywhere.

    .. math:: \ell = \max(0, 1 - s z)^2, \qquad s = 2 y - 1

    Args:
      logits: `[...]`, floating point: positive decides for class 1.
      labels: the same shape: integers 0 and 1, or booleans. Others, -1 among them, are an error,
        or NaN where labels or the mask are traced.
      where: `[...]` booleans; False gives a loss and gradients of 0 whatever the entry holds.

    Returns:
      `[...]`, in float32 at least: one value an entry.

    Raises:
      TypeError: labels that are not integers or booleans, logits that are not floating point, a
        mask that is not boolean.
      ValueError: labels or a mask of another shape, labels out of range.

    Example:
      >>> squared_hinge(jnp.array([3.0, 0.5, -2.0]), jnp.array([1, 1, 1])).tolist()
      [0.0, 0.25, 9.0]

    Source: the loss of scikit-learn's `LinearSVC` unless told otherwise; Keras' takes labels of
    -1 and 1 too and averages over the last axis.
    """
    return jnp.square(hinge(logits, labels, where=where))
