"""Batch normalisation: the statistics, the normalisation and the running averages, each apart."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.types import Array


def moments(x: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    r"""Mean and biased variance over some axes.

    .. math:: \mu = \frac1N \sum x, \qquad \sigma^2 = \frac1N \sum (x - \mu)^2

    Both come from one pass over x, around the first s of the values that are averaged:

    .. math:: \mu = s + E(x - s), \qquad \sigma^2 = E(x - s)^2 - (\mu - s)^2

    So the variance keeps its digits where the mean is large against the deviation, which the
    difference of the mean square and the squared mean does not. At worst, where s alone is far from
    all N values, the relative error is N roundings.

    Args:
      x: any shape and floating dtype.
      axes: the axes that are summed over, at least one.

    Returns:
      Mean and variance without those axes, in float32 at least.

    Raises:
      ValueError: no axes, or one that x does not have.

    Example:
      >>> mean, variance = moments(jnp.array([[1.0, 2.0], [3.0, 6.0]]), axes=[0])
      >>> mean.tolist(), variance.tolist()
      ([2.0, 4.0], [1.0, 4.0])

    Source: the meaning of `tf.nn.moments`.
    """
    if not axes or not all(-x.ndim <= axis < x.ndim for axis in axes):
        raise ValueError(f"axes: one or more of {-x.ndim} to {x.ndim - 1}, not {tuple(axes)}")
    axes = tuple(axis % x.ndim for axis in axes)
    x = x.astype(np.promote_types(x.dtype, np.float32))
    first = x[tuple(slice(1) if axis in axes else slice(None) for axis in range(x.ndim))]
    # The result is the same for any shift, so no gradient flows through it. Around the mean the
    # variance would need x a second time.
    shift = lax.stop_gradient(first)
    centred = x - shift
    mean = jnp.mean(centred, axis=axes)
    variance = jnp.mean(jnp.square(centred), axis=axes) - jnp.square(mean)
    return mean + jnp.squeeze(shift, axes), jnp.maximum(variance, jnp.zeros_like(variance))


def batch_normalization(
    x: Array,
    mean: Array,
    variance: Array,
    offset: Array | None,
    scale: Array | None,
    variance_epsilon: float,
) -> Array:
    r"""Normalises by given statistics.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Args:
      x: `[..., channels]`, floating point.
      mean: `[channels]`.
      variance: `[channels]`, not negative.
      offset: beta, `[channels]`, or None for 0.
      scale: gamma, `[channels]`, or None for 1.
      variance_epsilon: added to the variance, greater than 0.

    Returns:
      The shape and dtype of x; computed in the dtype of the statistics.

    Raises:
      ValueError: statistics that do not have one value a channel.

    Example:
      >>> x = jnp.array([[1.0], [3.0]])
      >>> mean, variance = moments(x, axes=[0])
      >>> batch_normalization(x, mean, variance, None, None, 1e-5).round(3).tolist()
      [[-1.0], [1.0]]

    Source: the argument order and meaning of `tf.nn.batch_normalization`; Ioffe, Szegedy, "Batch
    Normalization", 2015, algorithm 1.
    """
    channels = x.shape[-1:]
    given = {"mean": mean, "variance": variance, "offset": offset, "scale": scale}
    for name, value in given.items():
        if value is not None and value.shape != channels:
            raise ValueError(f"{name}: shape {channels} for x {x.shape}, not {value.shape}")
    multiplier = lax.rsqrt(variance + jnp.asarray(variance_epsilon, variance.dtype))
    if scale is not None:
        multiplier = multiplier * scale
    spread = (1,) * (x.ndim - 1) + channels
    # x - mean comes first, for x * multiplier - mean * multiplier would cancel where the mean is
    # large. The mean is held constant there and its gradient flows through the addend, whose second
    # term is 0: so the backward computation sums over dy and dy * (x - mean), and nothing else.
    shift = lax.stop_gradient(mean)
    addend = (shift - mean) * multiplier
    if offset is not None:
        addend = addend + offset
    y = (x.astype(mean.dtype) - shift.reshape(spread)) * multiplier.reshape(spread)
    return (y + addend.reshape(spread)).astype(x.dtype)


def update_running_average(average: Array, value: Array, *, momentum: float) -> Array:
    r"""One step of an exponential running average.

    .. math:: a \leftarrow m a + (1 - m) v

    Args:
      average: the average so far.
      value: the new value, of the same shape.
      momentum: m in [0, 1], the weight of the past: Keras' and Flax's meaning. PyTorch calls 1 - m
        the momentum, and averages the unbiased variance where Keras, Flax and this project average
        the biased one.

    Returns:
      The new average, in the dtype of the old.

    Example:
      >>> float(update_running_average(jnp.array(1.0), jnp.array(2.0), momentum=0.75))
      1.25
    """
    return average * momentum + value.astype(average.dtype) * (1 - momentum)
