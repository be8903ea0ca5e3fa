"""Checks and conversions of images; the functions compute in float32 on the scale 0 to 255."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxml.types import Array, Key

LARGEST = 255.0


def check_images(images: Array, *, channels: tuple[int, ...] = ()) -> None:
    """Raises unless images are a uint8 or floating-point batch, with one of some channel counts."""
    if images.ndim != 4:
        raise ValueError(
            f"`images` must have shape [batch, height, width, channels], got {images.shape}"
        )
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"`images` must be uint8 or floating-point, got {images.dtype}")
    if channels and images.shape[-1] not in channels:
        allowed = " or ".join(map(str, channels))
        raise ValueError(f"`images` must have {allowed} channels, got {images.shape[-1]}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises a ValueError for a number outside `[low, high]`."""
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be in [{low}, {high}], got {value}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises a ValueError for a string that is not one of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}")


def to_float(images: Array) -> Array:
    """Converts images to float32."""
    return images.astype(jnp.float32)


def to_dtype(values: Array, dtype: Any, *, truncate: bool = False) -> Array:
    """Clips float32 values to 0 to 255; for uint8, rounds or truncates them."""
    values = jnp.clip(values, 0.0, LARGEST)
    if dtype == jnp.uint8:
        values = jnp.floor(values if truncate else values + 0.5)
    return values.astype(dtype)


def to_levels(values: Array, dtype: Any) -> Array:
    """Rounds float32 values if the images are uint8."""
    return jnp.floor(values + 0.5) if dtype == jnp.uint8 else values


def per_image(value: Any, images: Array) -> Array:
    """Returns a scalar, or one number per image, as float32 `[batch, 1, 1, 1]`."""
    values = jnp.asarray(value, jnp.float32)
    return jnp.broadcast_to(values, images.shape[:1])[:, None, None, None]


def blend(images: Array, other: Array | float, factor: Any) -> Array:
    """Returns `other + factor (images - other)`."""
    check_images(images)
    values = other + per_image(factor, images) * (to_float(images) - other)
    return to_dtype(values, images.dtype, truncate=True)


def choose(key: Key, images: Array, probability: float) -> Array:
    """Chooses each image with a probability; returns booleans `[batch, 1, 1, 1]`."""
    check_range("probability", probability, 0, 1)
    return jax.random.bernoulli(key, float(probability), (images.shape[0], 1, 1, 1))


def dirichlet(key: Key, alpha: float, shape: tuple[int, ...]) -> Array:
    """Draws weights that sum to 1 over the last axis, from a symmetric Dirichlet distribution."""
    if alpha == 1:  # normalized exponentials compile several times faster
        exponentials = jax.random.exponential(key, shape, jnp.float32)
        return exponentials / jnp.sum(exponentials, axis=-1, keepdims=True)
    alphas = jnp.full(shape[-1], alpha, jnp.float32)
    return jax.random.dirichlet(key, alphas, shape[:-1], jnp.float32)


def uniform(key: Key, images: Array, low: float, high: float) -> Array:
    """Draws a number in `[low, high)` for each image."""
    return jax.random.uniform(key, images.shape[:1], jnp.float32, low, high)
