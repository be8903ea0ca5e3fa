"""Convolutions with factorized kernels."""

from collections.abc import Sequence

from jaxml.layers._conv import check_arrays, conv
from jaxml.layers._padding import Padding, each_dimension, explicit_padding
from jaxml.types import Array, Float


def depthwise_conv(
    x: Float[Array, "*shape channels"],
    kernel: Float[Array, "*window channels multiplier"],
    bias: Float[Array, " out"] | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
) -> Float[Array, "*out_shape out"]:
    r"""Convolves every channel separately, with `multiplier` filters each.

    In two dimensions, with strides s, padding p, dilation d and m filters for each channel c:

    .. math:: y_{n,i,j,mc+q} = b_{mc+q} + \sum_{u,v} x_{n,\ si+du-p,\ sj+dv-p,\ c}\ k_{u,v,c,q}

    Args:
      x: `[..., *spatial, in]`.
      kernel: `[*window, in, multiplier]`, in the dtype of x.
      bias: `[in * multiplier]` or None, in the dtype of x.
      strides: as in `conv`.
      padding: as in `conv`.
      dilation: as in `conv`.

    Returns:
      `[..., *sizes, in * multiplier]` with the sizes of `conv`; the filters of a channel are
      adjacent.

    Example:
      >>> import jax.numpy as jnp
      >>> depthwise_conv(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 2)), strides=2).shape
      (2, 4, 4, 6)

    Reference: `keras.ops.depthwise_conv` and `tf.nn.depthwise_conv2d`. PyTorch's `conv2d` with as
    many groups as channels returns the same order of channels.
    """
    check_arrays(x, kernel, bias)
    *window, channels, multiplier = kernel.shape
    if channels != x.shape[-1]:
        raise ValueError(
            f"`kernel` must be [*window, {x.shape[-1]}, multiplier] for x of shape {x.shape}, "
            f"got shape {kernel.shape}"
        )
    one_channel = kernel.reshape(*window, 1, channels * multiplier)
    return conv(
        x, one_channel, bias, strides=strides, padding=padding, dilation=dilation, groups=channels
    )


def separable_conv(
    x: Float[Array, "*shape channels"],
    depthwise_kernel: Float[Array, "*window channels multiplier"],
    pointwise_kernel: Float[Array, "*ones between out"],
    bias: Float[Array, " out"] | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
) -> Float[Array, "*out_shape out"]:
    r"""Applies a depthwise convolution over space, then a 1x1 convolution over channels.

    .. math:: y = \mathrm{conv}(\mathrm{depthwise\_conv}(x, k), w) + b

    The result equals `conv` with the kernel :math:`\sum_q k_{u,v,c,q}\ w_{mc+q,o}`, at a lower
    cost.

    Args:
      x: `[..., *spatial, in]`.
      depthwise_kernel: k, `[*window, in, multiplier]`, in the dtype of x.
      pointwise_kernel: w, `[1, in * multiplier, out]` with a 1 for each spatial dimension.
      bias: `[out]` or None, in the dtype of x.
      strides: strides of the depthwise convolution, as in `conv`.
      padding: padding of the depthwise convolution, as in `conv`.
      dilation: dilation of the depthwise convolution, as in `conv`.

    Returns:
      `[..., *sizes, out]` with the sizes of `conv`.

    Example:
      >>> import jax.numpy as jnp
      >>> x, depthwise, pointwise = map(jnp.ones, [(8, 8, 3), (3, 3, 3, 2), (1, 1, 6, 4)])
      >>> separable_conv(x, depthwise, pointwise).shape
      (8, 8, 4)

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017;
    `keras.ops.separable_conv` and `tf.nn.separable_conv2d`.
    """
    y = depthwise_conv(x, depthwise_kernel, strides=strides, padding=padding, dilation=dilation)
    ones = (1,) * (depthwise_kernel.ndim - 2)
    if pointwise_kernel.shape[:-1] != (*ones, y.shape[-1]):
        raise ValueError(
            f"`pointwise_kernel` must have shape {(*ones, y.shape[-1])} and out for a "
            f"depthwise_kernel of shape {depthwise_kernel.shape}, got {pointwise_kernel.shape}"
        )
    return conv(y, pointwise_kernel, bias)


def spatially_separable_conv(
    x: Float[Array, "*batch height width channels"],
    column: Float[Array, "column_taps channels between"],
    row: Float[Array, "row_taps between out"],
    bias: Float[Array, " out"] | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    dilation: int | Sequence[int] = 1,
) -> Float[Array, "*batch out_height out_width out"]:
    r"""Convolves with a column kernel (k x 1), then with a row kernel (1 x k).

    .. math:: y = \mathrm{conv}(\mathrm{conv}(x, k_{u,1,c,m}), w_{1,v,m,o}) + b

    The result equals `conv` with the kernel :math:`\sum_m k_{u,c,m}\ w_{v,m,o}`, at a lower cost.

    Args:
      x: `[..., height, width, in]`.
      column: k, `[taps, in, between]`, in the dtype of x, along the height.
      row: w, `[taps, between, out]`, in the dtype of x, along the width.
      bias: `[out]` or None, in the dtype of x.
      strides: strides along the height and width, as in `conv`.
      padding: padding along the height and width, as in `conv`.
      dilation: dilation along the height and width, as in `conv`.

    Returns:
      `[..., *sizes, out]` with the sizes of `conv`.

    Example:
      >>> import jax.numpy as jnp
      >>> smooth = jnp.array([0.25, 0.5, 0.25]).reshape(3, 1, 1)
      >>> spatially_separable_conv(jnp.eye(3)[..., None], smooth, smooth)[..., 0]
      Array([[0.3125, 0.25  , 0.0625],
             [0.25  , 0.375 , 0.25  ],
             [0.0625, 0.25  , 0.3125]], dtype=float32)

    Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016,
    section 3.2, with a nonlinearity between the two; call `conv` twice for that.
    """
    fits = x.ndim >= 3 == column.ndim == row.ndim
    if not fits or (x.shape[-1], column.shape[-1]) != (column.shape[-2], row.shape[-2]):
        raise ValueError(
            "`x`, `column` and `row` must be [..., height, width, in], [taps, in, between] and "
            f"[taps, between, out], got shapes {x.shape}, {column.shape} and {row.shape}"
        )
    taps = (column.shape[0], row.shape[0])
    s = each_dimension("strides", strides, 2)
    d = each_dimension("dilation", dilation, 2)
    pads = explicit_padding(padding, x.shape[-3:-1], taps, s, d)
    none = (0, 0)
    y = conv(x, column[:, None], strides=(s[0], 1), padding=(pads[0], none), dilation=(d[0], 1))
    return conv(y, row[None], bias, strides=(1, s[1]), padding=(none, pads[1]), dilation=(1, d[1]))
