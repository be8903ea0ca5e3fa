"""Local response normalisation."""

import jax.numpy as jnp
import numpy as np
from jax import lax

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
    r"""Divides each channel by the power of itself and of the channels beside it.

    .. math::
        y_c = x_c \Big(k + \frac{\alpha}{n} \sum_{j = c - \lfloor n / 2 \rfloor}
              ^{c + \lfloor (n - 1) / 2 \rfloor} x_j^2\Big)^{-\beta}

    where channels that do not exist are zero.

    Args:
      x: `[..., channels]`, whose squares must not overflow float32.
      size: n, the number of channels that are summed, at least 1.
      alpha: 0 or more.
      beta: the exponent, any finite number.
      k: above 0, so that zeros are no quotient of zeros.

    Returns:
      The shape and dtype of x; computed in float32 at least.

    Raises:
      TypeError: x is not floating point, or the size is no int.
      ValueError: x is a scalar; a size, alpha, beta or k that is not allowed.

    Example:
      >>> x = jnp.array([2.0, 0.0, -2.0])
      >>> local_response_norm(x, size=3, alpha=3.0, beta=1.0, k=4.0).tolist()
      [0.25, 0.0, -0.25]

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", 2012, section 3.3, which has n = 5, k = 2 and 1e-4 for alpha / n. The defaults and
    the division by n are Caffe's and PyTorch's; `tf.nn.local_response_normalization` does not
    divide, and has 2 * depth_radius + 1 for n and bias for k.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating point, not {x.dtype}")
    if not x.ndim:
        raise ValueError("x: at least one dimension, not a scalar")
    (size,) = each_dimension("size", size, 1)
    if not 0 <= alpha < np.inf:
        raise ValueError(f"alpha: 0 or more and finite, not {alpha}")
    if not np.isfinite(beta):
        raise ValueError(f"beta: finite, not {beta}")
    if not 0 < k < np.inf:
        raise ValueError(f"k: above 0 and finite, not {k}")
    wide = np.promote_types(x.dtype, np.float32)
    values = x.astype(wide)
    lead = (1,) * (x.ndim - 1)
    sums = lax.reduce_window(
        jnp.square(values),
        np.zeros((), wide),
        lax.add,
        (*lead, size),
        (*lead, 1),
        [*((0, 0) for _ in lead), (size // 2, (size - 1) // 2)],
    )
    return (values * jnp.power(k + alpha / size * sums, -beta)).astype(x.dtype)
