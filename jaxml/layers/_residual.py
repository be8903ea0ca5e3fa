"""Shortcuts of residual networks."""

from jax import lax

from jaxml.types import Array, Num


def zero_pad_shortcut(
    x: Num[Array, "*batch height width channels"], *, strides: int, features: int
) -> Num[Array, "*batch new_height new_width features"]:
    """The parameter-free shortcut: every `strides`-th pixel, the new channels filled with zeros.

    Args:
      x: `[..., height, width, channels]`.
      strides: step in both spatial dimensions, at least 1.
      features: channels of the result, at least x's. The zeros are split between both ends, the
        odd one last.

    Returns:
      `[..., ceil(height / strides), ceil(width / strides), features]` in x's dtype.

    Raises:
      ValueError: fewer than three dimensions, fewer features than channels, or strides below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> zero_pad_shortcut(jnp.ones((2, 8, 8, 16)), strides=2, features=32).shape
      (2, 4, 4, 32)

    Source: option A of He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 3.3.
    """
    if x.ndim < 3:
        raise ValueError(f"x: at least [height, width, channels], not shape {x.shape}")
    extra = features - x.shape[-1]
    if extra < 0:
        raise ValueError(f"features: at least the {x.shape[-1]} channels of x, not {features}")
    if strides < 1:
        raise ValueError(f"strides: at least 1, not {strides}")
    x = x[..., ::strides, ::strides, :]
    spread = [(0, 0, 0)] * (x.ndim - 1) + [(extra // 2, extra - extra // 2, 0)]
    return lax.pad(x, x.dtype.type(0), spread)
