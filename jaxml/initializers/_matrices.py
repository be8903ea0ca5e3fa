"""Initializers with the structure of a matrix: orthogonal or the identity."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxml.initializers._distributions import rounded
from jaxml.types import Array, Initializer, Key


def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    r"""Returns an initializer of uniformly distributed orthogonal matrices.

    .. math:: W^\top W = s^2 I \ \text{or} \ W W^\top = s^2 I, \qquad W \in \mathbb{R}^{m \times n}

    where n is the column dimension and m the product of the others; the smaller of the two has
    orthonormal rows or columns. A convolution with such a kernel does not preserve norms: see
    `delta_orthogonal`.

    Args:
      scale: s, the `gain` of PyTorch and Keras.
      column_axis: the axis that holds the columns.
      dtype: default dtype of the initializer.

    Example:
      >>> q = orthogonal(2.0)(jax.random.key(0), (6, 3))
      >>> bool(jnp.allclose(q.T @ q, 4 * jnp.eye(3), atol=1e-5))
      True

    Reference: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", 2013.
    """
    return rounded(jax.nn.initializers.orthogonal(scale, column_axis), dtype)


def delta_orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    r"""Returns an initializer of convolution kernels that preserve the norm of every pixel.

    .. math:: k_{m,:,:} = s \, Q, \quad Q Q^\top = I, \qquad k_{u,:,:} = 0 \ \text{for} \ u \ne m

    where the center m is `(size - 1) // 2`, which "SAME" padding aligns with the pixel itself.

    Args:
      scale: s.
      column_axis: the axis of the outputs.
      dtype: default dtype of the initializer.

    Returns:
      An initializer for kernels `[*window, in, out]` of one to three window dimensions and at least
      as many outputs as inputs.

    Reference: Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington, "Dynamical Isometry and a Mean
    Field Theory of CNNs", 2018.
    """
    return rounded(jax.nn.initializers.delta_orthogonal(scale, column_axis), dtype)


def identity(gain: float = 1.0, dtype: Any = None) -> Initializer:
    """Returns an initializer of `[in, out]` kernels that are a multiple of the identity matrix.

    Kernels that are not square are cut off or filled with zeros. See `dirac` for convolutions. This
    is neither the matrix of `jax.numpy.identity` nor the identity function `jax.nn.identity`.

    Args:
      gain: the value on the diagonal.
      dtype: default dtype of the initializer; any dtype.

    Example:
      >>> identity(2.0)(jax.random.key(0), (2, 3)).tolist()
      [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]

    Reference: Keras' `Identity` and PyTorch's `eye_`.
    """

    def init(key: Key, shape: Sequence[int], dtype: Any = dtype) -> Array:
        del key
        if len(shape) != 2:
            raise ValueError(f"`shape` must be [in, out], got {tuple(shape)}")
        eye = jnp.eye(*shape, dtype=dtype)
        return jnp.asarray(gain, eye.dtype) * eye

    return init


def dirac(*, groups: int = 1, dtype: Any = None) -> Initializer:
    r"""Returns an initializer of convolution kernels that copy input channels to output channels.

    .. math:: k_{u,i,o} = [u = m] \, [i = o \bmod C_{out}]

    where :math:`C_{out}` is the number of output channels of a group; those beyond its inputs are
    0. The center m is `size // 2`, which a padding of `size // 2` on both sides aligns with the
    pixel itself; "SAME" does so for odd sizes, and is one off for even ones.

    Args:
      groups: number of groups of a grouped or depthwise convolution.
      dtype: default dtype of the initializer; any dtype.

    Returns:
      An initializer for kernels `[*window, in / groups, out]` of one to three window dimensions.

    Reference: PyTorch's `dirac_`; Zagoruyko, Komodakis, "DiracNets", 2017.
    """

    def init(key: Key, shape: Sequence[int], dtype: Any = dtype) -> Array:
        del key
        if len(shape) not in (3, 4, 5):
            raise ValueError(
                "`shape` must be [*window, in, out] with 1 to 3 window dimensions, "
                f"got {tuple(shape)}"
            )
        *window, inputs, outputs = shape
        if groups < 1 or outputs % groups:
            raise ValueError(
                f"`groups` must divide the last dimension of {tuple(shape)}, got {groups}"
            )
        one_group = jnp.eye(inputs, outputs // groups, dtype=dtype)
        center = tuple(size // 2 for size in window)
        return jnp.zeros(shape, dtype).at[center].set(jnp.tile(one_group, (1, groups)))

    return init
