"""Flattening."""

import math

from jaxml.types import Array, Shaped


def flatten(x: Shaped[Array, "*shape"], *, start: int = 1) -> Shaped[Array, "*shape_and_flat"]:
    """One dimension in place of the last ones, the last of them running fastest.

    Args:
      x: any shape.
      start: the first dimension that is flattened, counted from the end where negative: 1 keeps a
        batch, -3 keeps whatever leads `[..., height, width, channels]`.

    Returns:
      `[*x.shape[:start], the product of the others]` in x's dtype.

    Raises:
      ValueError: x has no dimension `start`.

    Example:
      >>> import jax.numpy as jnp
      >>> flatten(jnp.ones((2, 8, 8, 16))).shape
      (2, 1024)

    Source: Keras' Flatten and PyTorch's nn.Flatten, whose images are NCHW: the order of the
    features differs, and with it that of the rows of a dense kernel behind it.
    """
    if not -x.ndim <= start < x.ndim:
        allowed = f"{-x.ndim} to {x.ndim - 1} for x {x.shape}"
        raise ValueError(f"start: {allowed}, not {start}")
    lead, flat = x.shape[:start], x.shape[start:]
    return x.reshape(*lead, math.prod(flat))
