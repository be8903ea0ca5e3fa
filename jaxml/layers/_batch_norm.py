"""Normalisation by given statistics."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxml.types import Array, Float


def batch_normalization(
    x: Float[Array, "*shape"],
    mean: Float[Array, "..."],
    variance: Float[Array, "..."],
    offset: Float[Array, "..."] | None,
    scale: Float[Array, "..."] | None,
    variance_epsilon: float,
) -> Float[Array, "*shape"]:
    r"""Normalises by given statistics.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    The statistics have either one value a channel, or as many dimensions as x, each of size 1 or
    that of x, as `moments(..., keepdims=True)` returns them.

    Args:
      x: `[..., channels]`, floating point.
      mean: `[channels]`, or as many dimensions as x.
      variance: likewise, not negative.
      offset: beta, likewise, or None for 0.
      scale: gamma, likewise, or None for 1.
      variance_epsilon: added to the variance, greater than 0; `tf.nn` takes 0 too, which gives NaN
        where a variance is 0.

    Returns:
      The shape and dtype of x; computed in float32 at least. NaN where the variance is infinite,
      which is one that overflowed.

    Raises:
      ValueError: statistics of another shape, or an epsilon of 0 or less.
      TypeError: x is not floating point.

    Example:
      >>> from jaxml.layers import moments
      >>> x = jnp.array([[1.0], [3.0]])
      >>> mean, variance = moments(x, axes=[0])
      >>> batch_normalization(x, mean, variance, None, None, 1e-5).round(3).tolist()
      [[-1.0], [1.0]]

    Source: the argument order and meaning of `tf.nn.batch_normalization`; Ioffe, Szegedy, "Batch
    Normalization", 2015, algorithm 1. PyTorch's `batch_norm` has `weight` and `bias`, in this
    order, and takes the statistics of the batch itself.
    """
    if not isinstance(variance_epsilon, Tracer) and not variance_epsilon > 0:
        raise ValueError(f"variance_epsilon: above 0, not {variance_epsilon}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating point, not {x.dtype}")
    dtype = np.promote_types(np.promote_types(x.dtype, mean.dtype), np.float32)

    def spread(name: str, value: Array) -> Array:
        if value.shape == x.shape[-1:]:
            value = value.reshape((1,) * (x.ndim - 1) + value.shape)
        pairs = zip(value.shape, x.shape, strict=False)
        if value.ndim != x.ndim or not all(size in (1, full) for size, full in pairs):
            raise ValueError(
                f"{name}: shape {x.shape[-1:]}, or {x.ndim} sizes that are 1 or those of "
                f"x {x.shape}, not {value.shape}"
            )
        return value.astype(dtype)

    mean, variance = spread("mean", mean), spread("variance", variance)
    # The reciprocal of infinity would make zeros of activations that have overflowed.
    variance = jnp.where(jnp.isinf(variance), jnp.nan, variance)
    multiplier = lax.rsqrt(variance + jnp.asarray(variance_epsilon, dtype))
    if scale is not None:
        multiplier = multiplier * spread("scale", scale)
    # x - mean comes first, for x * multiplier - mean * multiplier would cancel where the mean is
    # large. The mean is held constant there and its gradient flows through the addend, whose second
    # term is 0: so the backward computation sums over dy and dy * (x - mean), and nothing else.
    shift = lax.stop_gradient(mean)
    addend = (shift - mean) * multiplier
    if offset is not None:
        addend = addend + spread("offset", offset)
    return ((x.astype(dtype) - shift) * multiplier + addend).astype(x.dtype)


def batch_norm_with_global_normalization(
    x: Float[Array, "*shape"],
    mean: Float[Array, "..."],
    variance: Float[Array, "..."],
    offset: Float[Array, "..."] | None,
    scale: Float[Array, "..."] | None,
    variance_epsilon: float,
    scale_after_normalization: bool,
) -> Float[Array, "*shape"]:
    r"""`batch_normalization` with a switch that leaves the scale out.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
              \quad\text{or}\quad y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Args:
      x: as in `batch_normalization`, and so are the five after it.
      mean: mu.
      variance: sigma squared.
      offset: beta.
      scale: gamma; ignored where the switch is off.
      variance_epsilon: greater than 0.
      scale_after_normalization: whether gamma multiplies, as it should where no linear layer
        follows that could scale instead.

    Returns:
      The shape and dtype of x.

    Raises:
      ValueError: statistics of another shape, or an epsilon of 0 or less.
      TypeError: x is not floating point.

    Example:
      >>> x, one = jnp.array([[1.0], [3.0]]), jnp.ones(1)
      >>> y = batch_norm_with_global_normalization(x, 2 * one, one, one, 5 * one, 1e-5, False)
      >>> y.round(3).tolist()
      [[0.0], [2.0]]

    Source: the argument order and meaning of `tf.nn.batch_norm_with_global_normalization`, whose
    names are t (or input), m, v, beta and gamma, and which takes four dimensions only.
    """
    scale = scale if scale_after_normalization else None
    return batch_normalization(x, mean, variance, offset, scale, variance_epsilon)
