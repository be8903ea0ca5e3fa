"""Resizing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.layers._padding import each_dimension
from jaxml.types import Array, Num

METHODS = ("nearest", "bilinear")


def upsample(
    x: Num[Array, "*batch height width channels"],
    *,
    factor: int | Sequence[int],
    method: str = "nearest",
) -> Num[Array, "*batch new_height new_width channels"]:
    r"""Images larger by whole factors.

    Pixels are squares with half-pixel centres: pixel i of the result looks at the place
    :math:`(i + 1/2) / f - 1/2` of x and takes the value of the pixel there ("nearest": each is
    repeated f times), or that of the straight line between the two centres around it ("bilinear";
    beyond the outer centres the image goes on as a constant).

    Args:
      x: `[..., height, width, channels]`.
      factor: f, at least 1; one for both dimensions, or (of height, of width).
      method: "nearest" or "bilinear".

    Returns:
      `[..., f height, f width, channels]` in x's dtype, interpolated in float32 at least.

    Raises:
      TypeError: integers cannot be interpolated by "bilinear"; a factor that is no int.
      ValueError: fewer than three dimensions, a factor below 1, an unknown method.

    Example:
      >>> upsample(jnp.array([[[1.0], [2.0]]]), factor=2).tolist()
      [[[1.0], [1.0], [2.0], [2.0]], [[1.0], [1.0], [2.0], [2.0]]]

    Source: `jax.image.resize`; PyTorch's interpolate with `align_corners=False`, Keras'
    UpSampling2D, and TensorFlow 2's `tf.image.resize`.
    """
    if x.ndim < 3:
        raise ValueError(f"x: at least [height, width, channels], not shape {x.shape}")
    if method not in METHODS:
        raise ValueError(f"method: 'nearest' or 'bilinear', not {method!r}")
    vertical, horizontal = each_dimension("factor", factor, 2)
    *lead, height, width, channels = x.shape
    shape = (*lead, height * vertical, width * horizontal, channels)
    if method == "nearest":
        return jax.image.resize(x, shape, method)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating-point for method 'bilinear', not {x.dtype}")
    wide = np.promote_types(x.dtype, np.float32)
    return jax.image.resize(x.astype(wide), shape, method).astype(x.dtype)
