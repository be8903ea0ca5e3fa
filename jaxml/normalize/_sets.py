"""Checks and conversions of sets and fitted statistics."""

import jax.numpy as jnp
import numpy as np

from jaxml.types import Array


def check_set(x: np.ndarray, *, least: int = 1) -> None:
    """Raises unless a normalizer can be fitted on x."""
    integers = x.dtype in (np.uint8, np.uint16)
    if not integers and not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"`x` must be uint8, uint16 or floating-point, got {x.dtype}")
    if integers and x.ndim != 4:
        raise ValueError(
            f"`x` of dtype {x.dtype} must be [n, height, width, channels], got shape {x.shape}"
        )
    if x.ndim < 2:
        raise ValueError(f"`x` must be [n, ..., channels], got shape {x.shape}")
    if len(x) < least or not x.size:
        raise ValueError(
            f"`x` must have at least {least} examples and no empty dimension, got shape {x.shape}"
        )
    if not integers and not np.isfinite(x).all():
        raise ValueError("`x` must be finite, got NaN or infinity")


def pixels(x: np.ndarray) -> np.ndarray:
    """Applies `to_unit_interval` on the host, in float64."""
    scale = np.iinfo(x.dtype).max if jnp.issubdtype(x.dtype, jnp.integer) else 1
    return np.asarray(x).astype(np.float64) / scale


def widen(x: Array, *fitted: Array) -> list[Array]:
    """Converts all arrays to the dtype of x, or to float32 if that is wider."""
    dtype = np.promote_types(x.dtype, np.float32)
    return [value.astype(dtype) for value in (x, *fitted)]


def broadcast(value: Array, x: Array) -> Array:
    """Broadcasts one value for each entry of the last dimension to the shape of x."""
    return jnp.broadcast_to(value, x.shape)
