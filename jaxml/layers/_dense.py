"""The fully connected layer."""

import jax.numpy as jnp

from jaxml.layers._dtypes import check_one_dtype
from jaxml.types import Array, Float


def dense(
    x: Float[Array, "*batch in"],
    kernel: Float[Array, "in out"],
    bias: Float[Array, " out"] | None = None,
) -> Float[Array, "*batch out"]:
    r"""Applies a linear map to the last dimension.

    .. math:: y_o = b_o + \sum_i x_i k_{io}

    Args:
      x: `[..., in]`.
      kernel: `[in, out]`, in the dtype of x.
      bias: `[out]` or None, in the dtype of x.

    Returns:
      `[..., out]`.

    Example:
      >>> dense(jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.zeros(4)).shape
      (2, 4)
    """
    check_one_dtype(x, kernel, bias)
    if not x.ndim:
        raise ValueError("`x` must have at least one dimension, got a scalar")
    if kernel.ndim != 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"`kernel` must be [{x.shape[-1]}, out] for x of shape {x.shape}, got {kernel.shape}"
        )
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"`bias` must be [{kernel.shape[1]}] for a kernel {kernel.shape}, got {bias.shape}"
        )
    y = jnp.matmul(x, kernel)
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
