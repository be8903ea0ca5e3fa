"""Batch renormalization."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.layers._batch_norm import batch_normalization
from jaxml.types import Array, Float


def batch_renormalization(
    x: Float[Array, "*dims channels"],
    mean: Float[Array, " channels"],
    variance: Float[Array, " channels"],
    running_mean: Float[Array, " channels"],
    running_variance: Float[Array, " channels"],
    offset: Float[Array, " channels"] | None,
    scale: Float[Array, " channels"] | None,
    variance_epsilon: float,
    *,
    r_max: float | Float[Array, ""],
    d_max: float | Float[Array, ""],
) -> Float[Array, "*dims channels"]:
    r"""Normalizes by the statistics of the batch, corrected toward the running statistics.

    .. math:: y = \gamma \left(\frac{x - \mu_B}{\sigma_B} r + d\right) + \beta, \qquad
              r = \mathrm{clip}\left(\frac{\sigma_B}{\sigma}, \frac1{r_{max}}, r_{max}\right),
              \qquad d = \mathrm{clip}\left(\frac{\mu_B - \mu}{\sigma}, -d_{max}, d_{max}\right)

    where each sigma is the square root of a variance plus epsilon, and no gradient flows through
    r and d. With `r_max=1` and `d_max=0` this is batch normalization. With infinite bounds the
    result is normalized by the running statistics, and only the gradient uses those of the batch.
    For evaluation, apply `batch_normalization` with the running statistics.

    Args:
      x: `[..., channels]`.
      mean: mean of the batch, `[channels]`; see `moments`.
      variance: biased variance of the batch, `[channels]`.
      running_mean: running mean before the batch, `[channels]`.
      running_variance: running variance before the batch, `[channels]`.
      offset: beta, `[channels]`, or None for 0.
      scale: gamma, `[channels]`, or None for 1.
      variance_epsilon: positive constant added to both variances.
      r_max: bound of r, at least 1; the paper increases it from 1 to 3.
      d_max: bound of d, non-negative; the paper increases it from 0 to 5.

    Returns:
      An array of the shape and dtype of x.

    Example:
      >>> one = jnp.ones(1)
      >>> batch, running = (2 * one, one), (one, one)
      >>> x = jnp.array([[1.0], [3.0]])
      >>> y = batch_renormalization(x, *batch, *running, None, None, 1e-5, r_max=3.0, d_max=0.5)
      >>> jnp.rint(2 * y).tolist()
      [[-1.0], [3.0]]

    Reference: Ioffe, "Batch Renormalization", 2017. The paper averages the deviation; this takes
    the square root of the averaged variance, as Keras 2 did.
    """
    for name, bound, least in (("r_max", r_max, 1), ("d_max", d_max, 0)):
        if isinstance(bound, int | float) and not bound >= least:
            raise ValueError(f"`{name}` must be at least {least}, got {bound}")
    given = {
        "mean": mean,
        "variance": variance,
        "running_mean": running_mean,
        "running_variance": running_variance,
        "offset": offset,
        "scale": scale,
    }
    for name, value in given.items():
        if value is not None and value.shape != x.shape[-1:]:
            raise ValueError(
                f"`{name}` must have shape {x.shape[-1:]} for x of shape {x.shape}, "
                f"got {value.shape}"
            )
    dtype = np.promote_types(np.promote_types(x.dtype, mean.dtype), np.float32)
    batch = mean.astype(dtype), variance.astype(dtype)
    running = running_mean.astype(dtype), running_variance.astype(dtype)
    r, d = _corrections(batch, running, variance_epsilon, r_max, d_max)
    if scale is not None:
        scale = scale.astype(dtype)
        r, d = r * scale, d * scale
    if offset is not None:
        d = d + offset.astype(dtype)
    return batch_normalization(x, mean, variance, d, r, variance_epsilon)


def _corrections(
    batch: tuple[Array, Array],
    running: tuple[Array, Array],
    epsilon: float,
    r_max: float | Array,
    d_max: float | Array,
) -> tuple[Array, Array]:
    """Returns the corrections r and d as constants to the gradient."""
    (mean, variance), (running_mean, running_variance) = batch, running
    r_bound, d_bound = (jnp.asarray(bound, mean.dtype) for bound in (r_max, d_max))
    running_deviation = jnp.sqrt(running_variance + epsilon)
    r = jnp.clip(jnp.sqrt(variance + epsilon) / running_deviation, 1 / r_bound, r_bound)
    d = jnp.clip((mean - running_mean) / running_deviation, -d_bound, d_bound)
    return lax.stop_gradient(r), lax.stop_gradient(d)
