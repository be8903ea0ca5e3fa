"""Initializers that draw every entry from one distribution."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.types import Array, Initializer, Key


def normal(stddev: float = 1e-2, dtype: Any = None) -> Initializer:
    """Returns an initializer that draws from a normal distribution with mean 0.

    Args:
      stddev: standard deviation, non-negative. The default of PyTorch is 1, and that of Keras 0.05.
      dtype: default dtype of the initializer.

    Example:
      >>> round(float(normal(2.0)(jax.random.key(0), (100, 100)).std()), 1)
      2.0
    """
    return rounded(jax.nn.initializers.normal(_non_negative("stddev", stddev)), dtype)


def uniform(scale: float = 1e-2, dtype: Any = None) -> Initializer:
    """Returns an initializer that draws uniformly from `[0, scale)`.

    See `uniform_range` for another lower bound, as in Keras' `RandomUniform`.

    Args:
      scale: the upper bound, non-negative.
      dtype: default dtype of the initializer.
    """
    return rounded(jax.nn.initializers.uniform(_non_negative("scale", scale)), dtype)


def uniform_range(lower: float, upper: float, dtype: Any = None) -> Initializer:
    """Returns an initializer that draws uniformly from `[lower, upper)`.

    Args:
      lower: the smallest value.
      upper: the upper bound, at least `lower`; draws equal it only by rounding to bfloat16.
      dtype: default dtype of the initializer.

    Reference: PyTorch's `uniform_` and Keras' `RandomUniform`.
    """
    if not lower <= upper:
        raise ValueError(f"`upper` must be at least lower={lower}, got {upper}")

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        return jax.random.uniform(key, shape, dtype, lower, upper)

    return rounded(draw, dtype)


def truncated_normal(
    stddev: float = 1e-2, dtype: Any = None, lower: float = -2.0, upper: float = 2.0
) -> Initializer:
    r"""Returns an initializer that draws from a normal distribution truncated to two bounds.

    .. math:: w \sim \mathcal{N}(0, \sigma^2) \ \text{given} \ a \sigma < w < b \sigma

    Args:
      stddev: sigma, the standard deviation before truncation, non-negative. At the default bounds,
        draws have a standard deviation of 0.8796 sigma.
      dtype: default dtype of the initializer.
      lower: a, in units of `stddev`; PyTorch's `trunc_normal_` takes absolute bounds.
      upper: b, in units of `stddev`, greater than `lower`. Bounds are clipped to 5.4, the largest
        normal draw in float32: at an infinite bound, `jax.nn.initializers.truncated_normal` may
        draw the largest number of the dtype.

    Raises:
      ValueError: `stddev` is negative, the bounds are not in order, or float32 has too few values
        between them.
    """
    if not lower < upper:
        raise ValueError(f"`upper` must be greater than lower={lower}, got {upper}")
    a, b = max(lower, -5.4), min(upper, 5.4)
    start, end = (math.erf(bound / math.sqrt(2)) for bound in (a, b))
    if not end - start > 1e-4 * max(abs(start), abs(end)):
        raise ValueError(
            "`lower` and `upper` must be farther apart or closer to 0, "
            f"got lower={lower} and upper={upper}"
        )
    stddev = _non_negative("stddev", stddev)
    return rounded(jax.nn.initializers.truncated_normal(stddev, lower=a, upper=b), dtype)


def sparse(sparsity: float, *, stddev: float = 0.01, dtype: Any = None) -> Initializer:
    r"""Returns an initializer of `[in, out]` kernels with the same number of zeros in every column.

    .. math:: \#\{i : w_{io} = 0\} = \lceil s \, n_{in} \rceil \ \text{for every} \ o

    The zeros of every column are drawn independently; the other entries are normal.

    Args:
      sparsity: s, the fraction of zeros, in [0, 1].
      stddev: standard deviation of the other entries, non-negative.
      dtype: default dtype of the initializer.

    Example:
      >>> (sparse(0.75)(jax.random.key(0), (8, 3)) == 0).sum(axis=0).tolist()
      [6, 6, 6]

    Reference: Martens, "Deep learning via Hessian-free optimization", 2010, section 5. PyTorch's
    `sparse_` counts along the same first dimension, which is the output of its kernels.
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"`sparsity` must be in [0, 1], got {sparsity}")
    values = jax.nn.initializers.normal(_non_negative("stddev", stddev))

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        if len(shape) != 2:
            raise ValueError(f"`shape` must be [in, out], got {tuple(shape)}")
        values_key, ranks_key = jax.random.split(key)
        ranks = jnp.broadcast_to(jnp.arange(shape[0])[:, None], shape)
        ranks = jax.random.permutation(ranks_key, ranks, axis=0, independent=True)
        kept = ranks >= math.ceil(sparsity * shape[0])
        return jnp.where(kept, values(values_key, shape, dtype), 0)

    return rounded(draw, dtype)


def rounded(draw: Callable[[Key, Sequence[int], Any], Array], default: Any) -> Initializer:
    """Draws in float32 at least, then rounds to the dtype."""

    def init(key: Key, shape: Sequence[int], dtype: Any = default) -> Array:
        dtype = jnp.result_type(float) if dtype is None else dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"`dtype` must be floating-point, got {np.dtype(dtype)}")
        wide = np.promote_types(dtype, np.float32)
        return draw(key, tuple(shape), wide).astype(dtype)

    return init


def _non_negative(name: str, value: float) -> float:
    if not value >= 0:
        raise ValueError(f"`{name}` must be non-negative, got {value}")
    return value
