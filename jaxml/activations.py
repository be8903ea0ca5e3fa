r"""Activation functions.

Every function takes a floating-point array of any shape and returns one of the same dtype;
integers raise `TypeError`. All but `softmax`, `log_softmax`, `prelu` and `maxout` act elementwise.

A name that `jax.nn` has takes the same arguments with the same defaults here, and returns the same
values, with three differences:

- `jax.nn` also accepts integers.
- `gelu`, `hard_silu`, `mish` and `silu`, and their derivatives, equal those of ReLU at infinity and
  where powers of x overflow; `jax.nn` returns NaN there.
- `softmax` and `log_softmax` compute in float32 at least and round the result to the dtype of x.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxml.types import Array, Bool, Float

__all__ = [
    "ACTIVATIONS", "celu", "elu", "gelu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "log_softmax", "maxout", "mish", "prelu", "relu", "relu6", "selu", "sigmoid",
    "silu", "softmax", "softplus", "swish", "tanh",
]  # fmt: skip

Scalar = float | Float[Array, ""]


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Computes the logistic function :math:`1 / (1 + e^{-x})`.

    >>> sigmoid(jnp.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.5, 1.0]
    """
    return jax.nn.sigmoid(_floating(x))


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Computes the hyperbolic tangent.

    >>> tanh(jnp.array([-1e4, 0.0, 1e4])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return jnp.tanh(_floating(x))


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Rectified linear unit: :math:`\max(x, 0)`, with derivative 0 at 0.

    >>> relu(jnp.array([-2.0, 3.0])).tolist()
    [0.0, 3.0]

    Reference: Nair, Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.
    """
    return jax.nn.relu(_floating(x))


def relu6(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Rectified linear unit clipped at 6: :math:`\min(\max(x, 0), 6)`.

    >>> relu6(jnp.array([-2.0, 3.0, 7.0])).tolist()
    [0.0, 3.0, 6.0]

    Reference: Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010.
    """
    return jax.nn.relu6(_floating(x))


def leaky_relu(x: Float[Array, "*shape"], negative_slope: Scalar = 0.01) -> Float[Array, "*shape"]:
    """Leaky rectified linear unit: x where x >= 0, and `negative_slope` times x otherwise.

    The default slope is the one of JAX and PyTorch; Keras' function and `tf.nn` use 0.2.

    >>> leaky_relu(jnp.array([-2.0, 3.0]), negative_slope=0.5).tolist()
    [-1.0, 3.0]

    Reference: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic
    Models", 2013.
    """
    return jax.nn.leaky_relu(_floating(x), negative_slope)


def prelu(
    x: Float[Array, "*batch channels"], slope: Float[Array, " channels"]
) -> Float[Array, "*batch channels"]:
    """Leaky ReLU with a learned slope for each channel.

    Args:
      x: `[..., channels]`.
      slope: `[channels]`, in the dtype of x. PyTorch has the channels in the second dimension;
        Keras learns a slope for every entry unless axes are shared.

    >>> prelu(jnp.array([[-2.0, -2.0]]), jnp.array([0.25, 1.0])).tolist()
    [[-0.5, -2.0]]

    Reference: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.
    """
    if not x.ndim or slope.shape != x.shape[-1:]:
        raise ValueError(
            f"`slope` must have shape {x.shape[-1:]} for x of shape {x.shape}, got {slope.shape}"
        )
    return jax.nn.leaky_relu(_floating(x), jnp.broadcast_to(slope, x.shape))


def elu(x: Float[Array, "*shape"], alpha: Scalar = 1.0) -> Float[Array, "*shape"]:
    r"""Exponential linear unit: x where x > 0, and :math:`\alpha (e^x - 1)` otherwise.

    The derivative is discontinuous at 0 unless alpha is 1; see `celu`.

    >>> elu(jnp.array([-1e4, 3.0]), alpha=2.0).tolist()
    [-2.0, 3.0]

    Reference: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by
    Exponential Linear Units", 2015.
    """
    return jax.nn.elu(_floating(x), alpha)


def selu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scaled exponential linear unit: 1.0507... times `elu` with an alpha of 1.6732...

    With these constants, mean 0 and variance 1 are a fixed point of networks with LeCun-normal
    kernels.

    >>> [round(y, 4) for y in selu(jnp.array([-1e4, 1.0])).tolist()]
    [-1.7581, 1.0507]

    Reference: Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """
    return jax.nn.selu(_floating(x))


def celu(x: Float[Array, "*shape"], alpha: Scalar = 1.0) -> Float[Array, "*shape"]:
    r"""Continuously differentiable ELU: :math:`\max(x, 0) + \alpha (e^{\min(x, 0) / \alpha} - 1)`.

    `alpha` must be positive, which `jax.nn.celu` does not check.

    >>> celu(jnp.array([-1e4, 3.0]), alpha=2.0).tolist()
    [-2.0, 3.0]

    Reference: Barron, "Continuously Differentiable Exponential Linear Units", 2017.
    """
    if not isinstance(alpha, Tracer) and not alpha > 0:
        raise ValueError(f"`alpha` must be positive, got {alpha}")
    return jax.nn.celu(_floating(x), alpha)


def gelu(x: Float[Array, "*shape"], approximate: bool = True) -> Float[Array, "*shape"]:
    r"""Gaussian error linear unit.

    .. math:: y = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right) \approx
              \frac{x}{2} \left(1 + \tanh\left(\sqrt{2 / \pi} \, (x + 0.044715 x^3)\right)\right)

    The approximation is exact to 5e-4. It is the default of JAX and Flax; PyTorch, Keras and
    `tf.nn` compute the first formula (`approximate=False`).

    >>> [round(float(gelu(jnp.ones(()), approximate=form)), 4) for form in (False, True)]
    [0.8413, 0.8412]

    Reference: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2.
    """
    return _relu_beyond(40.0, functools.partial(jax.nn.gelu, approximate=approximate), x)


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Sigmoid linear unit, also called swish: :math:`x / (1 + e^{-x})`.

    >>> silu(jnp.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.0, 10000.0]

    Reference: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units", 2017.
    """
    return _relu_beyond(1000.0, jax.nn.silu, x)


swish = silu


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Mish: :math:`x \tanh(\log(1 + e^x))`.

    >>> mish(jnp.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.0, 10000.0]

    Reference: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019.
    """
    return _relu_beyond(1000.0, jax.nn.mish, x)


def hard_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Piecewise linear approximation of the sigmoid: :math:`\min(\max(x + 3, 0), 6) / 6`.

    JAX, PyTorch and Keras 3 agree; earlier versions of Keras used a slope of 0.2.

    >>> hard_sigmoid(jnp.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.5, 1.0]

    Reference: Howard et al., "Searching for MobileNetV3", 2019.
    """
    return jax.nn.hard_sigmoid(_floating(x))


def hard_silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Piecewise approximation of SiLU, also called hard swish: x times its `hard_sigmoid`.

    >>> hard_silu(jnp.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.0, 10000.0]
    """
    return _relu_beyond(3.0, jax.nn.hard_silu, x)


hard_swish = hard_silu


def hard_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Piecewise linear approximation of tanh: :math:`\min(\max(x, -1), 1)`.

    >>> hard_tanh(jnp.array([-1e4, 0.5, 1e4])).tolist()
    [-1.0, 0.5, 1.0]

    Reference: Collobert, "Large Scale Machine Learning", 2004.
    """
    return jax.nn.hard_tanh(_floating(x))


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Smooth approximation of ReLU: :math:`\log(1 + e^x)`.

    JAX and Keras agree; PyTorch returns x above 20.

    >>> softplus(jnp.array([-1e4, 1e4])).tolist()
    [0.0, 10000.0]

    Reference: Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option
    Pricing", 2000.
    """
    return jax.nn.softplus(_floating(x))


def softmax(
    x: Float[Array, "*shape"],
    axis: int | Sequence[int] | None = -1,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "*shape"]:
    r"""Computes :math:`e^{x_i} / \sum_j e^{x_j}`, probabilities from logits.

    Args:
      x: input array.
      axis: one axis or several along which the result sums to 1; None for all.
      where: mask that broadcasts to the shape of x; the other entries are left out of the sum and
        become 0.

    Returns:
      Probabilities. Where no entry is kept, all are 0; where a kept entry is infinity, or all are
      minus infinity, all are NaN.

    >>> softmax(jnp.array([1e4, 1e4, -1e4])).tolist()
    [0.5, 0.5, 0.0]
    """
    return _in_float32(jax.nn.softmax, x, axis, where)


def log_softmax(
    x: Float[Array, "*shape"],
    axis: int | Sequence[int] | None = -1,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "*shape"]:
    r"""Computes :math:`x_i - \log \sum_j e^{x_j}`, finite where the probabilities underflow.

    Args:
      x: input array.
      axis: as in `softmax`.
      where: as in `softmax`; the other entries become minus infinity.

    >>> log_softmax(jnp.array([1e4, -1e4])).tolist()
    [0.0, -20000.0]
    """
    return _in_float32(jax.nn.log_softmax, x, axis, where)


def maxout(x: Float[Array, "*batch inputs"], pieces: int) -> Float[Array, "*batch features"]:
    r"""Computes the maximum of every `pieces` neighboring channels.

    .. math:: y_i = \max_{0 \le j < k} x_{k i + j}

    Args:
      x: `[..., features * pieces]`, in the channel order of TensorFlow Addons.
      pieces: number of channels k that make one feature.

    Returns:
      `[..., features]`. Channels that tie share the gradient.

    >>> maxout(jnp.array([1.0, 3.0, -2.0, -5.0]), 2).tolist()
    [3.0, -2.0]

    Reference: Goodfellow et al., "Maxout Networks", 2013.
    """
    if not x.ndim or pieces < 1 or x.shape[-1] % pieces:
        raise ValueError(
            f"`pieces` must divide the last dimension of x of shape {x.shape}, got {pieces}"
        )
    return _floating(x).reshape(*x.shape[:-1], x.shape[-1] // pieces, pieces).max(axis=-1)


# Functions of one argument, by the name that a config gives.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    function.__name__: function
    for function in (
        celu, elu, gelu, hard_sigmoid, hard_silu, hard_tanh, leaky_relu, log_softmax, mish, relu,
        relu6, selu, sigmoid, silu, softmax, softplus, tanh,
    )
}  # fmt: skip
ACTIVATIONS |= {
    "gelu_exact": functools.partial(gelu, approximate=False),
    "hard_swish": hard_swish,
    "swish": swish,
}


def _floating(x: Array) -> Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"`x` must be floating-point, got {x.dtype}")
    return x


def _relu_beyond(reach: float, function: Callable[[Array], Array], x: Array) -> Array:
    """Applies a function that rounds to ReLU where `|x| >= reach`.

    At infinity, and where powers of x overflow, its formula and derivatives multiply 0 by infinity.
    """
    near = jnp.abs(_floating(x)) < reach
    return jnp.where(near, function(jnp.where(near, x, 0.0)), jax.nn.relu(x))


def _in_float32(function: Callable[..., Array], x: Array, axis: object, where: Any) -> Array:
    """Applies a function in float32 at least, then rounds."""
    if where is not None:
        where = jnp.broadcast_to(where, x.shape)
    wide = _floating(x).astype(np.promote_types(x.dtype, np.float32))
    return function(wide, axis=axis, where=where).astype(x.dtype)
