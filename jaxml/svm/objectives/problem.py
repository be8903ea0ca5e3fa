"""What every objective takes: costs of rows, labels as signs, an intercept; checked once here."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxml import errors
from jaxml.losses import _inputs as inputs
from jaxml.losses import _labels as labelling
from jaxml.svm.objectives.gram import Gram, LinearGram
from jaxml.types import Array, Bool, Float, Integer

T = TypeVar("T")
Scalar = float | Float[Array, ""]
Labels = Integer[Array, " rows"] | Bool[Array, " rows"]

# How the intercept is treated: left out of the penalty, part of it as in liblinear, or absent.
BIASES = ("free", "penalized", "none")


def row_costs(
    labels: Array | None,
    dtype: Any,
    *,
    rows: int,
    C: Scalar,
    sample_weight: Array | None,
    class_weight: Array | None = None,
    classes: int = 2,
) -> Array:
    """`[rows]`: C times the weights of the row and of its class."""
    check_scalar("C", C)
    costs = jnp.broadcast_to(jnp.asarray(C).astype(dtype), (rows,))
    if sample_weight is not None:
        check_weights("sample_weight", sample_weight, rows)
        costs *= sample_weight.astype(dtype)
    if class_weight is not None and labels is not None:
        check_weights("class_weight", class_weight, classes)
        costs *= class_weight.astype(dtype)[labels.astype(jnp.int32)]
    return costs


def signs_of(labels: Array, dtype: Any, rows: int) -> Array:
    """`[rows]`: -1 and 1 for labels of 0 and 1 or booleans."""
    labelling.check_hard("labels", labels)
    inputs.check_same_shape("labels", labels, (rows,), "rows")
    labelling.check_inside("labels", labels, None, 2)
    return 2 * labelling.binary_targets(labels, dtype) - 1


def products(gram: Gram, coefficients: Array, bias: str) -> Array:
    """`K c`, of the kernel plus one where the intercept is penalized."""
    values = gram @ coefficients
    return values + implied_intercept(coefficients, bias) if bias == "penalized" else values


def implied_intercept(coefficients: Array, bias: str) -> Array:
    """The penalized intercept is the weight of a feature of ones; without one it is 0."""
    total = coefficients.sum(axis=0, keepdims=coefficients.ndim > 1)
    return total if bias == "penalized" else jnp.zeros_like(total)


def ratio(values: Array, costs: Array) -> Array:
    """`values / costs`, and 0 for rows that cost nothing."""
    counted = costs > 0
    return jnp.where(counted, values / jnp.where(counted, costs, 1.0), 0.0)


def unbounded(costs: Array) -> Array:
    """The upper bound of dual variables of a squared loss: none, but 0 for rows without cost."""
    return jnp.where(costs > 0, jnp.inf, 0.0).astype(costs.dtype)


def check_scalar(name: str, value: Scalar, *, largest: float = math.inf) -> None:
    """Raises ValueError for a number that is known not to be above 0, or too large."""
    if isinstance(value, Tracer):
        return
    if not (0 < value <= largest and math.isfinite(value)):
        allowed = "a finite number above 0" if largest == math.inf else f"in (0, {largest:g}]"
        raise ValueError(f"{name}: {allowed}, not {value}")


def check_share(nu: Scalar, largest: Array) -> None:
    """Raises ValueError for a share that is known to be more than both classes can hold."""
    if isinstance(nu, Tracer) or isinstance(largest, Tracer):
        return
    if nu > largest * (1 + jnp.finfo(largest.dtype).eps * 8):
        limit = f"{float(largest):.6g}, twice the share of the smaller class"
        raise ValueError(f"nu: at most {limit}, not {nu}")


def check_epsilon(epsilon: Scalar) -> None:
    """Raises ValueError for a width that is known not to be 0 or more."""
    if not isinstance(epsilon, Tracer) and not (epsilon >= 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon: a finite number of 0 or more, not {epsilon}")


def check_weights(name: str, weights: Array, size: int) -> None:
    """Raises for weights that are not `size` finite numbers of 0 or more."""
    check_array(name, weights, (size,))
    if not isinstance(weights, Tracer) and np.asarray(weights).min(initial=0.0) < 0:
        raise ValueError(f"{name}: 0 or more, not {np.asarray(weights).min()}")


def check_array(name: str, x: Array, shape: tuple[int | str, ...]) -> None:
    """Raises for what is not floating point, of the shape, and finite where that is known.

    A string stands for any size.
    """
    inputs.check_real(name, x)
    fits = len(x.shape) == len(shape) and all(
        isinstance(wanted, str) or size == wanted
        for size, wanted in zip(x.shape, shape, strict=True)
    )
    if not fits:
        allowed = ", ".join(map(str, shape))
        raise ValueError(f"{name}: [{allowed}], not {x.shape}")
    check_finite(name, x)


def check_finite(name: str, x: Array) -> None:
    """Raises ValueError for NaN or infinity, where values are known."""
    if isinstance(x, Tracer):
        return
    with jax.ensure_compile_time_eval():  # what is known may be part of a larger trace
        finite = bool(jnp.isfinite(x).all())
    if not finite:
        raise ValueError(f"{name}: finite numbers, not NaN or infinity")


def check_dual(
    values: Array, gram: Gram, *, name: str = "alpha", columns: tuple[str, ...] = ()
) -> None:
    """Raises for dual variables and a Gram matrix that do not fit."""
    check_array(name, values, ("rows", *columns))
    rows = values.shape[0]
    if gram.shape != (rows, rows):
        raise ValueError(f"gram: [{rows}, {rows}] for {rows} rows of {name}, not {gram.shape}")
    check_certain(**{name: values, "gram": gram})
    entries = gram.x if isinstance(gram, LinearGram) else gram
    if isinstance(entries, Array):
        check_finite("gram", entries)


def check_certain(**arrays: Any) -> None:
    """Raises TypeError for what is not all float32 or all float64: a bound needs the digits."""
    dtypes = [array.dtype for array in arrays.values()]
    if len(set(dtypes)) > 1 or dtypes[0] not in (jnp.float32, jnp.float64):
        names = ", ".join(map(str, dtypes))
        raise TypeError(f"{', '.join(arrays)}: all float32 or all float64, not {names}")


def choose(name: str, value: str, table: Mapping[str, T]) -> T:
    """The entry of a table; ValueError for another name."""
    return errors.choose(table, value, name)


def check_bias(bias: str) -> None:
    """Raises ValueError for another treatment of the intercept."""
    choose("bias", bias, dict.fromkeys(BIASES))
