"""Transposed convolution."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxml.layers._conv import add_bias, check_arrays, conv
from jaxml.layers._padding import Padding, each_dimension, explicit_padding
from jaxml.types import Array, Float


def conv_transpose(
    x: Float[Array, "*shape channels"],
    kernel: Float[Array, "*window out_of_group channels"],
    bias: Float[Array, " out"] | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Float[Array, "*out_shape out"]:
    r"""The adjoint of `conv` with the same kernel and settings, for upsampling.

    In two dimensions, with strides s, padding p and dilation d, every x adds its multiple of the
    window to the result:

    .. math:: y_{n,\ si+du-p,\ sj+dv-p,\ c} \mathrel{+}= \sum_o x_{n,i,j,o}\ k_{u,v,c,o}

    so that :math:`\langle \mathrm{conv}(a), x\rangle = \langle a, y\rangle` for all a, and y is
    the gradient of conv for its images where x is that of its result.

    Args:
      x: `[..., width, in]`, `[..., height, width, in]` or `[..., depth, height, width, in]`.
      kernel: `[*window, out / groups, in]`, of x's dtype: the very array with which `conv` maps
        `out` channels to `in`.
      bias: `[out]` or None, of x's dtype; added to y.
      strides: s, at least 1: for each spatial dimension or for all.
      padding: what conv would add, and is cut off here; it decides the sizes of the result. With
        r for `d (window - 1) + 1`, the reach of the window, they are

        - Keras' and TensorFlow's for "SAME", `s size`, and "VALID", `s size + max(r - s, 0)`;
        - PyTorch's for an int p, `s (size - 1) + r - 2 p + output_padding`, and so for a
          (before, after) pair for each spatial dimension, with their sum for `2 p`.
      output_padding: how much larger the result is at its end, from 0 to s - 1; 0 for "SAME" and
        "VALID". Larger images, of which conv makes the same size, are told apart so.
      dilation: d, the step between taps, at least 1: for each spatial dimension or for all.
      groups: as in `conv`.

    Returns:
      `[..., *sizes, out]` in x's dtype.

    Raises:
      ValueError: ranks or channels that do not fit; strides, dilation or groups below 1; an unknown
        or negative padding, or more than there is to cut off; an output_padding out of its range.
      TypeError: x, kernel and bias that are not of one floating dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> conv_transpose(jnp.ones((2, 4, 4, 16)), jnp.ones((3, 3, 8, 16)), strides=2).shape
      (2, 8, 8, 8)

    Source: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4.
    `keras.ops.conv_transpose` has this layout of kernels; that of
    `torch.nn.functional.conv_transpose2d` is `[in, out / groups, *window]`, and its output_padding
    may also reach dilation - 1.
    """
    window = check_arrays(x, kernel, bias)
    _check_channels(x, kernel, groups)
    strides = each_dimension("strides", strides, len(window))
    dilation = each_dimension("dilation", dilation, len(window))
    output_padding = each_dimension("output_padding", output_padding, len(window), least=0)
    first = x.ndim - 1 - len(window)
    sizes = _sizes(x.shape[first:-1], window, strides, padding, output_padding, dilation)

    def forward(y: Array) -> Array:
        settings: Any = {"strides": strides, "padding": padding, "dilation": dilation}
        return conv(y, kernel, **settings, groups=groups)

    shape = (*x.shape[:first], *sizes, kernel.shape[-2] * groups)
    (y,) = jax.linear_transpose(forward, jax.ShapeDtypeStruct(shape, x.dtype))(x)
    return add_bias(y, bias)


def _sizes(
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    output_padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """The sizes of the result; `conv` makes `sizes` of them."""
    pads = explicit_padding(padding, sizes, window, strides, dilation)
    if isinstance(padding, str) and any(output_padding):
        raise ValueError(f"output_padding: 0 for padding={padding!r}, not {output_padding}")
    if any(more >= s for more, s in zip(output_padding, strides, strict=True)):
        raise ValueError(f"output_padding: less than strides {strides}, not {output_padding}")
    reach = [d * (taps - 1) + 1 for d, taps in zip(dilation, window, strict=True)]
    dimensions = list(zip(sizes, strides, reach, strict=True))
    if padding == "SAME":
        return [s * size for size, s, _ in dimensions]
    if padding == "VALID":
        return [s * size + max(r - s, 0) for size, s, r in dimensions]
    whole = [s * (size - 1) + r for size, s, r in dimensions]
    cut = [
        size - before - after + more
        for size, (before, after), more in zip(whole, pads, output_padding, strict=True)
    ]
    if min(cut) < 0:
        raise ValueError(f"padding: cuts off at most {whole} pixels, not {padding}")
    return cut


def _check_channels(x: Array, kernel: Array, groups: int) -> None:
    each_dimension("groups", groups, 1)
    if x.shape[-1] != kernel.shape[-1]:
        raise ValueError(
            f"kernel: [*window, out / groups, {x.shape[-1]}] for x {x.shape}, not {kernel.shape}"
        )
    if x.shape[-1] % groups:
        raise ValueError(f"groups: a divisor of {x.shape[-1]} channels of x, not {groups}")
