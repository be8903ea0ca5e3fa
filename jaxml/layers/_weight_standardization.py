"""Weight standardization."""

from jaxml.layers._batch_norm import batch_normalization
from jaxml.layers._dtypes import check_floating
from jaxml.layers._moments import center
from jaxml.types import Array, Float


def weight_standardization(
    kernel: Float[Array, "*window out"], *, epsilon: float = 1e-6
) -> Float[Array, "*window out"]:
    r"""Standardizes the weights of every output to mean 0 and variance 1.

    .. math:: \hat W_{io} = \frac{W_{io} - \mu_o}{\sqrt{\sigma_o^2 + \epsilon}}

    with the mean and the biased variance over all weights i of output o.

    Args:
      kernel: `[..., in, out]`.
      epsilon: positive constant added to the variance. The default is timm's. It matters if weights
        are small: kernels of `he_normal` have a variance of 2 / fan_in.

    Example:
      >>> import jax.numpy as jnp
      >>> weight_standardization(jnp.array([[1.0, 10.0], [3.0, 30.0]])).round(3).tolist()
      [[-1.0, -1.0], [1.0, 1.0]]

    Reference: Qiao, Wang, Liu, Shen, Yuille, "Micro-Batch Training with Batch-Channel Normalization
    and Weight Standardization", 2019, whose code adds epsilon to the unbiased deviation instead.
    """
    if kernel.ndim < 2:
        raise ValueError(f"`kernel` must be [..., in, out], got shape {kernel.shape}")
    check_floating(kernel, "kernel")
    values, _, mean, variance = center(kernel, range(kernel.ndim - 1))
    return batch_normalization(values, mean, variance, None, None, epsilon).astype(kernel.dtype)
