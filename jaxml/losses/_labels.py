"""Checks and conversions of labels: concrete values are checked, traced ones poison with NaN."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import core

from jaxml.losses import _inputs as inputs
from jaxml.types import Array


def check_inside(name: str, labels: Array, where: Array | None, classes: int) -> None:
    """Raises a ValueError for concrete integer labels outside `[0, classes)`, unless masked."""
    if isinstance(labels, core.Tracer) or isinstance(where, core.Tracer):
        return
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return
    values = np.asarray(labels) if where is None else np.asarray(labels)[np.asarray(where)]
    outside = values[(values < 0) | (values >= classes)]
    if outside.size:
        raise ValueError(f"`{name}` must be integers in [0, {classes}), got {outside[0]}")


def check_hard(name: str, labels: Array) -> None:
    """Raises a TypeError unless labels are integers or booleans."""
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_):
        raise TypeError(f"`{name}` must be integers 0 and 1, or booleans, got {labels.dtype}")


def check_classes(logits: Array, labels: Array, where: Array | None, *, soft: bool) -> None:
    """Raises unless labels are one class per example or, if `soft`, one number per class."""
    inputs.check_classes(logits)
    inputs.check_mask(where, logits.shape[:-1])
    if soft and labels.shape == logits.shape:
        return
    integer = jnp.issubdtype(labels.dtype, jnp.integer)
    if not integer and (not soft or labels.ndim < logits.ndim):
        raise TypeError(f"`labels` must be integers in [0, {logits.shape[-1]}), got {labels.dtype}")
    if labels.shape != logits.shape[:-1]:
        allowed = f"{logits.shape[:-1]} or {logits.shape}" if soft else f"{logits.shape[:-1]}"
        raise ValueError(
            f"`labels` must have shape {allowed} for `logits` of shape {logits.shape}, "
            f"got {labels.shape}"
        )
    check_inside("labels", labels, where, logits.shape[-1])


def check_smoothing(label_smoothing: float) -> None:
    """Raises a ValueError for a smoothing outside `[0, 1)`."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}")


def check_weights(class_weights: Array | None, classes: int) -> None:
    """Raises unless weights are None or one non-negative number per class."""
    if class_weights is None:
        return
    inputs.check_real("class_weights", class_weights)
    if class_weights.shape != (classes,):
        raise ValueError(f"`class_weights` must have shape ({classes},), got {class_weights.shape}")
    if not isinstance(class_weights, core.Tracer):
        inputs.check_non_negative("class_weights", float(np.asarray(class_weights).min()))


def prepare_binary(
    logits: Array, labels: Array, where: Array | None, *, soft: bool
) -> tuple[Array, Array]:
    """Checks, masks and promotes logits and binary labels.

    Returns:
      The logits, and the labels as probabilities of class 1.
    """
    inputs.check_real("logits", logits)
    if not soft:
        check_hard("labels", labels)
    inputs.check_same_shape("labels", labels, logits.shape, "logits")
    inputs.check_mask(where, logits.shape)
    check_inside("labels", labels, where, 2)
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    return logits, binary_targets(inputs.keep(labels, where), logits.dtype)


def prepare_classes(
    logits: Array,
    labels: Array,
    label_smoothing: float,
    class_weights: Array | None,
    where: Array | None,
) -> tuple[Array, Array]:
    """Checks, masks and promotes logits and hard or soft labels of several classes."""
    check_classes(logits, labels, where, soft=True)
    check_smoothing(label_smoothing)
    check_weights(class_weights, logits.shape[-1])
    (logits,) = inputs.at_least_float32(inputs.keep(logits, where))
    labels = inputs.keep(labels, where)
    return poison(logits, labels), labels


def binary_targets(labels: Array, dtype: Any) -> Array:
    """Returns labels as probabilities of class 1, with NaN for integers other than 0 and 1."""
    targets = labels.astype(dtype)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return targets
    return jnp.where((labels == 0) | (labels == 1), targets, jnp.nan)


def class_targets(labels: Array, logits: Array) -> Array:
    """Returns labels as `[..., classes]` probabilities: integers one-hot, soft labels unchanged."""
    if labels.ndim == logits.ndim:
        return labels.astype(logits.dtype)
    classes = logits.shape[-1]
    return nan_outside(is_label(labels, classes).astype(logits.dtype), labels, classes)


def smoothed_and_weighted(
    targets: Array, label_smoothing: float, class_weights: Array | None
) -> Array:
    """Returns the factor of each class's log-probability."""
    targets = optax.losses.smooth_labels(targets, label_smoothing)
    if class_weights is None:
        return targets
    return targets * jnp.broadcast_to(class_weights.astype(targets.dtype), targets.shape)


def nan_outside(values: Array, labels: Array, classes: int) -> Array:
    """Replaces values by NaN where integer labels are out of range; their gradient is 0."""
    return jnp.where(_inside(labels, classes, values.ndim), values, jnp.nan)


def poison(logits: Array, labels: Array) -> Array:
    """Poisons logits and their gradients with NaN where integer labels are out of range."""
    if labels.ndim == logits.ndim:
        return logits
    inside = _inside(labels, logits.shape[-1], logits.ndim)
    return logits * jnp.where(inside, 1.0, jnp.nan).astype(logits.dtype)


def is_label(labels: Array, classes: int) -> Array:
    """Returns `[..., classes]` booleans that are True at the label."""
    return jax.nn.one_hot(_at_least_32_bits(labels), classes, dtype=bool)


def _inside(labels: Array, classes: int, ndim: int) -> Array:
    """Returns whether each label is in range, with trailing dimensions of size 1."""
    labels = _at_least_32_bits(labels)
    inside = (labels >= 0) & (labels < classes)
    return inside.reshape(inside.shape + (1,) * (ndim - inside.ndim))


def _at_least_32_bits(labels: Array) -> Array:
    """Widens labels so that they can be compared with the number of classes."""
    return labels if labels.dtype.itemsize >= 4 else labels.astype(jnp.int32)
