r"""Activation functions.

Every function takes a floating-point array of any shape and returns one of the same dtype;
integers raise `TypeError`. All but `softmax`, `log_softmax`, `prelu` and `maxout` are elementwise.

A name that `jax.nn` has takes the same arguments with the same defaults here, and returns the same
values, with three differences:

- `jax.nn` also accepts integers.
- `gelu`, `hard_silu`, `mish` and `silu`, and their derivatives, equal those of ReLU at infinity and
  where powers of x overflow; `jax.nn` returns NaN there.
- `softmax` and `log_softmax` compute in float32 at least and round the result to the dtype of x.

>>> relu(jnp.array([-2.0, 3.0])).tolist()
[0.0, 3.0]
>>> softmax(jnp.array([1e4, 1e4, -1e4])).tolist()
[0.5, 0.5, 0.0]
"""

import functools
from collections.abc import Callable, Sequence

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
Axes = int | Sequence[int] | None
Mask = Bool[Array, "..."] | None


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Computes the logistic function :math:`1 / (1 + e^{-x})`, in (0, 1)."""
    return jax.nn.sigmoid(_floating(x))


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Computes the hyperbolic tangent, in (-1, 1)."""
    return jnp.tanh(_floating(x))


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Rectified linear unit (Nair, Hinton 2010): :math:`\max(x, 0)`, with derivative 0 at 0."""
    return jax.nn.relu(_floating(x))


def relu6(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Rectified linear unit clipped at 6 (Krizhevsky 2010): :math:`\min(\max(x, 0), 6)`."""
    return jax.nn.relu6(_floating(x))


def leaky_relu(x: Float[Array, "*shape"], negative_slope: Scalar = 0.01) -> Float[Array, "*shape"]:
    """Leaky ReLU (Maas, Hannun, Ng 2013): x where x >= 0, and `negative_slope` times x otherwise.

    PyTorch has the same default slope; Keras' function and `tf.nn` use 0.2.
    """
    return jax.nn.leaky_relu(_floating(x), negative_slope)


def prelu(
    x: Float[Array, "*batch channels"], slope: Float[Array, " channels"]
) -> Float[Array, "*batch channels"]:
    """Leaky ReLU with a learned slope, in the dtype of x, for each channel (He et al. 2015).

    PyTorch has the channels in the second dimension; Keras learns a slope for every entry unless
    axes are shared.
    """
    if not x.ndim or slope.shape != x.shape[-1:]:
        raise ValueError(
            f"`slope` must have shape {x.shape[-1:]} for x of shape {x.shape}, got {slope.shape}"
        )
    return jax.nn.leaky_relu(_floating(x), jnp.broadcast_to(slope, x.shape))


def elu(x: Float[Array, "*shape"], alpha: Scalar = 1.0) -> Float[Array, "*shape"]:
    r"""Exponential linear unit: x where x > 0, and :math:`\alpha (e^x - 1)` otherwise.

    The derivative is discontinuous at 0 unless alpha is 1; see `celu`. Clevert, Unterthiner,
    Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units", 2015.
    """
    return jax.nn.elu(_floating(x), alpha)


def selu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scaled exponential linear unit: 1.0507... times `elu` with an alpha of 1.6732...

    With these constants, mean 0 and variance 1 are a fixed point of networks with LeCun-normal
    kernels. Klambauer et al., "Self-Normalizing Neural Networks", 2017.
    """
    return jax.nn.selu(_floating(x))


def celu(x: Float[Array, "*shape"], alpha: Scalar = 1.0) -> Float[Array, "*shape"]:
    r"""Continuously differentiable ELU: :math:`\max(x, 0) + \alpha (e^{\min(x, 0) / \alpha} - 1)`.

    `alpha` must be positive, which `jax.nn.celu` does not check. Barron, "Continuously
    Differentiable Exponential Linear Units", 2017.
    """
    if not isinstance(alpha, Tracer) and not alpha > 0:
        raise ValueError(f"`alpha` must be positive, got {alpha}")
    return jax.nn.celu(_floating(x), alpha)


def gelu(x: Float[Array, "*shape"], approximate: bool = True) -> Float[Array, "*shape"]:
    r"""Gaussian error linear unit.

    .. math:: y = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right) \approx
              \frac{x}{2} \left(1 + \tanh\left(\sqrt{2 / \pi} \, (x + 0.044715 x^3)\right)\right)

    The approximation is exact to 5e-4. It is the default of JAX and Flax; PyTorch, Keras and
    `tf.nn` compute the first formula (`approximate=False`). Hendrycks, Gimpel, "Gaussian Error
    Linear Units", 2016, section 2.
    """
    return _relu_beyond(40.0, functools.partial(jax.nn.gelu, approximate=approximate), x)


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Sigmoid linear unit (Elfwing, Uchibe, Doya 2017), or swish: :math:`x / (1 + e^{-x})`."""
    return _relu_beyond(1000.0, jax.nn.silu, x)


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Mish (Misra 2019): :math:`x \tanh(\log(1 + e^x))`."""
    return _relu_beyond(1000.0, jax.nn.mish, x)


def hard_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Piecewise linear approximation of the sigmoid: :math:`\min(\max(x + 3, 0), 6) / 6`.

    PyTorch and Keras 3 agree; earlier versions of Keras used a slope of 0.2. Howard et al.,
    "Searching for MobileNetV3", 2019.
    """
    return jax.nn.hard_sigmoid(_floating(x))


def hard_silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Piecewise approximation of SiLU, or hard swish: x times its `hard_sigmoid`."""
    return _relu_beyond(3.0, jax.nn.hard_silu, x)


def hard_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Piecewise linear approximation of tanh (Collobert 2004): :math:`\min(\max(x, -1), 1)`."""
    return jax.nn.hard_tanh(_floating(x))


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Smooth ReLU (Dugas et al. 2000): :math:`\log(1 + e^x)`. PyTorch's returns x above 20."""
    return jax.nn.softplus(_floating(x))


def softmax(
    x: Float[Array, "*shape"], axis: Axes = -1, where: Mask = None
) -> Float[Array, "*shape"]:
    r"""Computes :math:`e^{x_i} / \sum_j e^{x_j}`, probabilities from logits.

    Args:
      x: input array.
      axis: one axis or several along which the result sums to 1; None for all.
      where: mask that broadcasts to the shape of x. Masked entries are left out of the sum and
        become 0.

    Returns:
      Probabilities: all 0 if every entry is masked, all NaN if an unmasked entry is infinite or all
      of them are minus infinity.
    """
    return _in_float32(jax.nn.softmax, x, axis, where)


def log_softmax(
    x: Float[Array, "*shape"], axis: Axes = -1, where: Mask = None
) -> Float[Array, "*shape"]:
    r"""Computes :math:`x_i - \log \sum_j e^{x_j}`, finite where the probabilities underflow.

    The arguments are those of `softmax`; masked entries become minus infinity.
    """
    return _in_float32(jax.nn.log_softmax, x, axis, where)


def maxout(x: Float[Array, "*batch inputs"], pieces: int) -> Float[Array, "*batch features"]:
    r"""Computes the maximum of every `pieces` neighboring channels; ties share the gradient.

    .. math:: y_i = \max_{0 \le j < k} x_{k i + j}

    The channels are ordered as in TensorFlow Addons. Goodfellow et al., "Maxout Networks", 2013.

    >>> maxout(jnp.array([1.0, 3.0, -2.0, -5.0]), 2).tolist()
    [3.0, -2.0]
    """
    if not x.ndim or pieces < 1 or x.shape[-1] % pieces:
        raise ValueError(
            f"`pieces` must divide the last dimension of x of shape {x.shape}, got {pieces}"
        )
    return _floating(x).reshape(*x.shape[:-1], x.shape[-1] // pieces, pieces).max(axis=-1)


swish = silu
hard_swish = hard_silu

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


def _in_float32(function: Callable[..., Array], x: Array, axis: Axes, where: Mask) -> Array:
    """Applies a function in float32 at least, then rounds."""
    if where is not None:
        where = jnp.broadcast_to(where, x.shape)
    wide = _floating(x).astype(np.promote_types(x.dtype, np.float32))
    return function(wide, axis=axis, where=where).astype(x.dtype)
