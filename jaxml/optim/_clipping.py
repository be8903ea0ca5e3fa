"""Gradient clipping by norms that neither overflow nor underflow."""

import jax
import jax.numpy as jnp
import optax

from jaxml.layers import _norms
from jaxml.types import Array, PyTree


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
    r"""Clips updates by their global Euclidean norm.

    .. math:: g \leftarrow g \min(1,\ c / |g|)

    In `optax.clip_by_global_norm`, the norm of gradients near 1e20 overflows and the update becomes
    0; here it does not.

    Args:
      max_norm: the maximum norm :math:`c`.

    Reference: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
    2013.
    """

    def clip(updates: PyTree, params: PyTree) -> PyTree:
        del params
        small = _norms.tree_norm(updates) <= max_norm
        directions = _norms.tree_direction(updates)
        return jax.tree.map(
            lambda g, unit: jnp.where(small, g, (max_norm * unit).astype(g.dtype)),
            updates,
            directions,
        )

    return optax.stateless(clip)


def adaptive_grad_clip(clipping: float, eps: float = 1e-3) -> optax.GradientTransformation:
    r"""Clips the gradient of each unit to a fraction of the norm of its weights.

    .. math:: g_o \leftarrow g_o \min\Big(1,\ \lambda
        \frac{\max(|w_o|, \epsilon)}{|g_o|}\Big)

    A unit is one index of the last dimension, an output of a dense kernel `[in, out]` or of a
    convolution kernel `[*window, in, out]`. A vector or scalar (bias, scale) is one unit, as in the
    authors' code.

    `optax.adaptive_grad_clip` takes one norm over several units if a kernel has three dimensions,
    or a single dimension above 1, such as `[1, out]`. Its norms can also underflow and overflow;
    these do not.

    Args:
      clipping: the maximum ratio :math:`\lambda` of gradient norm to weight norm.
      eps: the minimum weight norm, so that zero weights can grow.

    Reference: Brock, De, Smith, Simonyan, "High-Performance Large-Scale Image Recognition Without
    Normalization", 2021, equation 3.
    """

    def clip_unit(g: Array, w: Array) -> Array:
        axes = tuple(range(w.ndim - 1)) if w.ndim > 1 else None
        limit = clipping * jnp.maximum(_norms.euclidean_norm(w, axes), eps)
        small = _norms.euclidean_norm(g, axes) <= limit
        clipped = (limit * _norms.direction(g, axes)).astype(g.dtype)
        return jnp.where(jnp.broadcast_to(small, g.shape), g, clipped)

    return optax.stateless(lambda updates, params: jax.tree.map(clip_unit, updates, params))
