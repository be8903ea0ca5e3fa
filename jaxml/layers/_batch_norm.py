"""Batch normalization by given statistics."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxml.layers._dtypes import check_floating
from jaxml.layers._moments import broadcast
from jaxml.types import Array, Float


def batch_normalization(
    x: Float[Array, "*shape"],
    mean: Float[Array, "..."],
    variance: Float[Array, "..."],
    offset: Float[Array, "..."] | None,
    scale: Float[Array, "..."] | None,
    variance_epsilon: float,
) -> Float[Array, "*shape"]:
    r"""Normalizes by given statistics, with the arguments of `tf.nn.batch_normalization`.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    All arrays after x are `[channels]`, or have as many dimensions as x, each of size 1 or the size
    of x, as `moments(..., keepdims=True)` returns them.

    Args:
      x: `[..., channels]`.
      mean: mu.
      variance: sigma squared, non-negative.
      offset: beta, or None for 0.
      scale: gamma, or None for 1.
      variance_epsilon: positive constant added to the variance. `tf.nn` also accepts 0, which gives
        NaN where a variance is 0.

    Returns:
      An array of the shape and dtype of x, NaN where the variance overflowed to infinity.

    Example:
      >>> from jaxml.layers import moments
      >>> x = jnp.array([[1.0], [3.0]])
      >>> mean, variance = moments(x, axes=[0])
      >>> batch_normalization(x, mean, variance, None, None, 1e-5).round(3).tolist()
      [[-1.0], [1.0]]

    Reference: Ioffe, Szegedy, "Batch Normalization", 2015, algorithm 1. PyTorch's `batch_norm`
    takes `weight` before `bias`, and computes the statistics of the batch.
    """
    if not isinstance(variance_epsilon, Tracer) and not variance_epsilon > 0:
        raise ValueError(f"`variance_epsilon` must be positive, got {variance_epsilon}")
    check_floating(x)
    dtype = np.promote_types(np.promote_types(x.dtype, mean.dtype), np.float32)

    def align(name: str, value: Array) -> Array:
        if value.shape == x.shape[-1:]:
            value = value.reshape((1,) * (x.ndim - 1) + value.shape)
        pairs = zip(value.shape, x.shape, strict=False)
        if value.ndim != x.ndim or not all(size in (1, full) for size, full in pairs):
            raise ValueError(
                f"`{name}` must have shape {x.shape[-1:]}, or {x.ndim} sizes that are 1 or "
                f"those of x of shape {x.shape}, got {value.shape}"
            )
        return value.astype(dtype)

    mean, variance = align("mean", mean), align("variance", variance)
    # The reciprocal of infinity would turn activations that overflowed into zeros.
    variance = jnp.where(jnp.isinf(variance), jnp.nan, variance)
    multiplier = lax.rsqrt(variance + jnp.asarray(variance_epsilon, dtype))
    if scale is not None:
        multiplier = multiplier * align("scale", scale)
    # Subtract the mean first: x * multiplier - mean * multiplier cancels where the mean is large.
    # The subtracted mean is a constant. Its gradient flows through the addend, whose first term is
    # 0, so the backward pass sums over dy and dy * (x - mean) only.
    shift = lax.stop_gradient(mean)
    addend = (shift - mean) * multiplier
    if offset is not None:
        addend = addend + align("offset", offset)
    shift, multiplier, addend = (broadcast(one, x.shape) for one in (shift, multiplier, addend))
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
    """Applies `batch_normalization`, and ignores the scale unless `scale_after_normalization`.

    The scale is redundant if a linear layer follows. The other arguments are those of
    `batch_normalization`.

    Example:
      >>> x, one = jnp.array([[1.0], [3.0]]), jnp.ones(1)
      >>> y = batch_norm_with_global_normalization(x, 2 * one, one, one, 5 * one, 1e-5, False)
      >>> y.round(3).tolist()
      [[0.0], [2.0]]

    Reference: `tf.nn.batch_norm_with_global_normalization`, which names its arguments t (or input),
    m, v, beta and gamma, and requires four dimensions.
    """
    scale = scale if scale_after_normalization else None
    return batch_normalization(x, mean, variance, offset, scale, variance_epsilon)
