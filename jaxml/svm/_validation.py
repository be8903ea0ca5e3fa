"""Checks of hyper-parameters and arrays; their errors name the argument, the rule and the value.

Values that are being traced are not checked.
"""

import math
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxml.errors import InputError, nearest
from jaxml.losses import _inputs as inputs
from jaxml.types import Array


def is_number(value: Any) -> bool:
    """Returns whether a value is a real number; booleans are not."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> None:
    """Raises `InputError` unless `value` is finite, > `above`, >= `least` and <= `most`."""
    if is_number(value) and math.isfinite(value) and above < value and least <= value <= most:
        return
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in ((">", above), (">=", least), ("<=", most))
        if math.isfinite(bound)
    ]
    rule = " ".join(["a finite number", " and ".join(bounds)]).rstrip()
    raise InputError(f"`{name}` must be {rule}, got {value!r}")


def check_integer(name: str, value: Any, least: int, *, rule: str = "") -> None:
    """Raises `InputError` unless `value` is an integer >= `least`; `rule` names more choices."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise InputError(f"`{name}` must be {rule or f'an int >= {least}'}, got {value!r}")


def check_num_classes(num_classes: int) -> None:
    """Raises `InputError` for fewer than two classes."""
    check_integer("num_classes", num_classes, 2)


def check_choice(name: str, value: Any, known: Collection[str]) -> None:
    """Raises `InputError` unless `value` is one of the known names."""
    if value not in known:
        raise InputError(
            f"`{name}` must be one of {', '.join(known)}, got {value!r}{nearest(str(value), known)}"
        )


def check_scalar(name: str, value: Any, rule: str, holds: Callable[[float], bool]) -> None:
    """Raises ValueError unless `value` is a finite scalar for which `holds` is true."""
    if jnp.shape(value):
        raise ValueError(
            f"`{name}` must be a scalar, got shape {jnp.shape(value)}; use jax.vmap for several"
        )
    if not isinstance(value, Tracer) and not (math.isfinite(value) and holds(float(value))):
        raise ValueError(f"`{name}` must be {rule}, got {value}")


def check_array(name: str, x: Any, shape: tuple[int | str, ...]) -> None:
    """Raises unless `x` is floating point, finite and of a shape; a string matches any size."""
    inputs.check_real(name, x)
    check_shape(name, x, shape)
    if isinstance(x, Tracer) or not isinstance(x, Array | np.ndarray):
        return
    with jax.ensure_compile_time_eval():  # a known array may be part of a larger trace
        finite = bool(jnp.isfinite(x).all())
    if not finite:
        raise ValueError(f"`{name}` must be finite, got NaN or infinity")


def check_shape(name: str, x: Any, shape: tuple[int | str, ...]) -> None:
    """Raises ValueError unless `x` has a shape; a string matches any size."""
    sizes = zip(x.shape, shape, strict=False)
    fits = all(isinstance(wanted, str) or size == wanted for size, wanted in sizes)
    if len(x.shape) != len(shape) or not fits:
        rule = str(shape).replace("'", "")
        raise ValueError(f"`{name}` must have shape {rule}, got {tuple(x.shape)}")


def check_weights(name: str, weights: Any, size: int | str) -> None:
    """Raises unless `weights` are `size` finite, non-negative numbers."""
    check_array(name, weights, (size,))
    if not isinstance(weights, Tracer) and np.asarray(weights).min(initial=0.0) < 0:
        raise ValueError(f"`{name}` must be non-negative, got {np.asarray(weights).min()}")


def check_labels(labels: Any, num_classes: int, *, booleans: bool = False) -> None:
    """Raises unless `labels` are one integer in [0, num_classes) a sample, or one boolean."""
    rule = f"integers in [0, {num_classes})" + (" or booleans" if booleans else "")
    boolean = labels.dtype == jnp.bool_
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or (booleans and boolean)):
        raise TypeError(f"`labels` must be {rule}, got {labels.dtype}")
    check_shape("labels", labels, ("samples",))
    if boolean or isinstance(labels, Tracer):
        return
    values = np.asarray(labels)
    outside = values[(values < 0) | (values >= num_classes)]
    if outside.size:
        raise ValueError(f"`labels` must be {rule}, got {outside[0]}")


def check_precision(**arrays: Any) -> None:
    """Raises TypeError unless all arrays are float32 or all float64."""
    dtypes = [array.dtype for array in arrays.values()]
    if len(set(dtypes)) > 1 or dtypes[0] not in (jnp.float32, jnp.float64):
        names = ", ".join(f"`{name}`" for name in arrays)
        got = ", ".join(map(str, dtypes))
        raise TypeError(f"{names} must be all float32 or all float64, got {got}")
