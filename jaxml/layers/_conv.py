"""Convolution."""

import math
from collections.abc import Sequence

from jax import lax

from jaxml import _cpu
from jaxml.layers._dtypes import check_one_dtype
from jaxml.layers._padding import (
    Padding,
    each_dimension,
    explicit_padding,
    move_excess_padding,
)
from jaxml.types import Array, Float


def conv(
    x: Float[Array, "*shape channels"],
    kernel: Float[Array, "*window channels_of_group out"],
    bias: Float[Array, " out"] | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Float[Array, "*out_shape out"]:
    r"""Convolves (cross-correlates) x with a kernel over 1, 2 or 3 spatial dimensions.

    In two dimensions, with strides s, padding p and dilation d:

    .. math:: y_{n,i,j,o} = b_o + \sum_{u,v,c} x_{n,\ si+du-p,\ sj+dv-p,\ c}\ k_{u,v,c,o}

    The rank of the kernel determines the number of spatial dimensions. Arrays are channels-last,
    whereas `jax.lax.conv` takes NCHW images and OIHW kernels.

    Args:
      x: `[..., *spatial, in]`.
      kernel: `[*window, in / groups, out]` with a window of 1 to 3 sizes, in the dtype of x.
      bias: `[out]` or None, in the dtype of x.
      strides: s, the step between outputs: one int for all spatial dimensions or one for each.
      padding: an int p for p zeros on each side, as in PyTorch and Caffe; "SAME", as in TensorFlow,
        for `ceil(size / strides)` outputs with the odd zero at the end; "VALID" for none; or a
        (before, after) pair for each spatial dimension. With strides above 1, "SAME" and
        `padding=1` sample a 3x3 kernel at different positions.
      dilation: d, the step between taps: one int for all spatial dimensions or one for each.
      groups: number of groups of neighboring channels that are convolved separately.

    Returns:
      `[..., *sizes, out]`, where the size of a dimension is
      `floor((size + before + after - d (window - 1) - 1) / s) + 1`, or 0 where the window is larger
      than the padded x.

    Example:
      >>> import jax.numpy as jnp
      >>> conv(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 16)), strides=2, padding=1).shape
      (2, 4, 4, 16)

    Reference: `torch.nn.functional.conv1d` to `conv3d`, which raise where the window is larger than
    the padded x, and `tf.nn.convolution`.
    """
    window = check_arrays(x, kernel, bias)
    _check_channels(x, kernel, groups)
    strides = each_dimension("strides", strides, len(window))
    dilation = each_dimension("dilation", dilation, len(window))
    first = x.ndim - 1 - len(window)
    pads = explicit_padding(padding, x.shape[first:-1], window, strides, dilation)
    images = x.reshape(math.prod(x.shape[:first]), *x.shape[first:])
    y = _convolve(images, kernel, strides, pads, dilation, groups)
    return add_bias(y.reshape(*x.shape[:first], *y.shape[1:]), bias)


def check_arrays(x: Array, kernel: Array, bias: Array | None) -> tuple[int, ...]:
    """Checks dtypes and ranks, and returns the sizes of the kernel's window."""
    check_one_dtype(x, kernel, bias)
    if kernel.ndim not in (3, 4, 5):
        raise ValueError(
            f"`kernel` must be [*window, ., .] with 1 to 3 window sizes, got shape {kernel.shape}"
        )
    if x.ndim < kernel.ndim - 1:
        raise ValueError(
            f"`x` must have at least {kernel.ndim - 1} dimensions for a kernel of shape "
            f"{kernel.shape}, got shape {x.shape}"
        )
    return each_dimension("kernel.shape[:-2]", kernel.shape[:-2], kernel.ndim - 2)


def add_bias(y: Array, bias: Array | None) -> Array:
    """Adds a bias to every pixel."""
    if bias is None:
        return y
    if bias.shape != y.shape[-1:]:
        raise ValueError(f"`bias` must have shape {y.shape[-1:]}, got {bias.shape}")
    return y + bias.reshape(*[1] * (y.ndim - 1), -1)


def _check_channels(x: Array, kernel: Array, groups: int) -> None:
    each_dimension("groups", groups, 1)
    channels, (wanted, features) = x.shape[-1], kernel.shape[-2:]
    if channels % groups or features % groups:
        raise ValueError(
            f"`groups` must divide the {channels} channels of x and the {features} of the result, "
            f"got {groups}"
        )
    if channels != wanted * groups:
        raise ValueError(
            f"`kernel` must be [*window, {channels // groups}, out] for x of shape {x.shape} and "
            f"groups={groups}, got shape {kernel.shape}"
        )


@_cpu.accelerate(move_excess_padding)
def _convolve(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    x, pads = move_excess_padding(x, kernel.shape[:-2], strides, pads, dilation)
    axes = "DHW"[-len(strides) :]
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )
