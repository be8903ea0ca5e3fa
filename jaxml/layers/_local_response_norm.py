"""Local response normalization."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.layers._dtypes import check_floating, wide
from jaxml.layers._padding import each_dimension
from jaxml.types import Array, Float


def local_response_norm(
    x: Float[Array, "*shape"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Float[Array, "*shape"]:
    r"""Divides each channel by a power of the energy of its neighboring channels.

    .. math::
        y_c = x_c \Big(k + \frac{\alpha}{n} \sum_{j = c - \lfloor n / 2 \rfloor}
              ^{c + \lfloor (n - 1) / 2 \rfloor} x_j^2\Big)^{-\beta}

    where channels beyond the ends are zero.

    Args:
      x: `[..., channels]`, whose squares must not overflow float32.
      size: n, the number of channels in the sum.
      alpha: non-negative and finite.
      beta: the exponent, finite.
      k: positive and finite.

    Example:
      >>> x = jnp.array([2.0, 0.0, -2.0])
      >>> local_response_norm(x, size=3, alpha=3.0, beta=1.0, k=4.0).tolist()
      [0.25, 0.0, -0.25]

    Reference: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional
    Neural Networks", 2012, section 3.3, where n is 5, k is 2 and alpha / n is 1e-4. The defaults
    and the division by n are those of Caffe and PyTorch; `tf.nn.local_response_normalization` does
    not divide, and calls n `2 * depth_radius + 1` and k `bias`.
    """
    check_floating(x)
    if not x.ndim:
        raise ValueError("`x` must have at least one dimension, got a scalar")
    (size,) = each_dimension("size", size, 1)
    if not 0 <= alpha < np.inf:
        raise ValueError(f"`alpha` must be non-negative and finite, got {alpha}")
    if not np.isfinite(beta):
        raise ValueError(f"`beta` must be finite, got {beta}")
    if not 0 < k < np.inf:
        raise ValueError(f"`k` must be positive and finite, got {k}")
    values = x.astype(wide(x))
    lead = (1,) * (x.ndim - 1)
    sums = lax.reduce_window(
        jnp.square(values),
        np.zeros((), values.dtype),
        lax.add,
        (*lead, size),
        (*lead, 1),
        [*((0, 0) for _ in lead), (size // 2, (size - 1) // 2)],
    )
    return (values * jnp.power(k + alpha / size * sums, -beta)).astype(x.dtype)
