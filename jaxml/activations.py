"""Activations: pure functions of an array, in its dtype; all but maxout keep its shape."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.types import Array, Bool, Float


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""The logistic function.

    .. math:: y = \frac{1}{1 + e^{-x}}

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype, in [0, 1].

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> sigmoid(jnp.array([-1e4, 0.0, 1e4])).tolist()
      [0.0, 0.5, 1.0]

    Source: the meaning of every library.
    """
    return jax.nn.sigmoid(_floating(x))


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""The hyperbolic tangent.

    .. math:: y = \frac{e^x - e^{-x}}{e^x + e^{-x}}

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype, in [-1, 1].

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> tanh(jnp.array([-1e4, 0.0, 1e4])).tolist()
      [-1.0, 0.0, 1.0]

    Source: the meaning of every library.
    """
    return jnp.tanh(_floating(x))


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Rectified linear unit.

    .. math:: y = \max(x, 0)

    Its derivative at 0 is taken to be 0.

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype, at least 0.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> relu(jnp.array([-2.0, 3.0])).tolist()
      [0.0, 3.0]

    Source: Nair, Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010; the
    meaning of every library.
    """
    return jax.nn.relu(_floating(x))


def relu6(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Rectified linear unit that ends at 6.

    .. math:: y = \min(\max(x, 0), 6)

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype, in [0, 6].

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> relu6(jnp.array([-2.0, 3.0, 7.0])).tolist()
      [0.0, 3.0, 6.0]

    Source: Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010; the meaning of every
    library.
    """
    return jax.nn.relu6(_floating(x))


def leaky_relu(
    x: Float[Array, "*shape"], *, negative_slope: float = 0.01
) -> Float[Array, "*shape"]:
    r"""Rectified linear unit with a small slope below 0.

    .. math:: y = x \ \text{for} \ x \ge 0, \ \text{else} \ a x

    Args:
      x: any shape, floating point.
      negative_slope: a. The default is that of PyTorch and JAX; Keras' function and `tf.nn` have
        0.2, Keras' layer 0.3.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> leaky_relu(jnp.array([-2.0, 3.0]), negative_slope=0.5).tolist()
      [-1.0, 3.0]

    Source: Maas, Hannun, Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models",
    2013.
    """
    return jax.nn.leaky_relu(_floating(x), negative_slope)


def prelu(
    x: Float[Array, "*batch channels"], slope: Float[Array, " channels"]
) -> Float[Array, "*batch channels"]:
    r"""Leaky ReLU whose slope is a parameter of each channel.

    .. math:: y_c = x_c \ \text{for} \ x_c \ge 0, \ \text{else} \ a_c x_c

    Args:
      x: `[..., channels]`, floating point.
      slope: a, `[channels]`, of x's dtype.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.
      ValueError: a slope of another shape.

    Example:
      >>> prelu(jnp.array([[-2.0, -2.0]]), jnp.array([0.25, 1.0])).tolist()
      [[-0.5, -2.0]]

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015. PyTorch has the channels in
    the second dimension; Keras has a slope for every entry unless axes are shared.
    """
    if not x.ndim or slope.shape != x.shape[-1:]:
        raise ValueError(f"slope: {x.shape[-1:]} for x {x.shape}, not {slope.shape}")
    return jax.nn.leaky_relu(_floating(x), jnp.broadcast_to(slope, x.shape))


def elu(x: Float[Array, "*shape"], *, alpha: float = 1.0) -> Float[Array, "*shape"]:
    r"""Exponential linear unit.

    .. math:: y = x \ \text{for} \ x > 0, \ \text{else} \ \alpha (e^x - 1)

    Args:
      x: any shape, floating point.
      alpha: minus the value at minus infinity; the slope jumps at 0 unless it is 1 (see `celu`).

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> elu(jnp.array([-1e4, 3.0]), alpha=2.0).tolist()
      [-2.0, 3.0]

    Source: Clevert, Unterthiner, Hochreiter, "Fast and Accurate Deep Network Learning by
    Exponential Linear Units", 2015; the meaning of every library.
    """
    return jax.nn.elu(_floating(x), alpha)


def selu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""ELU with constants for which mean 0 and variance 1 are a fixed point of a LeCun-normal net.

    .. math:: y = \lambda x \ \text{for} \ x > 0, \ \text{else} \ \lambda \alpha (e^x - 1)

    with lambda = 1.0507... and alpha = 1.6732...

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> [round(y, 4) for y in selu(jnp.array([-1e4, 1.0])).tolist()]
      [-1.7581, 1.0507]

    Source: Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", 2017; the
    meaning of every library.
    """
    return jax.nn.selu(_floating(x))


def celu(x: Float[Array, "*shape"], *, alpha: float = 1.0) -> Float[Array, "*shape"]:
    r"""ELU whose slope is 1 at 0 whatever alpha is.

    .. math:: y = \max(x, 0) + \alpha (e^{\min(x, 0) / \alpha} - 1)

    Args:
      x: any shape, floating point.
      alpha: minus the value at minus infinity, above 0.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.
      ValueError: an alpha of 0 or less.

    Example:
      >>> celu(jnp.array([-1e4, 3.0]), alpha=2.0).tolist()
      [-2.0, 3.0]

    Source: Barron, "Continuously Differentiable Exponential Linear Units", 2017; the meaning of
    every library.
    """
    if not alpha > 0:
        raise ValueError(f"alpha: above 0, not {alpha}")
    return jax.nn.celu(_floating(x), alpha)


def gelu(x: Float[Array, "*shape"], *, approximate: bool = False) -> Float[Array, "*shape"]:
    r"""Gaussian error linear unit.

    .. math:: y = x \, \Phi(x) = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right)

    or, approximately (the difference is below 5e-4),

    .. math::
        y = \frac{x}{2} \left(1 + \tanh\left(\sqrt{2 / \pi} \, (x + 0.044715 x^3)\right)\right)

    Args:
      x: any shape, floating point.
      approximate: whether the second form is meant. The default is that of PyTorch, Keras and
        `tf.nn`; `jax.nn.gelu` and Flax approximate unless told otherwise.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> [round(float(gelu(jnp.ones(()), approximate=form)), 4) for form in (False, True)]
      [0.8413, 0.8412]

    Source: Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016, section 2.
    """
    return _relu_beyond(40.0, functools.partial(jax.nn.gelu, approximate=approximate), x)


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Sigmoid linear unit, or swish.

    .. math:: y = \frac{x}{1 + e^{-x}}

    `swish` is this function.

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> silu(jnp.array([-1e4, 0.0, 1e4])).tolist()
      [0.0, 0.0, 10000.0]

    Source: Elfwing, Uchibe, Doya, "Sigmoid-Weighted Linear Units", 2017; the meaning of every
    library.
    """
    return _relu_beyond(1000.0, jax.nn.silu, x)


swish = silu


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""A smooth unit that is not monotonic, like SiLU.

    .. math:: y = x \tanh(\log(1 + e^x))

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> mish(jnp.array([-1e4, 0.0, 1e4])).tolist()
      [0.0, 0.0, 10000.0]

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019; the meaning
    of every library.
    """
    return _relu_beyond(1000.0, jax.nn.mish, x)


def hard_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""A sigmoid of three straight lines.

    .. math:: y = \min(\max(x + 3, 0), 6) / 6

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype, in [0, 1].

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> hard_sigmoid(jnp.array([-1e4, 0.0, 1e4])).tolist()
      [0.0, 0.5, 1.0]

    Source: Howard et al., "Searching for MobileNetV3", 2019; the meaning of JAX, PyTorch and
    Keras 3. Before, Keras had a slope of 0.2: `min(max(0.2 x + 0.5, 0), 1)`.
    """
    return jax.nn.hard_sigmoid(_floating(x))


def hard_silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""SiLU by the hard sigmoid.

    .. math:: y = x \min(\max(x + 3, 0), 6) / 6

    `hard_swish` is this function.

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> hard_silu(jnp.array([-1e4, 0.0, 1e4])).tolist()
      [0.0, 0.0, 10000.0]

    Source: as `hard_sigmoid`; the meaning of JAX, Keras 3 and PyTorch's `hardswish`.
    """
    return _relu_beyond(3.0, jax.nn.hard_silu, x)


hard_swish = hard_silu


def hard_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""A tanh of three straight lines.

    .. math:: y = \min(\max(x, -1), 1)

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype, in [-1, 1].

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> hard_tanh(jnp.array([-1e4, 0.5, 1e4])).tolist()
      [-1.0, 0.5, 1.0]

    Source: Collobert, "Large Scale Machine Learning", 2004; the meaning of every library.
    """
    return jax.nn.hard_tanh(_floating(x))


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""A smooth ReLU.

    .. math:: y = \log(1 + e^x)

    Args:
      x: any shape, floating point.

    Returns:
      x's shape and dtype, at least 0.

    Raises:
      TypeError: x is not floating point.

    Example:
      >>> softplus(jnp.array([-1e4, 1e4])).tolist()
      [0.0, 10000.0]

    Source: Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option
    Pricing", 2000; the meaning of JAX and Keras. PyTorch's is x itself above 20.
    """
    return jax.nn.softplus(_floating(x))


def softmax(
    x: Float[Array, "*shape"], *, axis: int = -1, where: Bool[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    r"""Probabilities from logits.

    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    Args:
      x: any shape, floating point.
      axis: the one along which the result sums to 1.
      where: of x's shape: the entries that count; the others become 0. None means all.

    Returns:
      x's shape and dtype, in [0, 1]; the sum is taken in float32 at least. Where no entry counts,
      all are 0; where one that counts is infinity, or all are minus infinity, all are NaN.

    Raises:
      TypeError: x is not floating point.
      ValueError: an axis that x has not, or a mask of another shape.

    Example:
      >>> softmax(jnp.array([1e4, 1e4, -1e4])).tolist()
      [0.5, 0.5, 0.0]

    Source: `jax.nn.softmax`; without a mask the meaning of every library.
    """
    return _normalised(jax.nn.softmax, x, axis, where)


def log_softmax(
    x: Float[Array, "*shape"], *, axis: int = -1, where: Bool[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    r"""Logarithms of the probabilities, finite where these underflow.

    .. math:: y_i = x_i - \log \sum_j e^{x_j}

    Args:
      x: any shape, floating point.
      axis: the one along which the probabilities sum to 1.
      where: of x's shape: the entries that count; the others become minus infinity. None means all.

    Returns:
      x's shape and dtype, at most 0; the sum is taken in float32 at least. NaN as in `softmax`.

    Raises:
      TypeError: x is not floating point.
      ValueError: an axis that x has not, or a mask of another shape.

    Example:
      >>> log_softmax(jnp.array([1e4, -1e4])).tolist()
      [0.0, -20000.0]

    Source: `jax.nn.log_softmax`; without a mask the meaning of every library.
    """
    return _normalised(jax.nn.log_softmax, x, axis, where)


def maxout(x: Float[Array, "*batch inputs"], pieces: int) -> Float[Array, "*batch features"]:
    r"""The largest of every few neighbouring channels: a convex function that is learned.

    .. math:: y_i = \max_{j < k} x_{k i + j}

    Args:
      x: `[..., features * pieces]`, floating point.
      pieces: k, how many channels make one feature; at least 1.

    Returns:
      `[..., features]` in x's dtype. Channels that tie share the gradient.

    Raises:
      TypeError: x is not floating point.
      ValueError: channels that do not divide into pieces.

    Example:
      >>> maxout(jnp.array([1.0, 3.0, -2.0, -5.0]), 2).tolist()
      [3.0, -2.0]

    Source: Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout Networks", 2013; the order
    of the channels is that of TensorFlow Addons.
    """
    if not x.ndim or pieces < 1 or x.shape[-1] % pieces:
        raise ValueError(f"pieces: a divisor of the last dimension of x {x.shape}, not {pieces}")
    return _floating(x).reshape(*x.shape[:-1], x.shape[-1] // pieces, pieces).max(axis=-1)


# Those of one argument, as a setting names them.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "celu": celu,
    "elu": elu,
    "gelu": gelu,
    "gelu_tanh": functools.partial(gelu, approximate=True),
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_swish,
    "hard_tanh": hard_tanh,
    "leaky_relu": leaky_relu,
    "log_softmax": log_softmax,
    "mish": mish,
    "relu": relu,
    "relu6": relu6,
    "selu": selu,
    "sigmoid": sigmoid,
    "silu": silu,
    "softmax": softmax,
    "softplus": softplus,
    "swish": swish,
    "tanh": tanh,
}


def _floating(x: Array) -> Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating point, not {x.dtype}")
    return x


def _relu_beyond(reach: float, function: Callable[[Array], Array], x: Array) -> Array:
    """Applies a function that equals ReLU to the last digit where `|x| >= reach`.

    At infinity, and where powers of x overflow, its formula and derivatives are products of 0 and
    infinity.
    """
    near = jnp.abs(_floating(x)) < reach
    return jnp.where(near, function(jnp.where(near, x, 0.0)), jax.nn.relu(x))


def _normalised(function: Callable[..., Array], x: Array, axis: int, where: Array | None) -> Array:
    """Along one axis of x that is there, in float32 at least."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis: from {-x.ndim} to {x.ndim - 1} for x {x.shape}, not {axis}")
    if where is not None and where.shape != x.shape:
        raise ValueError(f"where: {x.shape}, the shape of x, not {where.shape}")
    wide = _floating(x).astype(np.promote_types(x.dtype, np.float32))
    return function(wide, axis=axis, where=where).astype(x.dtype)
