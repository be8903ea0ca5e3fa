"""Probabilities and predicted classes from logits.

Binary functions take one logit per example, `[...]`, the log-odds of class 1. The others take one
logit per class, `[..., classes]`. Logits that are not floating-point raise a TypeError, logits
without classes a ValueError.
"""

import math

import jax.numpy as jnp
from jax import lax

from jaxml import activations
from jaxml.losses import _inputs as inputs
from jaxml.losses._softmax import log_probabilities
from jaxml.types import Array, Float, Integer

__all__ = [
    "binary_predictions",
    "binary_probabilities",
    "class_predictions",
    "class_probabilities",
    "top_k",
]


def binary_probabilities(logits: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""Computes the probability of class 1.

    .. math:: p = \sigma(z) = \frac{1}{1 + e^{-z}}

    The computation is at least in float32, the result in the dtype of the logits.

    Example:
      >>> binary_probabilities(jnp.array([0.0, 1e4, -1e4])).tolist()
      [0.5, 1.0, 0.0]
    """
    inputs.check_real("logits", logits)
    (wide,) = inputs.at_least_float32(logits)
    return activations.sigmoid(wide).astype(logits.dtype)


def binary_predictions(
    logits: Float[Array, "*batch"], *, threshold: float = 0.5
) -> Integer[Array, "*batch"]:
    r"""Predicts class 1 where its probability is strictly above a threshold.

    .. math:: \hat y = [\sigma(z) > t] = \left[z > \log \frac{t}{1 - t}\right]

    Logits are compared with the threshold's log-odds, since probabilities near 1 are rounded.

    Args:
      logits: `[...]`, the log-odds of class 1. NaN predicts class 0.
      threshold: t in (0, 1).

    Returns:
      `[...]`, 0 or 1, int32.

    Example:
      >>> binary_predictions(jnp.array([-1.0, 0.0, 1.0])).tolist()
      [0, 0, 1]
      >>> binary_predictions(jnp.array([-1.0, 0.0, 1.0]), threshold=0.2).tolist()
      [1, 1, 1]
    """
    inputs.check_real("logits", logits)
    if not 0 < threshold < 1:
        raise ValueError(f"`threshold` must be in (0, 1), got {threshold}")
    log_odds = math.log(threshold) - math.log1p(-threshold)
    (wide,) = inputs.at_least_float32(logits)
    return (wide > log_odds).astype(jnp.int32)


def class_probabilities(
    logits: Float[Array, "*batch classes"],
) -> Float[Array, "*batch classes"]:
    r"""Computes the probability of each class.

    .. math:: p_c = \frac{e^{z_c}}{\sum_k e^{z_k}}

    The computation is at least in float32, the result in the dtype of the logits. Unlike in
    `jax.nn.softmax`, a single logit of infinity has probability 1. Several infinite logits, or only
    logits of minus infinity, give NaN.

    Example:
      >>> class_probabilities(jnp.array([1e4, 1e4, -1e4])).tolist()
      [0.5, 0.5, 0.0]
    """
    inputs.check_classes(logits)
    (wide,) = inputs.at_least_float32(logits)
    return jnp.exp(log_probabilities(wide)).astype(logits.dtype)


def class_predictions(logits: Float[Array, "*batch classes"]) -> Integer[Array, "*batch"]:
    r"""Predicts the class with the largest logit, the first one of ties.

    .. math:: \hat y = \min \operatorname{arg\,max}_c z_c

    Returns:
      `[...]`, integers in `[0, classes)`, int32.

    Example:
      >>> class_predictions(jnp.array([[0.0, 2.0, 2.0], [3.0, 1.0, 2.0]])).tolist()
      [1, 0]
    """
    inputs.check_classes(logits)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def top_k(
    logits: Float[Array, "*batch classes"], k: int
) -> tuple[Float[Array, "*batch k"], Integer[Array, "*batch k"]]:
    """Returns the k largest logits and their classes in descending order.

    Equals `jax.lax.top_k` over the last axis, except that its arguments are checked and that the
    argument `operand` is called `logits`. Of tied classes, the first comes first; 0.0 ranks above
    -0.0.

    Args:
      logits: `[..., classes]`; probabilities have the same order.
      k: number of classes to return, in [1, classes].

    Returns:
      The logits `[..., k]`, in their dtype, and the classes `[..., k]`, int32.

    Example:
      >>> values, classes = top_k(jnp.array([0.0, 3.0, 1.0]), k=2)
      >>> values.tolist(), classes.tolist()
      ([3.0, 1.0], [1, 2])
    """
    inputs.check_classes(logits)
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"`k` must be in [1, {logits.shape[-1]}], the number of classes, got {k}")
    values, classes = lax.top_k(logits, k)
    return values, classes.astype(jnp.int32)
