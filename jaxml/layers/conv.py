"""Convolution."""

from collections.abc import Sequence

from jax import lax

from jaxml.types import Array

Padding = str | int | Sequence[tuple[int, int]]


def conv(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: int = 1,
    padding: Padding = "SAME",
) -> Array:
    r"""2-D convolution (cross-correlation, as everywhere in deep learning).

    .. math:: y_{n,i,j,o} = b_o + \sum_{u,v,c} x_{n,\ si+u-p,\ sj+v-p,\ c}\ k_{u,v,c,o}

    Args:
      x: `[batch, height, width, in]`.
      kernel: `[kernel height, kernel width, in, out]`, of x's dtype.
      bias: `[out]` or None.
      strides: s, the step in both spatial dimensions, at least 1.
      padding: an int p (p zeros on each side, PyTorch's and Caffe's meaning), "SAME"
        (TensorFlow's: `ceil(size / strides)` outputs, the odd zero last), "VALID" (none), or one
        (before, after) pair for each spatial dimension. With strides above 1, "SAME" and
        `padding=1` sample a 3x3 kernel at different places.

    Returns:
      `[batch, out height, out width, out]` in x's dtype.

    Raises:
      ValueError: ranks or channels that do not fit, strides below 1, an unknown padding.

    Example:
      >>> import jax.numpy as jnp
      >>> conv(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 16)), strides=2, padding=1).shape
      (2, 4, 4, 16)
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[-1] != kernel.shape[-2]:
        raise ValueError(
            "x, kernel: [batch, height, width, in] and [kernel height, kernel width, in, out], "
            f"not {x.shape} and {kernel.shape}"
        )
    if strides < 1:
        raise ValueError(f"strides: at least 1, not {strides}")
    if isinstance(padding, int):
        padding = [(padding, padding)] * 2
    if isinstance(padding, str) and padding not in ("SAME", "VALID"):
        raise ValueError(f"padding: 'SAME', 'VALID', an int or pairs of ints, not {padding!r}")
    y = lax.conv_general_dilated(
        x, kernel, (strides, strides), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y if bias is None else y + bias.reshape(1, 1, 1, -1)
