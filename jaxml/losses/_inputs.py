"""Checks and conversions of the inputs of losses, and a product in which 0 times infinity is 0."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.types import Array


def check_real(name: str, x: Array) -> None:
    """Raises TypeError for what is not floating point."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name}: floating point, not {x.dtype}")


def check_classes(logits: Array) -> None:
    """Raises for what has no classes as its last dimension."""
    check_real("logits", logits)
    if not logits.ndim or not logits.shape[-1]:
        raise ValueError(f"logits: [..., classes] with at least one class, not {logits.shape}")


def check_same_shape(name: str, x: Array, shape: tuple[int, ...], of: str) -> None:
    """Raises ValueError for another shape: nothing is broadcast."""
    if x.shape != shape:
        raise ValueError(f"{name}: shape {shape} as the {of}, not {x.shape}")


def check_mask(where: Array | None, shape: tuple[int, ...], name: str = "where") -> None:
    """Raises for a mask that is not one boolean an example."""
    if where is None:
        return
    if where.dtype != jnp.bool_:
        raise TypeError(f"{name}: booleans, not {where.dtype}")
    if where.shape != shape:
        raise ValueError(f"{name}: shape {shape}, one boolean an example, not {where.shape}")


def keep(x: Array, where: Array | None) -> Array:
    """Zeros for the examples that are masked.

    Inputs go through this as well as losses: the gradient of a masked NaN would be NaN.
    """
    if where is None:
        return x
    mask = where.reshape(where.shape + (1,) * (x.ndim - where.ndim))
    return jnp.where(mask, x, jnp.zeros_like(x))


def at_least_float32(*arrays: Array) -> list[Array]:
    """All in their common dtype, float32 at least."""
    dtypes: list[Any] = [x.dtype for x in arrays]
    dtype = functools.reduce(np.promote_types, dtypes, np.dtype(np.float32))
    return [x.astype(dtype) for x in arrays]


def weighted(factors: Array, losses: Array) -> Array:
    """Returns `factors * losses`, where a factor of 0 makes an infinite loss 0.

    Only the infinite losses are replaced, so that the gradient with respect to the factors stays
    as it is elsewhere.
    """
    return factors * jnp.where((factors == 0) & jnp.isinf(losses), 0.0, losses)


def focused(weights: Array, losses: Array) -> Array:
    """Returns the factors of a focal loss, as constants where the class is impossible.

    A cross-entropy above 800 belongs to a probability that is 0 in every precision, and so is the
    derivative of its factor. Its product with a loss that is infinite or almost so would be NaN.
    """
    return jnp.where(losses > 800, lax.stop_gradient(weights), weights)
