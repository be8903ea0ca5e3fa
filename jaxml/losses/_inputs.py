"""Argument checks and conversions shared by losses, metrics, predictions and SVM objectives."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.types import Array


def check_real(name: str, x: Any) -> None:
    """Raises a TypeError unless `x`, an array or anything with a `dtype`, is floating-point."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"`{name}` must be floating-point, got {x.dtype}")


def check_classes(logits: Array) -> None:
    """Raises unless the last dimension of the logits holds at least one class."""
    check_real("logits", logits)
    if not logits.ndim or not logits.shape[-1]:
        raise ValueError(
            f"`logits` must have shape [..., classes] with at least one class, got {logits.shape}"
        )


def check_same_shape(name: str, x: Array, shape: tuple[int, ...], of: str) -> None:
    """Raises a ValueError unless `x` has the shape of another argument."""
    if x.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape} to match the {of}, got {x.shape}")


def check_mask(where: Array | None, shape: tuple[int, ...]) -> None:
    """Raises unless a mask is None or has one boolean per example."""
    if where is None:
        return
    if where.dtype != jnp.bool_:
        raise TypeError(f"`where` must be boolean, got {where.dtype}")
    if where.shape != shape:
        raise ValueError(
            f"`where` must have shape {shape}, one boolean per example, got {where.shape}"
        )


def check_non_negative(name: str, value: float) -> None:
    """Raises a ValueError for a negative number or NaN."""
    if not value >= 0:
        raise ValueError(f"`{name}` must be non-negative, got {value}")


def keep(x: Array, where: Array | None) -> Array:
    """Replaces masked examples by zeros.

    Losses mask their inputs as well as their result, because the gradient of a masked NaN is NaN.
    """
    if where is None:
        return x
    mask = where.reshape(where.shape + (1,) * (x.ndim - where.ndim))
    return jnp.where(mask, x, jnp.zeros_like(x))


def at_least_float32(*arrays: Array) -> list[Array]:
    """Promotes arrays to their common dtype, at least float32."""
    dtypes: list[Any] = [x.dtype for x in arrays]
    dtype = functools.reduce(np.promote_types, dtypes, np.dtype(np.float32))
    return [x.astype(dtype) for x in arrays]


def weighted(factors: Array, losses: Array) -> Array:
    """Returns `factors * losses`, with 0 for a zero factor and an infinite loss.

    Only infinite losses are replaced, so the gradient with respect to the factors is unchanged
    elsewhere.
    """
    return factors * jnp.where((factors == 0) & jnp.isinf(losses), 0.0, losses)


def focused(factors: Array, losses: Array) -> Array:
    """Stops the gradient of focal factors where the probability of the class underflows.

    A cross-entropy above 800 corresponds to a probability of 0 in every precision. The derivative
    of its factor is 0 too, and its product with an infinite loss would be NaN.
    """
    return jnp.where(losses > 800, lax.stop_gradient(factors), factors)
