"""Shortcuts of residual networks."""

from jax import lax

from jaxml.types import Array, Num


def zero_pad_shortcut(
    x: Num[Array, "*batch height width channels"], *, strides: int, features: int
) -> Num[Array, "*batch new_height new_width features"]:
    """Computes a shortcut without parameters: subsamples the pixels and pads the channels.

    Args:
      x: `[..., height, width, channels]`, integer or floating-point.
      strides: step in both spatial dimensions.
      features: number of channels of the result, at least that of x. The new channels are zeros,
        split evenly between both ends, an odd one at the end.

    Returns:
      `[..., ceil(height / strides), ceil(width / strides), features]`.

    Example:
      >>> import jax.numpy as jnp
      >>> zero_pad_shortcut(jnp.ones((2, 8, 8, 16)), strides=2, features=32).shape
      (2, 4, 4, 32)

    Reference: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 3.3, option A.
    """
    if x.ndim < 3:
        raise ValueError(f"`x` must be [..., height, width, channels], got shape {x.shape}")
    extra = features - x.shape[-1]
    if extra < 0:
        raise ValueError(
            f"`features` must be at least the {x.shape[-1]} channels of x, got {features}"
        )
    if strides < 1:
        raise ValueError(f"`strides` must be at least 1, got {strides}")
    x = x[..., ::strides, ::strides, :]
    pads = [(0, 0, 0)] * (x.ndim - 1) + [(extra // 2, extra - extra // 2, 0)]
    return lax.pad(x, x.dtype.type(0), pads)
