"""Variance scaling and its specializations."""

import inspect
from collections.abc import Callable, Sequence
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
      dtype: default dtype of the initializer.
      groups: number of groups of a grouped or depthwise convolution, whose fans are those of one
        group: the last dimension, which holds the channels of all groups, is divided by it. PyTorch
        and Keras count the channels of all groups there.

    Returns:
      An initializer for kernels of at least two dimensions, none of them empty.

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


def _specialize(
    name: str, scale: float, mode: Mode, distribution: Distribution, doc: str
) -> Callable[..., Initializer]:
    """Returns `variance_scaling` with its first three arguments fixed, as a documented function."""

    def specialization(
        in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None, *,
        groups: int = 1,
    ) -> Initializer:  # fmt: skip
        axes = (in_axis, out_axis, batch_axis)
        return variance_scaling(scale, mode, distribution, *axes, dtype, groups=groups)

    specialization.__name__ = specialization.__qualname__ = name
    specialization.__doc__ = inspect.cleandoc(doc)
    return specialization


# The arguments are those of `variance_scaling`. Normals are truncated at two standard deviations,
# as in JAX and Keras; PyTorch and the paper of He et al. use `variance_scaling(..., "normal")`.
# fmt: off
lecun_normal = _specialize("lecun_normal", 1.0, "fan_in", "truncated_normal", r"""
    Returns LeCun's truncated normal initializer, with variance :math:`1 / n_{in}`.

    It preserves the variance of activations through linear layers and SELU. LeCun, Bottou, Orr,
    Mueller, "Efficient BackProp", 1998, equation 16.
    """)
lecun_uniform = _specialize("lecun_uniform", 1.0, "fan_in", "uniform", r"""
    Returns LeCun's uniform initializer, on :math:`\pm \sqrt{3 / n_{in}}`.

    The default of PyTorch's linear and convolution layers has a third of its variance.
    """)
xavier_normal = _specialize("xavier_normal", 1.0, "fan_avg", "truncated_normal", r"""
    Returns Xavier's (Glorot's) truncated normal initializer, with variance
    :math:`2 / (n_{in} + n_{out})`.

    This compromises between preserving the variance of activations and of gradients. Glorot,
    Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010,
    equation 12, who draw from `xavier_uniform`.
    """)
xavier_uniform = _specialize("xavier_uniform", 1.0, "fan_avg", "uniform", r"""
    Returns Xavier's (Glorot's) uniform initializer, on :math:`\pm \sqrt{6 / (n_{in} + n_{out})}`.

    It is the initializer of Glorot and Bengio (2010, equation 16) and the default of Keras.
    """)
he_normal = _specialize("he_normal", 2.0, "fan_in", "truncated_normal", r"""
    Returns He's (Kaiming's) truncated normal initializer, with variance :math:`2 / n_{in}`.

    It preserves the variance of activations under ReLU. Under a leaky ReLU of slope a the scale is
    `2 / (1 + a**2)`, and "fan_out" preserves the variance of gradients instead. He, Zhang, Ren,
    Sun, "Delving Deep into Rectifiers", 2015, section 2.2.

    >>> kernel = he_normal()(jax.random.key(0), (3, 3, 16, 512))
    >>> round(float(kernel.var() * 3 * 3 * 16), 1)
    2.0
    """)
he_uniform = _specialize("he_uniform", 2.0, "fan_in", "uniform", r"""
    Returns He's (Kaiming's) uniform initializer, on :math:`\pm \sqrt{6 / n_{in}}`.
    """)
# fmt: on
glorot_normal, glorot_uniform = xavier_normal, xavier_uniform
kaiming_normal, kaiming_uniform = he_normal, he_uniform
