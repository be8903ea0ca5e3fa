"""Group normalization, and instance normalization, its special case of one group per channel."""

import math

from jaxml.layers._batch_norm import batch_normalization
from jaxml.layers._moments import center
from jaxml.types import Array, Float


def group_norm(
    x: Float[Array, "*batch_and_spatial channels"],
    scale: Float[Array, " channels"] | None = None,
    bias: Float[Array, " channels"] | None = None,
    *,
    groups: int,
    spatial_dims: int = 2,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch_and_spatial channels"]:
    r"""Normalizes each group of channels of each example by its own mean and variance.

    .. math:: y = \gamma_c \frac{x - \mu_{ng}}{\sqrt{\sigma_{ng}^2 + \epsilon}} + \beta_c

    A group is `channels / groups` neighboring channels; its statistics are over them and the
    spatial dimensions, for each entry n of the leading ones.

    Args:
      x: `[..., *spatial, channels]`.
      scale: gamma, `[channels]`, or None for 1.
      bias: beta, `[channels]`, or None for 0.
      groups: number of groups, which divides the channels. One group is layer normalization over an
        example.
      spatial_dims: number of spatial dimensions, non-negative: 1 for sequences, 3 for volumes, 0
        for vectors.
      epsilon: positive constant added to the biased variance. The default is PyTorch's; Keras uses
        1e-3, and Flax 1e-6.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 3.0, 10.0, 30.0])
      >>> group_norm(x, groups=2, spatial_dims=0).round(3).tolist()
      [-1.0, 1.0, -1.0, 1.0]

    Reference: Wu, He, "Group Normalization", 2018; `torch.nn.functional.group_norm`, where the
    channels come first and all dimensions after them are spatial.
    """
    _check_dims(x, spatial_dims, least=0)
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"`groups` must divide the {channels} channels of x, got {groups}")

    def align(name: str, value: Array | None) -> Array | None:
        if value is None:
            return None
        if value.shape != (channels,):
            raise ValueError(
                f"`{name}` must have shape {(channels,)} for x of shape {x.shape}, "
                f"got {value.shape}"
            )
        return value.reshape(*(1 for _ in x.shape[:-1]), groups, channels // groups)

    grouped = x.reshape(*x.shape[:-1], groups, channels // groups)
    axes = [*range(-2 - spatial_dims, -2), -1]
    values, _, mean, variance = center(grouped, axes)
    scale, bias = align("scale", scale), align("bias", bias)
    y = batch_normalization(values, mean, variance, bias, scale, epsilon)
    return y.reshape(x.shape).astype(x.dtype)


def instance_norm(
    x: Float[Array, "*batch_and_spatial channels"],
    scale: Float[Array, " channels"] | None = None,
    bias: Float[Array, " channels"] | None = None,
    *,
    spatial_dims: int = 2,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch_and_spatial channels"]:
    r"""Normalizes each channel of each example by its own mean and variance.

    .. math:: y = \gamma_c \frac{x - \mu_{nc}}{\sqrt{\sigma_{nc}^2 + \epsilon}} + \beta_c

    Args:
      x: `[..., *spatial, channels]`, with at least two spatial positions.
      scale: gamma, `[channels]`, or None for 1.
      bias: beta, `[channels]`, or None for 0.
      spatial_dims: number of spatial dimensions, at least 1.
      epsilon: positive constant added to the biased variance.

    Example:
      >>> import jax.numpy as jnp
      >>> instance_norm(jnp.array([[[1.0, 10.0], [3.0, 30.0]]])).round(3).tolist()
      [[[-1.0, -1.0], [1.0, 1.0]]]

    Reference: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization", 2016;
    `torch.nn.functional.instance_norm`, where the channels come first.
    """
    _check_dims(x, spatial_dims, least=1)
    if math.prod(x.shape[-1 - spatial_dims : -1]) < 2:
        raise ValueError(
            f"`x` must have at least two positions in its {spatial_dims} spatial dimensions, "
            f"got shape {x.shape}"
        )
    groups = x.shape[-1]
    return group_norm(x, scale, bias, groups=groups, spatial_dims=spatial_dims, epsilon=epsilon)


def _check_dims(x: Array, spatial_dims: int, *, least: int) -> None:
    if not least <= spatial_dims < x.ndim:
        raise ValueError(
            f"`spatial_dims` must be in [{least}, {x.ndim - 1}] for x of shape {x.shape}, "
            f"got {spatial_dims}"
        )
