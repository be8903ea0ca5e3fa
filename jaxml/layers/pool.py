"""Pooling."""

import jax.numpy as jnp
import numpy as np

from jaxml.types import Array


def global_average_pool(x: Array) -> Array:
    """The mean over height and width.

    Args:
      x: `[..., height, width, channels]`.

    Returns:
      `[..., channels]` in x's dtype, summed in float32 at least.

    Raises:
      ValueError: fewer than three dimensions.

    Example:
      >>> global_average_pool(jnp.ones((2, 8, 8, 16))).shape
      (2, 16)

    Source: Lin, Chen, Yan, "Network In Network", 2014, section 3.2.
    """
    if x.ndim < 3:
        raise ValueError(f"x: at least [height, width, channels], not shape {x.shape}")
    wide = np.promote_types(x.dtype, np.float32)
    return jnp.mean(x, axis=(-3, -2), dtype=wide).astype(x.dtype)
