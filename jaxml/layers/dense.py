"""The fully connected layer."""

import jax.numpy as jnp

from jaxml.types import Array


def dense(x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """A linear map of the last dimension: `y = x @ kernel + bias`.

    Args:
      x: `[..., in]`.
      kernel: `[in, out]`, of x's dtype.
      bias: `[out]` or None, of x's dtype.

    Returns:
      `[..., out]` in x's dtype.

    Raises:
      ValueError: the kernel does not fit x.

    Example:
      >>> dense(jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.zeros(4)).shape
      (2, 4)
    """
    if kernel.ndim != 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(f"kernel: [{x.shape[-1]}, out] for x {x.shape}, not {kernel.shape}")
    y = jnp.matmul(x, kernel)
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
