"""Pooling to a given size."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxml.layers._padding import each_dimension
from jaxml.types import Array, Float


def adaptive_average_pool(
    x: Float[Array, "*shape"], *, size: int | Sequence[int]
) -> Float[Array, "*pooled"]:
    r"""The means of a grid of so many regions, whatever the size of the image.

    .. math::
        y_{i,c} = \frac{1}{b_i - a_i} \sum_{u = a_i}^{b_i - 1} x_{u,c}, \qquad
        a_i = \lfloor i n / m \rfloor, \quad b_i = \lceil (i + 1) n / m \rceil

    for n pixels and m regions, in each spatial dimension. Regions overlap where m is no divisor of
    n, and pixels are repeated where m is larger.

    Args:
      x: `[..., *spatial, channels]`.
      size: m: an int for two spatial dimensions, or one int for each.

    Returns:
      `[..., *size, channels]` in x's dtype, summed in float32 at least.

    Raises:
      TypeError: x is not floating point, or a size is no int.
      ValueError: fewer dimensions than the spatial and the channels, no pixel, a size below 1.

    Example:
      >>> adaptive_average_pool(jnp.arange(5.0).reshape(5, 1), size=(2,)).tolist()
      [[1.0], [3.0]]

    Source: PyTorch's adaptive_avg_pool1d to 3d. Keras' AdaptiveAveragePooling has the same regions.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating point, not {x.dtype}")
    dims = len(size) if isinstance(size, Sequence) else 2
    sizes = each_dimension("size", size, dims)
    if x.ndim < dims + 1:
        raise ValueError(f"x: {dims} spatial dimensions and channels, not shape {x.shape}")
    first = x.ndim - 1 - dims
    if 0 in x.shape[first:-1]:
        raise ValueError(f"x: at least one pixel, not shape {x.shape}")
    means = x.astype(np.promote_types(x.dtype, np.float32))
    for axis, regions in enumerate(sizes, start=first):
        means = _mean_of_regions(means, axis, regions)
    return means.astype(x.dtype)


def _mean_of_regions(x: Array, axis: int, regions: int) -> Array:
    """The mean of each region of one dimension."""
    pixels = x.shape[axis]
    starts = np.arange(regions) * pixels // regions
    counts = -(-np.arange(1, regions + 1) * pixels // regions) - starts
    reach = np.arange(counts.max())
    # All regions are read as if they were as long as the longest; what is too much is set to zero.
    indices = np.minimum(starts[:, None] + reach, pixels - 1)
    held = _along(reach < counts[:, None], axis, x.ndim + 1)
    sums = jnp.where(held, jnp.take(x, indices, axis=axis), 0).sum(axis + 1)
    return sums / _along(counts, axis, x.ndim).astype(x.dtype)


def _along(values: np.ndarray, axis: int, dimensions: int) -> np.ndarray:
    """With dimensions of size 1 around, so that the first of `values` is `axis`."""
    after = dimensions - axis - values.ndim
    return values.reshape((1,) * axis + values.shape + (1,) * after)
