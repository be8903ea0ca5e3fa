"""What logits say: probabilities, and predictions of one class of two or of several."""

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
    r"""The probability of class 1.

    .. math:: p = \sigma(z) = \frac{1}{1 + e^{-z}}

    Args:
      logits: `[...]`, floating point: the log-odds of class 1.

    Returns:
      `[...]` in [0, 1], in the dtype of the logits.

    Raises:
      TypeError: logits that are not floating point.

    Example:
      >>> binary_probabilities(jnp.array([0.0, 1e4, -1e4])).tolist()
      [0.5, 1.0, 0.0]

    Source: `jax.nn.sigmoid`.
    """
    inputs.check_real("logits", logits)
    (wide,) = inputs.at_least_float32(logits)
    return activations.sigmoid(wide).astype(logits.dtype)


def binary_predictions(
    logits: Float[Array, "*batch"], *, threshold: float = 0.5
) -> Integer[Array, "*batch"]:
    r"""1 where the probability of class 1 is above a threshold.

    .. math:: \hat y = [\sigma(z) > t] = \left[z > \log \frac{t}{1 - t}\right]

    Computed from the right side: a probability near 1 has lost what tells it from the threshold.

    Args:
      logits: `[...]`, floating point: the log-odds of class 1.
      threshold: t, in (0, 1).

    Returns:
      `[...]`, int32: 0 or 1; a logit of NaN gives 0.

    Raises:
      TypeError: logits that are not floating point.
      ValueError: a threshold outside (0, 1).

    Example:
      >>> binary_predictions(jnp.array([-1.0, 0.0, 1.0])).tolist()
      [0, 0, 1]
      >>> binary_predictions(jnp.array([-1.0, 0.0, 1.0]), threshold=0.2).tolist()
      [1, 1, 1]

    Source: strictly above, as the decision functions of scikit-learn and Keras' `BinaryAccuracy`.
    """
    inputs.check_real("logits", logits)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold: a probability in (0, 1), not {threshold}")
    log_odds = math.log(threshold) - math.log1p(-threshold)
    (wide,) = inputs.at_least_float32(logits)
    return (wide > log_odds).astype(jnp.int32)


def class_probabilities(
    logits: Float[Array, "*batch classes"],
) -> Float[Array, "*batch classes"]:
    r"""The probability of each class.

    .. math:: p_c = \frac{e^{z_c}}{\sum_k e^{z_k}}

    Args:
      logits: `[..., classes]`, unnormalised, floating point.

    Returns:
      `[..., classes]` in [0, 1] with a sum of 1, in the dtype of the logits. A single logit of
      infinity has probability 1; where several are infinite, or all minus infinity, all are NaN.

    Raises:
      TypeError: logits that are not floating point.
      ValueError: no classes.

    Example:
      >>> class_probabilities(jnp.array([1e4, 1e4, -1e4])).tolist()
      [0.5, 0.5, 0.0]

    Source: `jax.nn.softmax`, which is NaN at infinity; computed in float32 at least.
    """
    inputs.check_classes(logits)
    (wide,) = inputs.at_least_float32(logits)
    return jnp.exp(log_probabilities(wide)).astype(logits.dtype)


def class_predictions(logits: Float[Array, "*batch classes"]) -> Integer[Array, "*batch"]:
    r"""The class with the highest logit, of equal ones the first.

    .. math:: \hat y = \min \operatorname{arg\,max}_c z_c

    Args:
      logits: `[..., classes]`, floating point.

    Returns:
      `[...]`, int32 in [0, classes).

    Raises:
      TypeError: logits that are not floating point.
      ValueError: no classes.

    Example:
      >>> class_predictions(jnp.array([[0.0, 2.0, 2.0], [3.0, 1.0, 2.0]])).tolist()
      [1, 0]

    Source: `jax.numpy.argmax`; `numpy.argmax` and Keras also take the first, torch any.
    """
    inputs.check_classes(logits)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def top_k(
    logits: Float[Array, "*batch classes"], *, k: int
) -> tuple[Float[Array, "*batch k"], Integer[Array, "*batch k"]]:
    r"""The k highest logits and their classes, the highest first, of equal ones the first.

    .. math:: z_{c_1} \ge z_{c_2} \ge \dots \ge z_{c_k} \ge z_c \text{ for all other } c

    Args:
      logits: `[..., classes]`, floating point; probabilities have the same order.
      k: in [1, classes].

    Returns:
      The logits `[..., k]` in their dtype, and their classes `[..., k]`, int32. Here 0.0 is above
      -0.0.

    Raises:
      TypeError: logits that are not floating point.
      ValueError: k outside [1, classes], no classes.

    Example:
      >>> values, classes = top_k(jnp.array([0.0, 3.0, 1.0]), k=2)
      >>> values.tolist(), classes.tolist()
      ([3.0, 1.0], [1, 2])

    Source: `jax.lax.top_k`; `tf.math.top_k` and `torch.topk` give the same two, torch with ties
    in any order.
    """
    inputs.check_classes(logits)
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"k: in [1, {logits.shape[-1]}], the number of classes, not {k}")
    values, classes = lax.top_k(logits, k)
    return values, classes.astype(jnp.int32)
