"""Global pooling: one value for each channel of an image."""

import jax.numpy as jnp
import numpy as np

from jaxml.types import Array, Float, Num


def global_average_pool(
    x: Float[Array, "*shape"], *, spatial_dims: int = 2
) -> Float[Array, "*pooled"]:
    """The mean of each channel over all its pixels.

    Args:
      x: `[..., height, width, channels]`, or as many spatial dimensions as `spatial_dims` says.
      spatial_dims: dimensions before the channels that are averaged, at least 1.

    Returns:
      `[..., channels]` in x's dtype, summed in float32 at least.

    Raises:
      TypeError: x is not floating-point.
      ValueError: fewer dimensions than the spatial and the channels; no pixel.

    Example:
      >>> global_average_pool(jnp.ones((2, 8, 8, 16))).shape
      (2, 16)

    Source: Lin, Chen, Yan, "Network In Network", 2014, section 3.2.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating-point, not {x.dtype}")
    wide = np.promote_types(x.dtype, np.float32)
    return jnp.mean(x, axis=_spatial_axes(x, spatial_dims), dtype=wide).astype(x.dtype)


def global_max_pool(x: Num[Array, "*shape"], *, spatial_dims: int = 2) -> Num[Array, "*pooled"]:
    """The largest value of each channel over all its pixels.

    Args:
      x: `[..., height, width, channels]`, or as many spatial dimensions as `spatial_dims` says.
      spatial_dims: dimensions before the channels that are pooled, at least 1.

    Returns:
      `[..., channels]` in x's dtype. The gradient is shared evenly by equal values.

    Raises:
      ValueError: fewer dimensions than the spatial and the channels; no pixel.

    Example:
      >>> global_max_pool(jnp.ones((2, 8, 8, 16))).shape
      (2, 16)

    Source: Oquab et al., "Is object localization for free?", 2015, section 3.
    """
    return jnp.max(x, axis=_spatial_axes(x, spatial_dims))


def _spatial_axes(x: Array, spatial_dims: int) -> tuple[int, ...]:
    if spatial_dims < 1:
        raise ValueError(f"spatial_dims: at least 1, not {spatial_dims}")
    if x.ndim < spatial_dims + 1:
        expected = "[height, width, channels]" if spatial_dims == 2 else f"{spatial_dims + 1}-D"
        raise ValueError(f"x: at least {expected}, not shape {x.shape}")
    axes = tuple(range(-spatial_dims - 1, -1))
    if 0 in (x.shape[axis] for axis in axes):
        raise ValueError(f"x: at least one pixel, not shape {x.shape}")
    return axes
