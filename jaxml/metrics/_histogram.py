"""Histograms of probabilities with bins of equal width."""

import jax
import jax.numpy as jnp

from jaxml.types import Array


def check_bins(bins: int) -> None:
    """Raises a ValueError unless there is at least one bin."""
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, got {bins}")


def bin_of(probabilities: Array, bins: int) -> Array:
    """Returns the bin of each probability.

    Bin b covers `(b / bins, (b + 1) / bins]`; values outside go to the first or the last bin.
    """
    number = jnp.ceil(probabilities.astype(jnp.float32) * bins).astype(jnp.int32) - 1
    return jnp.clip(number, 0, bins - 1)


def sum_by_bin(values: Array, numbers: Array, bins: int) -> Array:
    """Returns the sum of the values in each bin, in their dtype; booleans count as int32."""
    if values.dtype == jnp.bool_:
        values = values.astype(jnp.int32)
    return jax.ops.segment_sum(values.ravel(), numbers.ravel(), bins)
