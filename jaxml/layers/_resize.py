"""Upsampling of images."""

from collections.abc import Sequence

import jax

from jaxml.layers._dtypes import check_floating, wide
from jaxml.layers._padding import each_dimension
from jaxml.types import Array, Num

METHODS = ("nearest", "bilinear")


def upsample(
    x: Num[Array, "*batch height width channels"],
    *,
    factor: int | Sequence[int],
    method: str = "nearest",
) -> Num[Array, "*batch new_height new_width channels"]:
    r"""Enlarges images by integer factors.

    With half-pixel centers, pixel i of the result samples x at :math:`(i + 1/2) / f - 1/2`:
    "nearest" repeats each pixel f times, and "bilinear" interpolates linearly between the two
    nearest centers and is constant beyond the outermost ones.

    Args:
      x: `[..., height, width, channels]`; integers only for "nearest".
      factor: f, for both dimensions or as (height, width).
      method: "nearest" or "bilinear".

    Returns:
      `[..., f * height, f * width, channels]`.

    Example:
      >>> import jax.numpy as jnp
      >>> upsample(jnp.array([[[1.0], [2.0]]]), factor=2).tolist()
      [[[1.0], [1.0], [2.0], [2.0]], [[1.0], [1.0], [2.0], [2.0]]]

    Reference: `jax.image.resize`; PyTorch's `interpolate` with `align_corners=False`, Keras'
    `UpSampling2D` and TensorFlow 2's `tf.image.resize` agree.
    """
    if x.ndim < 3:
        raise ValueError(f"`x` must be [..., height, width, channels], got shape {x.shape}")
    if method not in METHODS:
        raise ValueError(f"`method` must be 'nearest' or 'bilinear', got {method!r}")
    vertical, horizontal = each_dimension("factor", factor, 2)
    *lead, height, width, channels = x.shape
    shape = (*lead, height * vertical, width * horizontal, channels)
    if method == "nearest":
        return jax.image.resize(x, shape, method)
    check_floating(x)
    return jax.image.resize(x.astype(wide(x)), shape, method).astype(x.dtype)
