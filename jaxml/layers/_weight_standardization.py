"""Weight standardisation."""

import jax.numpy as jnp

from jaxml.layers._batch_norm import batch_normalization
from jaxml.layers._moments import center
from jaxml.types import Array, Float


def weight_standardization(
    kernel: Float[Array, "*window out"], *, epsilon: float = 1e-6
) -> Float[Array, "*window out"]:
    r"""Gives the weights of every output mean 0 and variance 1.

    .. math:: \hat W_{io} = \frac{W_{io} - \mu_o}{\sqrt{\sigma_o^2 + \epsilon}}

    with the mean and the (biased) variance over all weights i of the output o.

    Args:
      kernel: `[height, width, in, out]`, or `[..., out]` with at least one dimension before.
      epsilon: added to the variance, greater than 0: 1e-6 as in timm. It counts where weights are
        small: those of He's initializer have a variance of 2 / fan in.

    Returns:
      The shape and dtype of the kernel; computed in float32 at least.

    Raises:
      ValueError: a kernel of fewer than two dimensions, or an epsilon of 0 or less.
      TypeError: a kernel that is not floating point.

    Example:
      >>> weight_standardization(jnp.array([[1.0, 10.0], [3.0, 30.0]])).round(3).tolist()
      [[-1.0, -1.0], [1.0, 1.0]]

    Source: Qiao, Wang, Liu, Shen, Yuille, "Micro-Batch Training with Batch-Channel Normalization
    and Weight Standardization", 2019. Its own code adds epsilon to the unbiased deviation instead.
    """
    if kernel.ndim < 2:
        raise ValueError(f"kernel: [..., in, out], not shape {kernel.shape}")
    if not jnp.issubdtype(kernel.dtype, jnp.floating):
        raise TypeError(f"kernel: floating point, not {kernel.dtype}")
    values, _, mean, variance = center(kernel, range(kernel.ndim - 1))
    return batch_normalization(values, mean, variance, None, None, epsilon).astype(kernel.dtype)
