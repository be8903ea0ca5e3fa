"""Sums of examples by probability."""

import jax
import jax.numpy as jnp

from jaxml.types import Array


def check_bins(bins: int) -> None:
    """Raises ValueError for none."""
    if bins < 1:
        raise ValueError(f"bins: at least 1, not {bins}")


def bin_of(probabilities: Array, bins: int) -> Array:
    """The bin of each: `b` for `(b / bins, (b + 1) / bins]`, the ends for what is outside."""
    number = jnp.ceil(probabilities.astype(jnp.float32) * bins).astype(jnp.int32) - 1
    return jnp.clip(number, 0, bins - 1)


def sum_by_bin(values: Array, numbers: Array, bins: int) -> Array:
    """`[bins]`: the sum of the values of each bin, in their dtype; True counts 1."""
    if values.dtype == jnp.bool_:
        values = values.astype(jnp.int32)
    return jax.ops.segment_sum(values.ravel(), numbers.ravel(), bins)
