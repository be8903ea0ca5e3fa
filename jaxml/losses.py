"""Losses: one value an example, never reduced inside."""

import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxml.types import Array


def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    r"""Cross-entropy of the softmax of the logits against integer labels.

    .. math:: \ell = \log \sum_c e^{z_c} - z_y

    Args:
      logits: `[..., classes]`, unnormalised, floating point.
      labels: `[...]`, integers in [0, classes); a label outside gives NaN.

    Returns:
      `[...]`, in float32 at least: 0 or more, in nats.

    Raises:
      TypeError: labels that are not integers.
      ValueError: labels whose shape is not that of the logits without the classes.

    Example:
      >>> float(softmax_cross_entropy(jnp.array([0.0, 1e4]), jnp.array(0)))
      10000.0

    Source: the meaning of `tf.nn.sparse_softmax_cross_entropy_with_logits`; computed by optax.
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels: integers in [0, {logits.shape[-1]}), not {labels.dtype}")
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels: shape {logits.shape[:-1]} for logits {logits.shape}, not {labels.shape}"
        )
    logits = logits.astype(np.promote_types(logits.dtype, np.float32))
    # The loss does not change when all logits do, but sums of large ones would lose digits.
    logits = logits - lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.where(labels < 0, jnp.full_like(losses, jnp.nan), losses)
