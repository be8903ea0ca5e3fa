"""The fully connected layer."""

import jax.numpy as jnp

from jaxml.types import Array, Float


def dense(
    x: Float[Array, "*batch in"],
    kernel: Float[Array, "in out"],
    bias: Float[Array, " out"] | None = None,
) -> Float[Array, "*batch out"]:
    r"""A linear map of the last dimension.

    .. math:: y_o = b_o + \sum_i x_i k_{io}

    Args:
      x: `[..., in]`, floating point.
      kernel: `[in, out]`, of x's dtype.
      bias: `[out]` or None, of x's dtype.

    Returns:
      `[..., out]` in x's dtype.

    Raises:
      ValueError: shapes that do not fit.
      TypeError: x, kernel and bias that are not of one floating dtype.

    Example:
      >>> dense(jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.zeros(4)).shape
      (2, 4)
    """
    check_dtypes(x, kernel, bias)
    if not x.ndim:
        raise ValueError("x: at least one dimension, not a scalar")
    if kernel.ndim != 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(f"kernel: [{x.shape[-1]}, out] for x {x.shape}, not {kernel.shape}")
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(f"bias: [{kernel.shape[1]}] for a kernel {kernel.shape}, not {bias.shape}")
    y = jnp.matmul(x, kernel)
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)


def check_dtypes(x: Array, kernel: Array, bias: Array | None) -> None:
    """One floating dtype for all of a layer's arrays."""
    dtypes = [jnp.result_type(array) for array in (x, kernel, bias) if array is not None]
    if not jnp.issubdtype(dtypes[0], jnp.floating) or len(set(dtypes)) > 1:
        names = "x, kernel" if bias is None else "x, kernel, bias"
        raise TypeError(f"{names}: one floating dtype, not {', '.join(map(str, dtypes))}")
