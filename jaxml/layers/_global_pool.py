"""Global pooling: one value for each channel of an image.

`x` is `[..., *spatial, channels]` with `spatial_dims` spatial dimensions, at least 1. Results are
`[..., channels]`.
"""

import jax.numpy as jnp

from jaxml.layers._dtypes import check_floating, wide
from jaxml.types import Array, Float, Num


def global_average_pool(
    x: Float[Array, "*shape"], *, spatial_dims: int = 2
) -> Float[Array, "*pooled"]:
    """Computes the mean of each channel over all pixels.

    >>> global_average_pool(jnp.ones((2, 8, 8, 16))).shape
    (2, 16)

    Reference: Lin, Chen, Yan, "Network In Network", 2014, section 3.2.
    """
    check_floating(x)
    return jnp.mean(x, axis=_spatial_axes(x, spatial_dims), dtype=wide(x)).astype(x.dtype)


def global_max_pool(x: Num[Array, "*shape"], *, spatial_dims: int = 2) -> Num[Array, "*pooled"]:
    """Computes the maximum of each channel over all pixels; x may also be integer.

    Ties share the gradient evenly.

    >>> global_max_pool(jnp.ones((2, 8, 8, 16))).shape
    (2, 16)

    Reference: Oquab et al., "Is object localization for free?", 2015, section 3.
    """
    return jnp.max(x, axis=_spatial_axes(x, spatial_dims))


def _spatial_axes(x: Array, spatial_dims: int) -> tuple[int, ...]:
    if spatial_dims < 1:
        raise ValueError(f"`spatial_dims` must be at least 1, got {spatial_dims}")
    if x.ndim < spatial_dims + 1:
        raise ValueError(
            f"`x` must have {spatial_dims} spatial dimensions and channels, got shape {x.shape}"
        )
    axes = tuple(range(-spatial_dims - 1, -1))
    if 0 in (x.shape[axis] for axis in axes):
        raise ValueError(f"`x` must have at least one pixel, got shape {x.shape}")
    return axes
