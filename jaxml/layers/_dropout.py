"""Dropout: random zeros in training, the identity in evaluation, the same mean in both.

The four functions differ in what is dropped together: entries, channels, blocks, examples. Each
takes one key for all of x; `vmap` over keys and examples draws for each example apart.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxml.types import Array, Float, Key

Probability = float | Float[Array, ""]


def dropout(
    key: Key, x: Float[Array, "*shape"], *, keep_prob: Probability, train: bool
) -> Float[Array, "*shape"]:
    r"""Inverted dropout: each entry is kept, and made larger, or set to zero.

    .. math:: y_i = x_i m_i / p, \qquad m_i \sim \mathrm{Bernoulli}(p)

    The gradient is that of a product with a constant: :math:`m_i / p`.

    Args:
      key: a PRNG key; the same key draws the same mask in every dtype.
      x: any shape.
      keep_prob: p in (0, 1], the share that is kept; a scalar array may be traced.
      train: whether to drop; False returns x.

    Returns:
      x's shape and dtype. The quotient is rounded once, from float32 at least, so that the mean
      is x in bfloat16 too.

    Raises:
      TypeError: x is not floating-point.
      ValueError: keep_prob outside (0, 1], where its value is known.

    Example:
      >>> dropout(jax.random.key(0), jnp.ones(6), keep_prob=0.5, train=True).tolist()
      [0.0, 0.0, 2.0, 2.0, 0.0, 2.0]

    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    2014, in the inverted form of its section 10. `keep_prob` is TensorFlow 1's; PyTorch, Keras and
    Flax take the share that is dropped, `1 - keep_prob`.
    """
    if _is_identity(x, keep_prob, train):
        return x
    return _drop(key, x, x.shape, keep_prob)


def spatial_dropout(
    key: Key,
    x: Float[Array, "*shape"],
    *,
    keep_prob: Probability,
    train: bool,
    spatial_dims: int = 2,
) -> Float[Array, "*shape"]:
    """Dropout of whole channels: neighbouring pixels, which are alike, are dropped together.

    Args:
      key: a PRNG key.
      x: `[..., height, width, channels]`, or as many spatial dimensions as `spatial_dims` says.
      keep_prob: the share of channels that is kept, in (0, 1]; the kept are divided by it.
      train: whether to drop; False returns x.
      spatial_dims: dimensions between the leading ones and the channels, at least 0.

    Returns:
      x's shape and dtype; every channel of every example is drawn apart.

    Raises:
      TypeError: x is not floating-point.
      ValueError: keep_prob outside (0, 1], or fewer dimensions than the spatial and the channels.

    Example:
      >>> x = jnp.ones((2, 2, 4))
      >>> spatial_dropout(jax.random.key(0), x, keep_prob=0.5, train=True)[0].tolist()
      [[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]]

    Source: Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015,
    section 3.2; PyTorch's Dropout2d and Keras' SpatialDropout2D, both of which take the share that
    is dropped.
    """
    if not 0 <= spatial_dims < x.ndim:
        raise ValueError(f"spatial_dims: 0 to {x.ndim - 1} for x {x.shape}, not {spatial_dims}")
    if _is_identity(x, keep_prob, train):
        return x
    lead = x.shape[: x.ndim - spatial_dims - 1]
    return _drop(key, x, (*lead, *[1] * spatial_dims, x.shape[-1]), keep_prob)


def stochastic_depth(
    key: Key,
    x: Float[Array, "*shape"],
    *,
    keep_prob: Probability,
    train: bool,
    batch_dims: int = 1,
) -> Float[Array, "*shape"]:
    """Dropout of whole examples, for the branch of a residual block ("drop path").

    Args:
      key: a PRNG key.
      x: `[batch, ...]`, what the branch adds to its shortcut.
      keep_prob: the share of examples for which the branch is kept, in (0, 1]; there it is divided
        by `keep_prob`, in training, so that evaluation needs no factor.
      train: whether to drop; False returns x.
      batch_dims: leading dimensions that count examples: 0 where x is a single one (under `vmap`).

    Returns:
      x's shape and dtype.

    Raises:
      TypeError: x is not floating-point.
      ValueError: keep_prob outside (0, 1], or more batch_dims than dimensions.

    Example:
      >>> x = jnp.ones((4, 2))
      >>> stochastic_depth(jax.random.key(1), x, keep_prob=0.5, train=True).tolist()
      [[2.0, 2.0], [0.0, 0.0], [2.0, 2.0], [2.0, 2.0]]

    Source: Huang et al., "Deep Networks with Stochastic Depth", 2016. The paper does not divide in
    training but multiplies by `keep_prob` in evaluation; this is the form of torchvision's
    StochasticDepth in mode "row".
    """
    if not 0 <= batch_dims <= x.ndim:
        raise ValueError(f"batch_dims: 0 to {x.ndim} for x {x.shape}, not {batch_dims}")
    if _is_identity(x, keep_prob, train):
        return x
    return _drop(key, x, (*x.shape[:batch_dims], *[1] * (x.ndim - batch_dims)), keep_prob)


def drop_block(
    key: Key,
    x: Float[Array, "*batch height width channels"],
    *,
    keep_prob: Probability,
    block_size: int,
    train: bool,
) -> Float[Array, "*batch height width channels"]:
    r"""Dropout of square blocks of pixels, drawn apart for every channel.

    Every block that lies wholly within the image is dropped with probability

    .. math::
        \gamma = \frac{1 - p}{b^2} \frac{h w}{(h - b + 1)(w - b + 1)}, \qquad
        y = x \odot m \cdot \frac{\mathrm{size}(m)}{\sum m}

    where m is zero in the dropped blocks. Blocks overlap, so the share that is kept is somewhat
    larger than p; the result is divided by the share itself, over all of x.

    Args:
      key: a PRNG key.
      x: `[..., height, width, channels]`.
      keep_prob: p in (0, 1], about the share of entries that is kept.
      block_size: b, the side of a block, from 1 (dropout) to the smaller side of the image.
      train: whether to drop; False returns x.

    Returns:
      x's shape and dtype; where nothing is kept, all zero, as is the gradient.

    Raises:
      TypeError: x is not floating-point.
      ValueError: keep_prob outside (0, 1], a block larger than the image, or fewer than three
        dimensions.

    Example:
      >>> x = jnp.ones((4, 4, 1))
      >>> y = drop_block(jax.random.key(3), x, keep_prob=0.75, block_size=2, train=True)
      >>> y[0, :, 0].tolist()
      [0.0, 0.0, 2.0, 2.0]

    Source: Ghiasi, Lin, Le, "DropBlock: A regularization method for convolutional networks", 2018,
    algorithm 1, with a mask for each channel as their section 3.1 prefers.
    """
    if x.ndim < 3:
        raise ValueError(f"x: at least [height, width, channels], not shape {x.shape}")
    *lead, height, width, channels = x.shape
    if not 1 <= block_size <= min(height, width):
        allowed = f"1 to {min(height, width)} for images of {height}x{width}"
        raise ValueError(f"block_size: {allowed}, not {block_size}")
    if _is_identity(x, keep_prob, train):
        return x
    corners = (height - block_size + 1, width - block_size + 1)
    density = height * width / (math.prod(corners) * block_size**2)
    drop_prob = 1 - jnp.asarray(keep_prob, np.float32)
    dropped = jax.random.bernoulli(key, drop_prob * density, (*lead, *corners, channels))
    reach = (*[1] * len(lead), block_size, block_size, 1)
    pads = [(size - 1, size - 1) for size in reach]  # each corner drops the pixels it reaches
    keep = ~lax.reduce_window(dropped, False, lax.bitwise_or, reach, (1,) * x.ndim, pads)
    return _scale(x, keep, jnp.mean(keep, dtype=np.promote_types(x.dtype, np.float32)))


def _drop(key: Key, x: Array, shape: tuple[int, ...], keep_prob: Probability) -> Array:
    """Keeps or drops what shares an entry of a mask of `shape`."""
    # In float32 for every dtype of x: the mask must not depend on the precision.
    keep = jax.random.bernoulli(key, jnp.asarray(keep_prob, np.float32), shape)
    return _scale(x, jnp.broadcast_to(keep, x.shape), keep_prob)


def _scale(x: Array, keep: Array, share: Probability) -> Array:
    """`x / share` where it is kept; a selection, so that a dropped infinity leaves no NaN."""
    wide = np.promote_types(x.dtype, np.float32)
    share = jnp.asarray(share, wide)
    # Not by 0 where nothing is kept: the gradient of the quotient would be NaN.
    scaled = x.astype(wide) / jnp.where(share > 0, share, 1.0)
    return jnp.where(keep, scaled.astype(x.dtype), 0.0)


def _is_identity(x: Array, keep_prob: Probability, train: bool) -> bool:
    """Whether nothing can be dropped; refuses what no mask is defined for."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: floating-point, not {x.dtype}")
    if isinstance(keep_prob, Tracer):
        return not train
    if not 0 < keep_prob <= 1:
        raise ValueError(f"keep_prob: above 0 and at most 1, not {keep_prob}")
    return not train or bool(keep_prob == 1)
