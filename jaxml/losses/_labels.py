"""What labels have to be: checked where their values are known, NaN in what is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import core

from jaxml.losses import _inputs as inputs
from jaxml.types import Array


def check_inside(name: str, labels: Array, where: Array | None, classes: int) -> None:
    """Raises ValueError for an integer under the mask outside `[0, classes)`, if it is known."""
    if isinstance(labels, core.Tracer) or isinstance(where, core.Tracer):
        return
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return
    values = np.asarray(labels) if where is None else np.asarray(labels)[np.asarray(where)]
    outside = values[(values < 0) | (values >= classes)]
    if outside.size:
        raise ValueError(f"{name}: integers in [0, {classes}), not {outside[0]}")


def check_hard(name: str, labels: Array) -> None:
    """Raises TypeError for what is not integers or booleans."""
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_):
        raise TypeError(f"{name}: integers 0 and 1, or booleans, not {labels.dtype}")


def check_binary(logits: Array, labels: Array, where: Array | None, *, soft: bool) -> None:
    """Raises for labels that are not one 0, 1 or boolean a logit; real ones may be soft."""
    inputs.check_real("logits", logits)
    if not soft:
        check_hard("labels", labels)
    inputs.check_same_shape("labels", labels, logits.shape, "logits")
    inputs.check_mask(where, logits.shape)
    check_inside("labels", labels, where, 2)


def binary_shares(labels: Array, dtype: Any) -> Array:
    """The share of class 1: 0 or 1, soft labels as they are, NaN for an integer outside {0, 1}."""
    shares = labels.astype(dtype)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return shares
    return jnp.where((labels == 0) | (labels == 1), shares, jnp.nan)


def check_classes(logits: Array, labels: Array, where: Array | None, *, shares: bool) -> None:
    """Raises for labels that are not one class an example; shares are one number a class."""
    inputs.check_classes(logits)
    inputs.check_mask(where, logits.shape[:-1])
    if shares and labels.shape == logits.shape:
        return
    integer = jnp.issubdtype(labels.dtype, jnp.integer)
    if not integer and (not shares or labels.ndim < logits.ndim):
        raise TypeError(f"labels: integers in [0, {logits.shape[-1]}), not {labels.dtype}")
    if labels.shape != logits.shape[:-1]:
        allowed = f"{logits.shape[:-1]} or {logits.shape}" if shares else f"{logits.shape[:-1]}"
        raise ValueError(f"labels: shape {allowed} for logits {logits.shape}, not {labels.shape}")
    check_inside("labels", labels, where, logits.shape[-1])


def nan_outside(values: Array, labels: Array, classes: int) -> Array:
    """NaN for integer labels outside `[0, classes)`; the gradient is 0 there (see `spoil`)."""
    return jnp.where(_inside(labels, classes, values.ndim), values, jnp.nan)


def spoil(logits: Array, labels: Array) -> Array:
    """Logits of NaN, and with gradients of NaN, for integer labels outside of the classes."""
    if labels.ndim == logits.ndim:
        return logits
    inside = _inside(labels, logits.shape[-1], logits.ndim)
    return logits * jnp.where(inside, 1.0, jnp.nan).astype(logits.dtype)


def is_label(labels: Array, classes: int) -> Array:
    """`[..., classes]` booleans."""
    return jax.nn.one_hot(_wide(labels), classes, dtype=bool)


def class_shares(labels: Array, logits: Array) -> Array:
    """Labels as the share of each class: integers one-hot, shares as they are."""
    if labels.ndim == logits.ndim:
        return labels.astype(logits.dtype)
    classes = logits.shape[-1]
    return nan_outside(is_label(labels, classes).astype(logits.dtype), labels, classes)


def smoothed_and_weighted(
    shares: Array, label_smoothing: float, class_weights: Array | None
) -> Array:
    """What each class's log-probability is multiplied with."""
    shares = optax.losses.smooth_labels(shares, label_smoothing)
    if class_weights is None:
        return shares
    return shares * jnp.broadcast_to(class_weights.astype(shares.dtype), shares.shape)


def check_smoothing(label_smoothing: float) -> None:
    """Raises ValueError outside of [0, 1)."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing: in [0, 1), not {label_smoothing}")


def check_weights(class_weights: Array | None, classes: int) -> None:
    """Raises for weights that are not one number of 0 or more a class."""
    if class_weights is None:
        return
    inputs.check_real("class_weights", class_weights)
    if class_weights.shape != (classes,):
        raise ValueError(f"class_weights: shape ({classes},), not {class_weights.shape}")
    if isinstance(class_weights, core.Tracer):
        return
    if not (np.asarray(class_weights) >= 0).all():
        raise ValueError(f"class_weights: 0 or more, not {np.asarray(class_weights).min()}")


def _inside(labels: Array, classes: int, ndim: int) -> Array:
    """Booleans with dimensions of 1 at their end."""
    inside = (_wide(labels) >= 0) & (_wide(labels) < classes)
    return inside.reshape(inside.shape + (1,) * (ndim - inside.ndim))


def _wide(labels: Array) -> Array:
    """Wide enough for the number of classes, which an int8 may not hold."""
    return labels if labels.dtype.itemsize >= 4 else labels.astype(jnp.int32)
