"""Flattening."""

import math

from jaxml.types import Array, Shaped


def flatten(x: Shaped[Array, "*shape"], *, start: int = 1) -> Shaped[Array, "*shape_and_flat"]:
    """Flattens the dimensions from `start` on into one, in row-major order.

    Args:
      x: array of any shape and dtype.
      start: first dimension to flatten, counted from the end where negative: 1 preserves a batch
        dimension, and -3 the leading dimensions of `[..., height, width, channels]`.

    Returns:
      `[*x.shape[:start], size]`.

    Example:
      >>> import jax.numpy as jnp
      >>> flatten(jnp.ones((2, 8, 8, 16))).shape
      (2, 1024)

    Reference: Keras' `Flatten`. PyTorch's `nn.Flatten` orders the features of an image by channel
    first, so the rows of the following kernel are in another order.
    """
    if not -x.ndim <= start < x.ndim:
        raise ValueError(
            f"`start` must be in [{-x.ndim}, {x.ndim - 1}] for x of shape {x.shape}, got {start}"
        )
    lead, flat = x.shape[:start], x.shape[start:]
    return x.reshape(*lead, math.prod(flat))
