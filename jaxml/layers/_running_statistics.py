"""Running averages of batch statistics, in the conventions of Keras and PyTorch."""

import jax.numpy as jnp

from jaxml.layers._dtypes import wide
from jaxml.types import Array, Float, Num

Moments = tuple[Float[Array, "*shape"], Float[Array, "*shape"]]


def update_running_average(
    average: Float[Array, "*shape"],
    value: Float[Array, "*shape"],
    *,
    momentum: float | Float[Array, ""],
) -> Float[Array, "*shape"]:
    r"""Updates an exponential moving average.

    .. math:: a \leftarrow m a + (1 - m) v

    Args:
      average: the previous average.
      value: the new value, of the same shape.
      momentum: m in [0, 1], the weight of the previous average, as in Keras and Flax. PyTorch's
        momentum is one minus this.

    Returns:
      The new average, in the dtype of the previous one.

    Example:
      >>> float(update_running_average(jnp.array(1.0), jnp.array(2.0), momentum=0.75))
      1.25
    """
    _check(momentum)
    if value.shape != average.shape:
        raise ValueError(
            f"`value` must have the shape {average.shape} of the average, got {value.shape}"
        )
    dtype = wide(average)
    old, new = (jnp.asarray(weight, dtype) for weight in (momentum, 1 - momentum))
    return (old * average.astype(dtype) + new * value.astype(dtype)).astype(average.dtype)


def running_statistics_keras(
    running: Moments, batch: Moments, *, momentum: float | Float[Array, ""]
) -> Moments:
    r"""Updates the running mean and variance in the convention of Keras and Flax.

    .. math:: \mu \leftarrow m \mu + (1 - m) \mu_B, \qquad
              \sigma^2 \leftarrow m \sigma^2 + (1 - m) \sigma_B^2

    Args:
      running: running mean and variance, each `[channels]`.
      batch: mean and biased variance of the batch, as `moments` returns them.
      momentum: m in [0, 1], the weight of the previous average; Keras' default is 0.99.

    Returns:
      The new mean and variance, in the dtypes of the previous ones.

    Example:
      >>> running, batch = (jnp.zeros(1), jnp.ones(1)), (jnp.ones(1), jnp.full(1, 5.0))
      >>> mean, variance = running_statistics_keras(running, batch, momentum=0.75)
      >>> mean.tolist(), variance.tolist()
      ([0.25], [2.0])

    Reference: `keras.layers.BatchNormalization` and `flax.linen.BatchNorm`.
    """
    mean = update_running_average(running[0], batch[0], momentum=momentum)
    return mean, update_running_average(running[1], batch[1], momentum=momentum)


def running_statistics_torch(
    running: Moments,
    batch: Moments,
    *,
    momentum: float | Float[Array, ""],
    count: int | Num[Array, "..."],
) -> Moments:
    r"""Updates the running mean and variance in the convention of PyTorch.

    .. math:: \mu \leftarrow (1 - p) \mu + p \mu_B, \qquad
              \sigma^2 \leftarrow (1 - p) \sigma^2 + p \frac{N}{N - 1} \sigma_B^2

    Args:
      running: running mean and variance, each `[channels]`.
      batch: mean and biased variance of the batch, as `moments` returns them.
      momentum: p in [0, 1], the weight of the new value; PyTorch's default is 0.1. One over the
        number of batches so far gives PyTorch's None, the mean of all batches.
      count: n, the number of values in each mean, at least 2. Under a mask it may be an array, a
        scalar or `[channels]`; the variance stays biased where it is below 2.

    Returns:
      The new mean and variance, in the dtypes of the previous ones.

    Example:
      >>> running, batch = (jnp.zeros(1), jnp.ones(1)), (jnp.ones(1), jnp.full(1, 4.0))
      >>> mean, variance = running_statistics_torch(running, batch, momentum=0.25, count=5)
      >>> mean.tolist(), variance.tolist()
      ([0.25], [2.0])

    Reference: `torch.nn.functional.batch_norm`.
    """
    _check(momentum)
    mean, variance = batch
    if isinstance(count, int) and count < 2:
        raise ValueError(f"`count` must be at least 2, got {count}")
    n = jnp.asarray(count, variance.dtype)
    if n.shape not in ((), variance.shape):
        raise ValueError(f"`count` must be a scalar or have shape {variance.shape}, got {n.shape}")
    correction = jnp.where(n < 2, jnp.ones_like(n), n / jnp.maximum(n - 1, 1))
    unbiased = variance * jnp.broadcast_to(correction, variance.shape)
    return running_statistics_keras(running, (mean, unbiased), momentum=1 - momentum)


def _check(momentum: float | Array) -> None:
    # A traced array has no value yet.
    if isinstance(momentum, int | float) and not 0 <= momentum <= 1:
        raise ValueError(f"`momentum` must be in [0, 1], got {momentum}")
