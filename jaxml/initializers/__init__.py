"""Initial values of parameters: each public name is a factory of `(key, shape, dtype) -> array`.

Kernels are `[in, out]` or `[*window, in, out]` (HWIO in two dimensions), dtypes default to float32.
What is random is drawn in float32 at least and then rounded, because a draw in bfloat16 takes only
128 different values. One key gives one draw up to its scale, whatever the shape is made of.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.types import Array, Initializer, Key

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "truncated_normal", "uniform"]


def zeros() -> Initializer:
    """All zeros.

    Returns:
      An initializer for any shape and dtype.

    Example:
      >>> zeros()(jax.random.key(0), (2,)).tolist()
      [0.0, 0.0]
    """
    return constant(0.0)


def ones() -> Initializer:
    """All ones.

    Returns:
      An initializer for any shape and dtype.

    Example:
      >>> ones()(jax.random.key(0), (2,)).tolist()
      [1.0, 1.0]
    """
    return constant(1.0)


def constant(value: float) -> Initializer:
    """The same value everywhere.

    Args:
      value: a number.

    Returns:
      An initializer for any shape and dtype.

    Example:
      >>> constant(0.5)(jax.random.key(0), (2,)).tolist()
      [0.5, 0.5]
    """

    def fill(key: Key, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return jax.nn.initializers.constant(value)(key, shape, dtype)

    return fill


def normal(stddev: float) -> Initializer:
    r"""Normal with mean 0.

    .. math:: w \sim \mathcal{N}(0, \sigma^2)

    Args:
      stddev: sigma, at least 0. There is no default: it is 1 in PyTorch, 0.05 in Keras and 0.01 in
        `jax.nn.initializers`.

    Returns:
      An initializer for any shape.

    Raises:
      ValueError: a negative stddev.

    Example:
      >>> round(float(normal(2.0)(jax.random.key(0), (100, 100)).std()), 1)
      2.0
    """
    return _drawn(jax.nn.initializers.normal(_at_least_0("stddev", stddev)))


def uniform(lower: float, upper: float) -> Initializer:
    r"""Uniform between two bounds.

    .. math:: w \sim \mathcal{U}[a, b)

    Args:
      lower: a, the least value.
      upper: b, at least a, which is not drawn itself (unless it is a, or by rounding to bfloat16).

    Returns:
      An initializer for any shape.

    Raises:
      ValueError: bounds in the wrong order.

    Example:
      >>> draws = uniform(-1.0, 3.0)(jax.random.key(0), (100, 100))
      >>> round(float(draws.min()), 1), round(float(draws.max()), 1)
      (-1.0, 3.0)

    Source: the meaning of PyTorch's `uniform_` and Keras' `RandomUniform`;
    `jax.nn.initializers.uniform` has one bound and draws from [0, scale).
    """
    if not lower <= upper:
        raise ValueError(f"upper: at least lower, {lower}, not {upper}")

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        return jax.random.uniform(key, shape, dtype, lower, upper)

    return _drawn(draw)


def truncated_normal(stddev: float, *, lower: float = -2.0, upper: float = 2.0) -> Initializer:
    r"""Normal with mean 0, drawn again where it falls outside of two bounds.

    .. math:: w \sim \mathcal{N}(0, \sigma^2) \ \text{given} \ a \sigma < w < b \sigma

    Args:
      stddev: sigma before truncation, at least 0; at the default bounds the standard deviation of
        what is drawn is 0.8796 sigma.
      lower: a, in units of stddev.
      upper: b, in units of stddev, above a. Bounds beyond 5.4 stand for 5.4, the farthest value of
        a normal in float32, whose digits must also tell enough draws between the two apart.

    Returns:
      An initializer for any shape.

    Raises:
      ValueError: a negative stddev, bounds in the wrong order or too far from 0.

    Example:
      >>> draws = truncated_normal(1.0)(jax.random.key(0), (100, 100))
      >>> bool(abs(draws).max() < 2), round(float(draws.std()), 1)
      (True, 0.9)

    Source: the meaning of `jax.nn.initializers.truncated_normal` and of Keras' `TruncatedNormal`,
    whose bounds are fixed; the bounds of PyTorch's `trunc_normal_` are values, not multiples.
    """
    if not lower < upper:
        raise ValueError(f"upper: above lower, {lower}, not {upper}")
    # At an infinite bound JAX may draw the largest number of the dtype.
    a, b = max(lower, -5.4), min(upper, 5.4)
    start, end = (math.erf(bound / math.sqrt(2)) for bound in (a, b))
    if not end - start > 1e-4 * max(abs(start), abs(end)):
        raise ValueError(f"lower, upper: farther apart or nearer to 0, not {lower} and {upper}")
    stddev = _at_least_0("stddev", stddev)
    return _drawn(jax.nn.initializers.truncated_normal(stddev, lower=a, upper=b))


def variance_scaling(
    scale: float,
    mode: Mode,
    distribution: Distribution,
    *,
    in_axis: int = -2,
    out_axis: int = -1,
    groups: int = 1,
) -> Initializer:
    r"""Mean 0 and a variance that falls with the number of connections of a unit.

    .. math::
        \operatorname{Var} w = \frac{s}{n}, \qquad
        n_{in} = r \, C_{in}, \quad n_{out} = r \, C_{out}, \quad
        n_{avg} = \frac{n_{in} + n_{out}}{2}

    with the receptive field r, the product of all other dimensions of the kernel, and the channels
    C that one group joins. The last dimension of a grouped kernel holds the channels of all groups:
    `conv` has `[*window, in / groups, out]`, where each input reaches `out / groups` outputs, and
    `conv_transpose` has `[*window, out / groups, in]`, where each output sees `in / groups` inputs;
    so it is divided by the groups, whichever of the two it is. The kernels of `conv_transpose`,
    which are those of Keras and `tf.nn`, need `in_axis=-1, out_axis=-2`. Strides are not counted.

    Args:
      scale: s, above 0.
      mode: which n: "fan_in", "fan_out" or "fan_avg".
      distribution: "normal", "truncated_normal" (at two standard deviations, widened so that the
        variance is right) or "uniform" (between `-sqrt(3 s / n)` and `sqrt(3 s / n)`).
      in_axis: the dimension of the input channels.
      out_axis: the dimension of the output channels.
      groups: of a grouped or depthwise convolution. Kernels of `conv` have the same "fan_in", and
        those of `conv_transpose` the same "fan_out", whatever it is.

    Returns:
      An initializer for kernels of at least two dimensions, none of them empty.

    Raises:
      ValueError: a scale of 0 or less, an unknown mode or distribution; from the initializer, a
        shape without these axes, or a last dimension that does not divide into groups.

    Example:
      >>> kernel = variance_scaling(3.0, "fan_out", "uniform")(jax.random.key(0), (5, 5, 8, 64))
      >>> round(float(kernel.var() * 5 * 5 * 64), 1)
      3.0

    Source: `jax.nn.initializers.variance_scaling`, to which groups are added. Without groups the
    fans are those of PyTorch and Keras, which count the channels of all groups of a grouped kernel,
    and which call `in` what is the second to last (Keras) or second (PyTorch) dimension even where
    the convolution is transposed.
    """
    if not scale > 0:
        raise ValueError(f"scale: above 0, not {scale}")
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ValueError(f"mode: 'fan_in', 'fan_out' or 'fan_avg', not {mode!r}")
    if distribution not in ("normal", "truncated_normal", "uniform"):
        raise ValueError(
            f"distribution: 'normal', 'truncated_normal' or 'uniform', not {distribution!r}"
        )

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        before, after = _axes(shape, in_axis, out_axis)
        last = len(shape) - 1
        if groups != 1 and last not in (before, after):
            raise ValueError(
                f"groups: 1 where neither in_axis={in_axis} nor out_axis={out_axis} is the last of "
                f"{tuple(shape)}, not {groups}"
            )
        # Fans are those of one group: the groups become an axis of their own, which is not counted.
        grouped = (*shape[:last], groups, _channels_of_a_group(shape[last], groups))
        axes = {"in_axis": before + (before == last), "out_axis": after + (after == last)}
        scaled = jax.nn.initializers.variance_scaling(
            scale, mode, distribution, **axes, batch_axis=last
        )
        return scaled(key, grouped, dtype).reshape(tuple(shape))

    return _drawn(draw)


def lecun_normal(*, in_axis: int = -2, out_axis: int = -1, groups: int = 1) -> Initializer:
    r"""Normal with variance 1 / fan_in, which keeps the variance through linear layers and SELU.

    .. math:: w \sim \mathcal{N}(0, 1 / n_{in})

    The normal is not truncated; Keras and `jax.nn.initializers.lecun_normal` truncate it, as
    `variance_scaling(1.0, "fan_in", "truncated_normal")` does here.

    Args:
      in_axis: as in `variance_scaling`.
      out_axis: as in `variance_scaling`.
      groups: as in `variance_scaling`; kernels of `conv` do not depend on it.

    Returns:
      An initializer for kernels.

    Example:
      >>> kernel = lecun_normal()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      1.0

    Source: LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998, equation 16.
    """
    return variance_scaling(
        1.0, "fan_in", "normal", in_axis=in_axis, out_axis=out_axis, groups=groups
    )


def lecun_uniform(*, in_axis: int = -2, out_axis: int = -1, groups: int = 1) -> Initializer:
    r"""Uniform with variance 1 / fan_in.

    .. math:: w \sim \mathcal{U}[-\ell, \ell), \quad \ell = \sqrt{3 / n_{in}}

    Args:
      in_axis: as in `variance_scaling`.
      out_axis: as in `variance_scaling`.
      groups: as in `variance_scaling`; kernels of `conv` do not depend on it.

    Returns:
      An initializer for kernels.

    Example:
      >>> kernel = lecun_uniform()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      1.0

    Source: as `lecun_normal`; the meaning of Keras and `jax.nn.initializers`. PyTorch's default for
    its linear and convolution layers has a third of this variance.
    """
    return variance_scaling(
        1.0, "fan_in", "uniform", in_axis=in_axis, out_axis=out_axis, groups=groups
    )


def xavier_normal(*, in_axis: int = -2, out_axis: int = -1, groups: int = 1) -> Initializer:
    r"""Normal with variance 2 / (fan_in + fan_out): between what values and gradients ask for.

    .. math:: w \sim \mathcal{N}\left(0, \frac{2}{n_{in} + n_{out}}\right)

    The normal is not truncated, as in PyTorch's `xavier_normal_`; Keras and
    `jax.nn.initializers.glorot_normal` truncate it, as
    `variance_scaling(1.0, "fan_avg", "truncated_normal")` does here. `glorot_normal` is this
    function.

    Args:
      in_axis: as in `variance_scaling`.
      out_axis: as in `variance_scaling`.
      groups: as in `variance_scaling`.

    Returns:
      An initializer for kernels.

    Example:
      >>> kernel = xavier_normal()(jax.random.key(0), (3, 3, 64, 128))
      >>> round(float(kernel.var() * 3 * 3 * (64 + 128) / 2), 1)
      1.0

    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 12.
    """
    return variance_scaling(
        1.0, "fan_avg", "normal", in_axis=in_axis, out_axis=out_axis, groups=groups
    )


def xavier_uniform(*, in_axis: int = -2, out_axis: int = -1, groups: int = 1) -> Initializer:
    r"""Uniform with variance 2 / (fan_in + fan_out).

    .. math:: w \sim \mathcal{U}[-\ell, \ell), \quad \ell = \sqrt{\frac{6}{n_{in} + n_{out}}}

    `glorot_uniform` is this function.

    Args:
      in_axis: as in `variance_scaling`.
      out_axis: as in `variance_scaling`.
      groups: as in `variance_scaling`.

    Returns:
      An initializer for kernels.

    Example:
      >>> kernel = xavier_uniform()(jax.random.key(0), (3, 3, 64, 128))
      >>> round(float(kernel.var() * 3 * 3 * (64 + 128) / 2), 1)
      1.0

    Source: as `xavier_normal`, equation 16; the meaning of PyTorch, Keras (whose default it is) and
    `jax.nn.initializers`.
    """
    return variance_scaling(
        1.0, "fan_avg", "uniform", in_axis=in_axis, out_axis=out_axis, groups=groups
    )


glorot_normal = xavier_normal
glorot_uniform = xavier_uniform


def he_normal(*, in_axis: int = -2, out_axis: int = -1, groups: int = 1) -> Initializer:
    r"""Normal with variance 2 / fan_in, which keeps the variance of activations under ReLU.

    .. math:: w \sim \mathcal{N}(0, 2 / n_{in}), \quad n_{in} = \text{receptive field} \cdot C_{in}

    The normal is not truncated, as in the paper and in PyTorch's `kaiming_normal_`; Keras and
    `jax.nn.initializers.he_normal` truncate it at two standard deviations, as
    `variance_scaling(2.0, "fan_in", "truncated_normal")` does here. Under a leaky ReLU of slope a
    the scale is `2 / (1 + a ** 2)`; to keep gradients instead of values, the mode is "fan_out".

    Args:
      in_axis: as in `variance_scaling`.
      out_axis: as in `variance_scaling`.
      groups: as in `variance_scaling`; kernels of `conv` do not depend on it.

    Returns:
      An initializer for kernels.

    Example:
      >>> kernel = he_normal()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      2.0

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, section 2.2.
    """
    return variance_scaling(
        2.0, "fan_in", "normal", in_axis=in_axis, out_axis=out_axis, groups=groups
    )


def he_uniform(*, in_axis: int = -2, out_axis: int = -1, groups: int = 1) -> Initializer:
    r"""Uniform with variance 2 / fan_in.

    .. math:: w \sim \mathcal{U}[-\ell, \ell), \quad \ell = \sqrt{6 / n_{in}}

    Args:
      in_axis: as in `variance_scaling`.
      out_axis: as in `variance_scaling`.
      groups: as in `variance_scaling`; kernels of `conv` do not depend on it.

    Returns:
      An initializer for kernels.

    Example:
      >>> kernel = he_uniform()(jax.random.key(0), (3, 3, 16, 512))
      >>> round(float(kernel.var() * 3 * 3 * 16), 1)
      2.0

    Source: as `he_normal`; the meaning of PyTorch's `kaiming_uniform_`, Keras and
    `jax.nn.initializers`.
    """
    return variance_scaling(
        2.0, "fan_in", "uniform", in_axis=in_axis, out_axis=out_axis, groups=groups
    )


def orthogonal(scale: float = 1.0) -> Initializer:
    r"""A random orthogonal matrix, uniform among all of them, which keeps every length.

    .. math:: W^\top W = s^2 I \ \text{or} \ W W^\top = s^2 I, \qquad W \in \mathbb{R}^{m \times n}

    where n is the last dimension and m the product of the others; the smaller of the two has
    orthonormal rows or columns. A convolution by such a kernel does not keep lengths: see
    `delta_orthogonal`.

    Args:
      scale: s, PyTorch's and Keras' `gain`.

    Returns:
      An initializer for kernels of at least two dimensions.

    Raises:
      ValueError: from the initializer, a shape of fewer dimensions.

    Example:
      >>> q = orthogonal(2.0)(jax.random.key(0), (6, 3))
      >>> bool(jnp.allclose(q.T @ q, 4 * jnp.eye(3), atol=1e-5))
      True

    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", 2013; the meaning of `jax.nn.initializers` and Keras, and of
    PyTorch's `orthogonal_` for its kernels, whose first dimension is the output.
    """

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        if len(shape) < 2:
            raise ValueError(f"shape: at least two dimensions, not {tuple(shape)}")
        return jax.nn.initializers.orthogonal(scale)(key, shape, dtype)

    return _drawn(draw)


def delta_orthogonal(scale: float = 1.0) -> Initializer:
    r"""A random orthogonal matrix at the middle of a convolution's window, zeros elsewhere.

    .. math:: k_{m,:,:} = s \, Q, \quad Q Q^\top = I, \qquad k_{u,:,:} = 0 \ \text{for} \ u \ne m

    so that the convolution keeps the length of every pixel. The middle m is `(size - 1) // 2`,
    which "SAME" padding puts onto the pixel itself.

    Args:
      scale: s.

    Returns:
      An initializer for kernels `[*window, in, out]` of one to three window dimensions and no more
      inputs than outputs.

    Raises:
      ValueError: from the initializer, another shape.

    Example:
      >>> k = delta_orthogonal()(jax.random.key(0), (3, 3, 2, 4))
      >>> bool(jnp.allclose(k[1, 1] @ k[1, 1].T, jnp.eye(2), atol=1e-6)), float(abs(k[0]).max())
      (True, 0.0)

    Source: Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington, "Dynamical Isometry and a Mean
    Field Theory of CNNs", 2018; `jax.nn.initializers.delta_orthogonal`.
    """

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        if len(shape) not in (3, 4, 5) or shape[-2] > shape[-1]:
            raise ValueError(
                "shape: [*window, in, out] with 1 to 3 window dimensions and in <= out, "
                f"not {tuple(shape)}"
            )
        return jax.nn.initializers.delta_orthogonal(scale)(key, shape, dtype)

    return _drawn(draw)


def identity(gain: float = 1.0) -> Initializer:
    r"""The identity matrix, cut or filled with zeros where it is not square.

    .. math:: w_{io} = g \, [i = o]

    Args:
      gain: g.

    Returns:
      An initializer for kernels `[in, out]`, of any dtype.

    Raises:
      ValueError: from the initializer, a shape that has not two dimensions.

    Example:
      >>> identity(2.0)(jax.random.key(0), (2, 3)).tolist()
      [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]

    Source: the meaning of Keras' `Identity` and PyTorch's `eye_`. For convolutions see `dirac`.
    """

    def fill(key: Key, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        del key
        if len(shape) != 2:
            raise ValueError(f"shape: [in, out], not {tuple(shape)}")
        return jnp.asarray(gain, dtype) * jnp.eye(*shape, dtype=dtype)

    return fill


def dirac(*, groups: int = 1) -> Initializer:
    r"""A convolution that passes its input on, channel by channel.

    .. math:: k_{u,i,o} = [u = m] \, [i = o \bmod C_{out}]

    where C_out is the number of output channels of one group; those beyond its inputs are 0. The
    middle m is `size // 2`, which explicit padding of `size // 2` on every side puts onto the pixel
    itself; "SAME" does so for odd sizes, and is one off for even ones.

    Args:
      groups: of a grouped or depthwise convolution.

    Returns:
      An initializer for kernels `[*window, in / groups, out]` with one to three window dimensions,
      of any dtype.

    Raises:
      ValueError: from the initializer, another rank, or output channels that do not divide into
        groups.

    Example:
      >>> dirac()(jax.random.key(0), (3, 2, 2))[1].tolist()
      [[1.0, 0.0], [0.0, 1.0]]

    Source: the meaning of PyTorch's `dirac_`; Zagoruyko, Komodakis, "DiracNets", 2017.
    """

    def fill(key: Key, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        del key
        if len(shape) not in (3, 4, 5):
            raise ValueError(
                f"shape: [*window, in, out] with 1 to 3 window dimensions, not {tuple(shape)}"
            )
        *window, inputs, outputs = shape
        one_group = jnp.eye(inputs, _channels_of_a_group(outputs, groups), dtype=dtype)
        middle = tuple(size // 2 for size in window)
        return jnp.zeros(shape, dtype).at[middle].set(jnp.tile(one_group, (1, groups)))

    return fill


def sparse(sparsity: float, *, stddev: float = 0.01) -> Initializer:
    r"""Normal, with the same number of zeros among the weights into every output.

    .. math:: \#\{i : w_{io} = 0\} = \lceil s \, n_{in} \rceil \ \text{for every} \ o

    Which of them are zero is drawn for every output anew.

    Args:
      sparsity: s, the fraction of zeros, in [0, 1].
      stddev: standard deviation of the others, at least 0.

    Returns:
      An initializer for kernels `[in, out]`.

    Raises:
      ValueError: sparsity or stddev out of range; from the initializer, a shape that has not two
        dimensions.

    Example:
      >>> (sparse(0.75)(jax.random.key(0), (8, 3)) == 0).sum(axis=0).tolist()
      [6, 6, 6]

    Source: Martens, "Deep learning via Hessian-free optimization", 2010, section 5. PyTorch's
    `sparse_` counts along the same first dimension, which is the output in its kernels.
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity: in [0, 1], not {sparsity}")
    values = jax.nn.initializers.normal(_at_least_0("stddev", stddev))

    def draw(key: Key, shape: Sequence[int], dtype: Any) -> Array:
        if len(shape) != 2:
            raise ValueError(f"shape: [in, out], not {tuple(shape)}")
        values_key, ranks_key = jax.random.split(key)
        ranks = jnp.broadcast_to(jnp.arange(shape[0])[:, None], shape)
        ranks = jax.random.permutation(ranks_key, ranks, axis=0, independent=True)
        kept = ranks >= math.ceil(sparsity * shape[0])
        return jnp.where(kept, values(values_key, shape, dtype), 0)

    return _drawn(draw)


def _drawn(draw: Any) -> Initializer:
    """Draws in float32 at least, then rounds."""

    def init(key: Key, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"dtype: floating point, not {np.dtype(dtype)}")
        shape = tuple(shape)
        return draw(key, shape, np.promote_types(dtype, np.float32)).astype(dtype)

    return init


def _at_least_0(name: str, value: float) -> float:
    if not value >= 0:
        raise ValueError(f"{name}: at least 0, not {value}")
    return value


def _axes(shape: Sequence[int], in_axis: int, out_axis: int) -> tuple[int, int]:
    """The two axes, counted from the front."""
    rank = len(shape)
    fits = all(-rank <= axis < rank for axis in (in_axis, out_axis)) and 0 not in shape
    if not fits or in_axis % rank == out_axis % rank:
        raise ValueError(
            f"shape: no empty dimension, and two axes in_axis={in_axis} and out_axis={out_axis}, "
            f"not {tuple(shape)}"
        )
    return in_axis % rank, out_axis % rank


def _channels_of_a_group(channels: int, groups: int) -> int:
    if groups < 1 or channels % groups:
        raise ValueError(f"groups: a divisor of the last dimension, {channels}, not {groups}")
    return channels // groups
