"""Group normalisation, and instance normalisation, which is that with a group for each channel."""

import math

from jaxml.layers._batch_norm import batch_normalization
from jaxml.layers._moments import center
from jaxml.types import Array, Float


def group_norm(
    x: Float[Array, "*batch_and_spatial channels"],
    offset: Float[Array, " channels"] | None = None,
    scale: Float[Array, " channels"] | None = None,
    *,
    groups: int,
    spatial_dims: int = 2,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch_and_spatial channels"]:
    r"""Normalises each group of channels of each example by its own mean and variance.

    .. math:: y = \gamma_c \frac{x - \mu_{ng}}{\sqrt{\sigma_{ng}^2 + \epsilon}} + \beta_c

    A group is `channels / groups` neighbouring channels; its statistics are over them and the
    spatial dimensions, for each entry n of the leading ones.

    Args:
      x: `[..., height, width, channels]`, or as many spatial dimensions as `spatial_dims` says,
        floating point.
      offset: beta, `[channels]`, or None for 0.
      scale: gamma, `[channels]`, or None for 1.
      groups: how many; it divides the channels. One group is layer normalisation over an example.
      spatial_dims: dimensions between the leading ones and the channels, at least 0: 1 for
        sequences, 3 for volumes, 0 for vectors.
      epsilon: added to the (biased) variance, greater than 0: 1e-5 as in PyTorch; Keras has 1e-3,
        Flax 1e-6.

    Returns:
      The shape and dtype of x; computed in float32 at least.

    Raises:
      ValueError: groups that do not divide the channels, fewer dimensions than the spatial and the
        channels, an offset or scale of another shape, or an epsilon of 0 or less.
      TypeError: x is not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 3.0, 10.0, 30.0])
      >>> group_norm(x, groups=2, spatial_dims=0).round(3).tolist()
      [-1.0, 1.0, -1.0, 1.0]

    Source: Wu, He, "Group Normalization", 2018; `torch.nn.functional.group_norm`, there with the
    channels first, and every dimension after the second a spatial one.
    """
    _check_dims(x, spatial_dims, least=0)
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups: at least 1 and a divisor of {channels} channels, not {groups}")

    def spread(name: str, value: Array | None) -> Array | None:
        if value is None:
            return None
        if value.shape != (channels,):
            raise ValueError(f"{name}: shape {(channels,)} for x {x.shape}, not {value.shape}")
        return value.reshape(*(1 for _ in x.shape[:-1]), groups, channels // groups)

    grouped = x.reshape(*x.shape[:-1], groups, channels // groups)
    axes = [*range(-2 - spatial_dims, -2), -1]
    values, _, mean, variance = center(grouped, axes)
    offset, scale = spread("offset", offset), spread("scale", scale)
    y = batch_normalization(values, mean, variance, offset, scale, epsilon)
    return y.reshape(x.shape).astype(x.dtype)


def instance_norm(
    x: Float[Array, "*batch_and_spatial channels"],
    offset: Float[Array, " channels"] | None = None,
    scale: Float[Array, " channels"] | None = None,
    *,
    spatial_dims: int = 2,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch_and_spatial channels"]:
    r"""Normalises each channel of each example by its own mean and variance.

    .. math:: y = \gamma_c \frac{x - \mu_{nc}}{\sqrt{\sigma_{nc}^2 + \epsilon}} + \beta_c

    Args:
      x: `[..., height, width, channels]`, or as many spatial dimensions as `spatial_dims` says,
        floating point.
      offset: beta, `[channels]`, or None for 0.
      scale: gamma, `[channels]`, or None for 1.
      spatial_dims: dimensions between the leading ones and the channels, at least 1.
      epsilon: added to the (biased) variance, greater than 0.

    Returns:
      The shape and dtype of x; computed in float32 at least.

    Raises:
      ValueError: fewer than two spatial positions, fewer dimensions than the spatial and the
        channels, an offset or scale of another shape, or an epsilon of 0 or less.
      TypeError: x is not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> instance_norm(jnp.array([[[1.0, 10.0], [3.0, 30.0]]])).round(3).tolist()
      [[[-1.0, -1.0], [1.0, 1.0]]]

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization", 2016;
    `torch.nn.functional.instance_norm`, there with the channels first.
    """
    _check_dims(x, spatial_dims, least=1)
    if math.prod(x.shape[-1 - spatial_dims : -1]) < 2:
        raise ValueError(
            f"x: two or more positions in its {spatial_dims} spatial dimensions, "
            f"not shape {x.shape}"
        )
    groups = x.shape[-1]
    return group_norm(x, offset, scale, groups=groups, spatial_dims=spatial_dims, epsilon=epsilon)


def _check_dims(x: Array, spatial_dims: int, *, least: int) -> None:
    if not least <= spatial_dims < x.ndim:
        raise ValueError(
            f"spatial_dims: {least} to {x.ndim - 1} for x {x.shape}, not {spatial_dims}"
        )
