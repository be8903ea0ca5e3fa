"""Layer normalisation and its form without the mean."""

from collections.abc import Sequence

import jax.numpy as jnp

from jaxml.layers._batch_norm import batch_normalization
from jaxml.layers._moments import center, moments
from jaxml.types import Array, Float


def layer_norm(
    x: Float[Array, "*shape"],
    offset: Float[Array, "..."] | None = None,
    scale: Float[Array, "..."] | None = None,
    *,
    axes: Sequence[int] = (-1,),
    epsilon: float = 1e-5,
) -> Float[Array, "*shape"]:
    r"""Normalises each example by its own mean and variance over some axes.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Args:
      x: any shape, floating point.
      offset: beta, of the sizes of x along the axes, in their order in x, or None for 0.
      scale: gamma, likewise, or None for 1.
      axes: what the statistics are over; the others are the examples.
      epsilon: added to the (biased) variance, greater than 0: 1e-5 as in PyTorch; Keras has 1e-3,
        Flax 1e-6.

    Returns:
      The shape and dtype of x; computed in float32 at least.

    Raises:
      ValueError: an axis that x does not have, an offset or scale of another shape, or an epsilon
        of 0 or less.
      TypeError: x is not floating point.

    Example:
      >>> layer_norm(jnp.array([[1.0, 3.0], [10.0, 30.0]])).round(3).tolist()
      [[-1.0, 1.0], [-1.0, 1.0]]

    Source: Ba, Kiros, Hinton, "Layer Normalization", 2016; `torch.nn.functional.layer_norm` where
    the axes are the last ones.
    """
    values, _, mean, variance = center(x, axes)
    offset, scale = _spread("offset", offset, x, axes), _spread("scale", scale, x, axes)
    return batch_normalization(values, mean, variance, offset, scale, epsilon).astype(x.dtype)


def rms_norm(
    x: Float[Array, "*shape"],
    scale: Float[Array, "..."] | None = None,
    *,
    axes: Sequence[int] = (-1,),
    epsilon: float = 1e-6,
) -> Float[Array, "*shape"]:
    r"""Divides each example by its root mean square over some axes.

    .. math:: y = \gamma \frac{x}{\sqrt{E(x^2) + \epsilon}}

    Args:
      x: any shape, floating point.
      scale: gamma, of the sizes of x along the axes, in their order in x, or None for 1.
      axes: what the mean square is over; the others are the examples.
      epsilon: added to the mean square, greater than 0: 1e-6 as in Keras and Flax; PyTorch has the
        distance of 1 from the next number of the dtype.

    Returns:
      The shape and dtype of x; computed in float32 at least.

    Raises:
      ValueError: an axis that x does not have, a scale of another shape, or an epsilon of 0 or
        less.
      TypeError: x is not floating point.

    Example:
      >>> jnp.rint(5 * rms_norm(jnp.array([1.0, 7.0]))).tolist()
      [1.0, 7.0]

    Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019.
    """
    # E(x^2) is the variance around 0.
    mean, variance = moments(x, axes, keepdims=True)
    mean_square = variance + jnp.square(mean)
    scale = _spread("scale", scale, x, axes)
    return batch_normalization(x, jnp.zeros_like(mean), mean_square, None, scale, epsilon)


def _spread(name: str, value: Array | None, x: Array, axes: Sequence[int]) -> Array | None:
    """Puts the dimensions of a parameter where x has them."""
    if value is None:
        return None
    reduced = {axis % x.ndim for axis in axes}
    sizes = tuple(size for axis, size in enumerate(x.shape) if axis in reduced)
    if value.shape != sizes:
        raise ValueError(f"{name}: shape {sizes} for x {x.shape}, not {value.shape}")
    return value.reshape([n if axis in reduced else 1 for axis, n in enumerate(x.shape)])
