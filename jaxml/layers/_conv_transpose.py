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
    r"""Applies the adjoint of `conv` with the same kernel and settings, for upsampling.

    In two dimensions, with strides s, padding p and dilation d, every entry of x adds a multiple of
    the window to the result:

    .. math:: y_{n,\ si+du-p,\ sj+dv-p,\ c} \mathrel{+}= \sum_o x_{n,i,j,o}\ k_{u,v,c,o}

    so that :math:`\langle \mathrm{conv}(a), x\rangle = \langle a, y\rangle` for all a; y is the
    gradient of `conv` with respect to its images, given the gradient x of its result. For "SAME"
    and "VALID", `jax.lax.conv_transpose` computes the same with `transpose_kernel=True`.

    Args:
      x: `[..., *spatial, in]`.
      kernel: `[*window, out / groups, in]`, in the dtype of x: the kernel with which `conv` maps
        `out` channels to `in`.
      bias: `[out]` or None, in the dtype of x; added to y.
      strides: s: one int for all spatial dimensions or one for each.
      padding: the padding of `conv`, which is cropped here. It determines the sizes of the result:
        with the reach `r = d (window - 1) + 1`, they are `s size` for "SAME" and
        `s size + max(r - s, 0)` for "VALID", as in Keras and TensorFlow, and
        `s (size - 1) + r - 2 p + output_padding` for an int p, as in PyTorch. A (before, after)
        pair for each spatial dimension crops their sum instead of 2 p.
      output_padding: number of extra pixels at the end of the result, in [0, s), which selects one
        of the image sizes that `conv` maps to the same size; 0 for "SAME" and "VALID".
      dilation: d, the step between taps: one int for all spatial dimensions or one for each.
      groups: as in `conv`.

    Returns:
      `[..., *sizes, out]`.

    Example:
      >>> import jax.numpy as jnp
      >>> conv_transpose(jnp.ones((2, 4, 4, 16)), jnp.ones((3, 3, 8, 16)), strides=2).shape
      (2, 8, 8, 8)

    Reference: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016,
    chapter 4. Kernels have the layout of `keras.ops.conv_transpose`; those of
    `torch.nn.functional.conv_transpose2d` are `[in, out / groups, *window]`, and its output_padding
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
    """Returns the sizes of the result, which `conv` maps to `sizes`."""
    pads = explicit_padding(padding, sizes, window, strides, dilation)
    if isinstance(padding, str) and any(output_padding):
        raise ValueError(
            f"`output_padding` must be 0 for padding={padding!r}, got {output_padding}"
        )
    if any(more >= s for more, s in zip(output_padding, strides, strict=True)):
        raise ValueError(
            f"`output_padding` must be less than strides={strides}, got {output_padding}"
        )
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
        raise ValueError(f"`padding` must crop at most {whole} pixels, got {padding}")
    return cut


def _check_channels(x: Array, kernel: Array, groups: int) -> None:
    each_dimension("groups", groups, 1)
    if x.shape[-1] != kernel.shape[-1]:
        raise ValueError(
            f"`kernel` must be [*window, out / groups, {x.shape[-1]}] for x of shape {x.shape}, "
            f"got shape {kernel.shape}"
        )
    if x.shape[-1] % groups:
        raise ValueError(f"`groups` must divide the {x.shape[-1]} channels of x, got {groups}")
