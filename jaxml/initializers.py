"""Initial values of parameters: each public name is a factory of `(key, shape, dtype) -> array`."""

import jax

from jaxml.types import Initializer


def zeros() -> Initializer:
    """All zeros.

    >>> import jax
    >>> zeros()(jax.random.key(0), (2,)).tolist()
    [0.0, 0.0]
    """
    return jax.nn.initializers.zeros


def ones() -> Initializer:
    """All ones.

    >>> import jax
    >>> ones()(jax.random.key(0), (2,)).tolist()
    [1.0, 1.0]
    """
    return jax.nn.initializers.ones


def he_normal() -> Initializer:
    r"""Normal with variance 2 / fan_in, which keeps the variance of activations under ReLU.

    .. math:: w \sim \mathcal{N}(0, 2 / n_{in}), \quad n_{in} = \text{receptive field} \cdot C_{in}

    The normal is not truncated, as in the paper and in PyTorch's `kaiming_normal_`; Keras and
    `jax.nn.initializers.he_normal` truncate it at two standard deviations.

    Returns:
      An initializer for kernels whose last two dimensions are (in, out) channels.

    Example:
      >>> import jax
      >>> kernel = he_normal()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      2.0

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, section 2.2.
    """
    return jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")
