"""Checks and choices of dtypes."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml.types import Array


def check_floating(x: Array, name: str = "x") -> None:
    """Raises `TypeError` unless an array is floating-point."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"`{name}` must be floating-point, got {x.dtype}")


def check_one_dtype(x: Array, kernel: Array, bias: Array | None) -> None:
    """Raises `TypeError` unless the arrays of a layer have one floating-point dtype."""
    dtypes = [jnp.result_type(array) for array in (x, kernel, bias) if array is not None]
    if not jnp.issubdtype(dtypes[0], jnp.floating) or len(set(dtypes)) > 1:
        names = "`x` and `kernel`" if bias is None else "`x`, `kernel` and `bias`"
        got = ", ".join(map(str, dtypes))
        raise TypeError(f"{names} must have one floating-point dtype, got {got}")


def wide(x: Array) -> Any:
    """Returns the dtype of x, or float32 if that is wider."""
    return np.promote_types(x.dtype, np.float32)
