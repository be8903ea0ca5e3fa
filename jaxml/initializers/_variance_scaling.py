"""Variance scaling and its specializations."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax

from jaxml.initializers._distributions import rounded
from jaxml.types import Array, Initializer, Key

Axes = int | Sequence[int]
Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution = Literal["truncated_normal", "normal", "uniform"]


def variance_scaling(
    scale: float,
    mode: Mode,
    distribution: Distribution,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Returns an initializer with mean 0 and variance inversely proportional to a fan.

    .. math::
        \operatorname{Var} w = \frac{s}{n}, \qquad
        n_{in} = r \, C_{in}, \quad n_{out} = r \, C_{out}, \quad
        n_{avg} = \frac{n_{in} + n_{out}}{2}, \quad n_{geo} = \sqrt{n_{in} \, n_{out}}

    where C are the sizes of the input and output axes, and the receptive field r is the product of
    the other dimensions. Strides do not count.

    Args:
      scale: s, positive.
      mode: the fan n: "fan_in", "fan_out", "fan_avg" or "fan_geo_avg".
      distribution: "truncated_normal" (at two standard deviations, rescaled to the variance above),
        "normal" or "uniform" (on :math:`\pm \sqrt{3 s / n}`).
      in_axis: axis or axes of the input channels.
      out_axis: axis or axes of the output channels. Kernels of `conv_transpose` need
        `in_axis=-1, out_axis=-2`.
      batch_axis: axis or axes that the fans ignore.
      dtype: default dtype of the initializer; None for float32, or float64 under x64.
      groups: number of groups of a grouped or depthwise convolution, whose fans are those of one
        group: the last dimension, which holds the channels of all groups, is divided by it. PyTorch
        and Keras count the channels of all groups there.

    Returns:
      An initializer for kernels of at least two dimensions, none of them empty.

    Raises:
      ValueError: an argument is invalid, or the initializer is called with a shape that lacks the
        axes or does not divide into groups.

    Example:
      >>> kernel = variance_scaling(3.0, "fan_out", "uniform")(jax.random.key(0), (5, 5, 8, 64))
      >>> round(float(kernel.var() * 5 * 5 * 64), 1)
      3.0
    """
    if not scale > 0:
        raise ValueError(f"`scale` must be positive, got {scale}")
    if mode not in get_args(Mode):
        raise ValueError(f"`mode` must be one of {get_args(Mode)}, got {mode!r}")
    if distribution not in get_args(Distribution):
        allowed = get_args(Distribution)
        raise ValueError(f"`distribution` must be one of {allowed}, got {distribution!r}")

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        last = len(shape) - 1
        inputs, outputs, batch = _axes(shape, in_axis, out_axis, batch_axis)
        if groups < 1 or shape[last] % groups:
            raise ValueError(f"`groups` must divide the last dimension of {shape}, got {groups}")
        if groups > 1 and last not in inputs + outputs:
            raise ValueError(
                f"`groups` must be 1 where neither in_axis={in_axis} nor out_axis={out_axis} is "
                f"the last of {shape}, got {groups}"
            )
        # The groups become an axis of their own before the last, which the fans ignore.
        grouped = (*shape[:last], groups, shape[last] // groups)
        moved = ([axis + (axis == last) for axis in axes] for axes in (inputs, outputs, batch))
        inputs, outputs, batch = moved
        scaled = jax.nn.initializers.variance_scaling(
            scale, mode, distribution, inputs, outputs, (*batch, last)
        )
        return scaled(key, grouped, dtype).reshape(shape)

    return rounded(draw, dtype)


def lecun_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Returns LeCun's normal initializer, which preserves variance through linear layers and SELU.

    .. math:: \operatorname{Var} w = 1 / n_{in}

    The normal is truncated at two standard deviations, as in JAX and Keras. Use
    `variance_scaling(1.0, "fan_in", "normal")` for the untruncated one. The arguments are those of
    `variance_scaling`.

    Example:
      >>> kernel = lecun_normal()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      1.0

    Reference: LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998, equation 16.
    """
    return variance_scaling(
        1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype, groups=groups
    )


def lecun_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Returns LeCun's uniform initializer: uniform on :math:`\pm \sqrt{3 / n_{in}}`.

    The arguments are those of `variance_scaling`. The default initializer of PyTorch's linear and
    convolution layers has a third of this variance.

    Example:
      >>> kernel = lecun_uniform()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      1.0
    """
    return variance_scaling(
        1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype, groups=groups
    )


def xavier_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Returns Xavier's (Glorot's) normal initializer, also named `glorot_normal`.

    .. math:: \operatorname{Var} w = \frac{2}{n_{in} + n_{out}}

    a compromise between preserving the variance of activations and of gradients. The normal is
    truncated at two standard deviations, as in JAX and Keras. Use
    `variance_scaling(1.0, "fan_avg", "normal")` for the untruncated one, which is PyTorch's
    `xavier_normal_`; the paper itself draws from `xavier_uniform`. The arguments are those of
    `variance_scaling`.

    Example:
      >>> kernel = xavier_normal()(jax.random.key(0), (3, 3, 64, 128))
      >>> round(float(kernel.var() * 3 * 3 * (64 + 128) / 2), 1)
      1.0

    Reference: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 12.
    """
    return variance_scaling(
        1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype, groups=groups
    )


def xavier_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Returns Xavier's (Glorot's) uniform initializer, also named `glorot_uniform`.

    .. math:: w \sim \mathcal{U}[-\ell, \ell), \quad \ell = \sqrt{\frac{6}{n_{in} + n_{out}}}

    It is the initializer of the paper (equation 16) and the default of Keras. The arguments are
    those of `variance_scaling`.

    Example:
      >>> kernel = xavier_uniform()(jax.random.key(0), (3, 3, 64, 128))
      >>> round(float(kernel.var() * 3 * 3 * (64 + 128) / 2), 1)
      1.0

    Reference: see `xavier_normal`.
    """
    return variance_scaling(
        1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype, groups=groups
    )


def he_normal(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Returns He's (Kaiming's) normal initializer, also named `kaiming_normal`.

    .. math:: \operatorname{Var} w = 2 / n_{in}

    which preserves the variance of activations under ReLU. The normal is truncated at two standard
    deviations, as in JAX and Keras. Use `variance_scaling(2.0, "fan_in", "normal")` for the
    untruncated one of the paper and of PyTorch's `kaiming_normal_`; under a leaky ReLU of slope a
    the scale is `2 / (1 + a**2)`, and "fan_out" preserves the variance of gradients instead. The
    arguments are those of `variance_scaling`.

    Example:
      >>> kernel = he_normal()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      2.0

    Reference: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, section 2.2.
    """
    return variance_scaling(
        2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype, groups=groups
    )


def he_uniform(
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
    *,
    groups: int = 1,
) -> Initializer:
    r"""Returns He's uniform initializer: uniform on :math:`\pm \sqrt{6 / n_{in}}`.

    It is also named `kaiming_uniform`. The arguments are those of `variance_scaling`.

    Example:
      >>> kernel = he_uniform()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      2.0

    Reference: see `he_normal`.
    """
    return variance_scaling(
        2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype, groups=groups
    )


glorot_normal = xavier_normal
glorot_uniform = xavier_uniform
kaiming_normal = he_normal
kaiming_uniform = he_uniform


def _axes(shape: Sequence[int], *named: Axes) -> list[list[int]]:
    """Returns the input, output and batch axes, counted from the front."""
    rank = len(shape)
    groups = [[axis] if isinstance(axis, int) else list(axis) for axis in named]
    axes = [axis for group in groups for axis in group]
    fits = rank > 1 and 0 not in shape and all(-rank <= axis < rank for axis in axes)
    if not fits or len({axis % rank for axis in axes}) < len(axes):
        names = zip(("in_axis", "out_axis", "batch_axis"), named, strict=True)
        wanted = ", ".join(f"{name}={axis}" for name, axis in names)
        raise ValueError(
            f"`shape` must have two or more non-empty dimensions with the distinct axes {wanted}, "
            f"got {tuple(shape)}"
        )
    return [[axis % rank for axis in group] for group in groups]
