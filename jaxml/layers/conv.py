"""Convolution."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
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
    pads = _explicit_padding(x.shape[1:3], kernel.shape[:2], strides, padding)
    if jax.default_backend() == "cpu" and max(x.shape[1:3]) < min(kernel.shape[:2]):
        y = _conv_of_small_image(x, kernel, strides, pads)
    else:
        y = lax.conv_general_dilated(
            x, kernel, (strides, strides), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    return y if bias is None else y + bias.reshape(1, 1, 1, -1)


def _explicit_padding(
    image: Sequence[int], window: Sequence[int], strides: int, padding: Padding
) -> list[tuple[int, int]]:
    if isinstance(padding, int):
        return [(padding, padding)] * 2
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(f"padding: 'SAME', 'VALID', an int or pairs of ints, not {padding!r}")
        padding = lax.padtype_to_pads(image, window, (strides,) * 2, padding)
    return [(before, after) for before, after in padding]


def _conv_of_small_image(
    x: Array, kernel: Array, strides: int, pads: Sequence[tuple[int, int]]
) -> Array:
    """Convolution as one matrix product, for images smaller than the kernel.

    The kernel is laid out as the matrix that maps all pixels and channels of an image to all of
    the result; there, few of its entries are zeros. On a CPU of 2 cores (AVX-512) the value and the
    gradients of a 3x3 convolution of 64 images of 2x2x64 take 0.9 ms so, and 9.7 ms as XLA's
    convolution; from images of 3x3 on, XLA's is faster.
    """
    batch, *image, channels = x.shape
    features = kernel.shape[-1]
    taps = []  # for each dimension, which tap joins an input (row) with an output (column)
    for size, window, (before, after) in zip(image, kernel.shape[:2], pads, strict=True):
        outputs = (size + before + after - window) // strides + 1
        tap = np.arange(size)[:, None] - np.arange(outputs)[None] * strides + before
        # Out of reach is a tap past the end, where the kernel is padded with one zero.
        taps.append(np.where((tap >= 0) & (tap < window), tap, window))
    rows, columns = taps
    padded = jnp.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])
    matrix = padded[rows[:, None, :, None], columns[None, :, None, :]]  # [h, w, h', w', c, c']
    matrix = matrix.transpose(0, 1, 4, 2, 3, 5)
    out_image = (rows.shape[1], columns.shape[1])
    y = x.reshape(batch, image[0] * image[1] * channels) @ matrix.reshape(
        image[0] * image[1] * channels, out_image[0] * out_image[1] * features
    )
    return y.reshape(batch, *out_image, features)
