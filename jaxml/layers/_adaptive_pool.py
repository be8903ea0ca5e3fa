"""Pooling to a given size."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxml.layers._dtypes import check_floating, wide
from jaxml.layers._padding import each_dimension
from jaxml.types import Array, Float


def adaptive_average_pool(
    x: Float[Array, "*shape"], *, size: int | Sequence[int]
) -> Float[Array, "*pooled"]:
    r"""Averages an image over a grid of regions, whose number does not depend on the image.

    .. math::
        y_{i,c} = \frac{1}{b_i - a_i} \sum_{u = a_i}^{b_i - 1} x_{u,c}, \qquad
        a_i = \lfloor i n / m \rfloor, \quad b_i = \lceil (i + 1) n / m \rceil

    for n pixels and m regions in each spatial dimension. Regions overlap unless m divides n.

    Args:
      x: `[..., *spatial, channels]`.
      size: m, one int for two spatial dimensions, or one int for each.

    Returns:
      `[..., *size, channels]`.

    Example:
      >>> adaptive_average_pool(jnp.arange(5.0).reshape(5, 1), size=(2,)).tolist()
      [[1.0], [3.0]]

    Reference: PyTorch's `adaptive_avg_pool1d` to `3d`, and Keras' `AdaptiveAveragePooling`.
    """
    check_floating(x)
    dims = len(size) if isinstance(size, Sequence) else 2
    sizes = each_dimension("size", size, dims)
    if x.ndim < dims + 1:
        raise ValueError(
            f"`x` must have {dims} spatial dimensions and channels, got shape {x.shape}"
        )
    first = x.ndim - 1 - dims
    if 0 in x.shape[first:-1]:
        raise ValueError(f"`x` must have at least one pixel, got shape {x.shape}")
    means = x.astype(wide(x))
    for axis, regions in enumerate(sizes, start=first):
        means = _mean_of_regions(means, axis, regions)
    return means.astype(x.dtype)


def _mean_of_regions(x: Array, axis: int, regions: int) -> Array:
    """Averages over the regions of one dimension."""
    pixels = x.shape[axis]
    starts = np.arange(regions) * pixels // regions
    counts = -(-np.arange(1, regions + 1) * pixels // regions) - starts
    reach = np.arange(counts.max())
    # Every region is read with the length of the longest; the excess is set to zero.
    indices = np.minimum(starts[:, None] + reach, pixels - 1)
    held = _along(reach < counts[:, None], axis, x.ndim + 1)
    sums = jnp.where(held, jnp.take(x, indices, axis=axis), 0).sum(axis + 1)
    return sums / _along(counts, axis, x.ndim).astype(x.dtype)


def _along(values: np.ndarray, axis: int, dimensions: int) -> np.ndarray:
    """Adds dimensions of size 1 so that the first dimension of `values` is `axis`."""
    after = dimensions - axis - values.ndim
    return values.reshape((1,) * axis + values.shape + (1,) * after)
