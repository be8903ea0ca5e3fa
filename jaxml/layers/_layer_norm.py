"""Layer normalization and RMS normalization."""

from collections.abc import Sequence

import jax.numpy as jnp

from jaxml.layers._batch_norm import batch_normalization
from jaxml.layers._moments import center, moments
from jaxml.types import Array, Float


def layer_norm(
    x: Float[Array, "*shape"],
    scale: Float[Array, "..."] | None = None,
    bias: Float[Array, "..."] | None = None,
    *,
    axes: Sequence[int] = (-1,),
    epsilon: float = 1e-5,
) -> Float[Array, "*shape"]:
    r"""Normalizes each example by its own mean and variance over some axes.

    .. math:: y = \gamma \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    Args:
      x: array of any shape.
      scale: gamma, with the sizes of x along the axes in the order of x, or None for 1.
      bias: beta, likewise, or None for 0.
      axes: axes of the statistics; the others enumerate the examples.
      epsilon: positive constant added to the biased variance. The default is PyTorch's; Keras uses
        1e-3, and Flax 1e-6.

    Example:
      >>> layer_norm(jnp.array([[1.0, 3.0], [10.0, 30.0]])).round(3).tolist()
      [[-1.0, 1.0], [-1.0, 1.0]]

    Reference: Ba, Kiros, Hinton, "Layer Normalization", 2016; `torch.nn.functional.layer_norm`,
    where the axes are the last ones.
    """
    values, _, mean, variance = center(x, axes)
    scale, bias = _align("scale", scale, x, axes), _align("bias", bias, x, axes)
    return batch_normalization(values, mean, variance, bias, scale, epsilon).astype(x.dtype)


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
      x: array of any shape.
      scale: gamma, with the sizes of x along the axes in the order of x, or None for 1.
      axes: axes of the mean square; the others enumerate the examples.
      epsilon: positive constant added to the mean square. The default is that of Keras and Flax;
        PyTorch uses the machine epsilon of the dtype.

    Example:
      >>> jnp.rint(5 * rms_norm(jnp.array([1.0, 7.0]))).tolist()
      [1.0, 7.0]

    Reference: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019.
    """
    mean, variance = moments(x, axes, keepdims=True)
    mean_square = variance + jnp.square(mean)
    scale = _align("scale", scale, x, axes)
    return batch_normalization(x, jnp.zeros_like(mean), mean_square, None, scale, epsilon)


def _align(name: str, value: Array | None, x: Array, axes: Sequence[int]) -> Array | None:
    """Reshapes a parameter so that it broadcasts to x."""
    if value is None:
        return None
    reduced = {axis % x.ndim for axis in axes}
    sizes = tuple(size for axis, size in enumerate(x.shape) if axis in reduced)
    if value.shape != sizes:
        raise ValueError(
            f"`{name}` must have shape {sizes} for x of shape {x.shape}, got {value.shape}"
        )
    return value.reshape([n if axis in reduced else 1 for axis, n in enumerate(x.shape)])
