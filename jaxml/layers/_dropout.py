r"""Dropout: sets random entries to zero in training, scales the others to preserve the mean.

With `train=False`, x is returned. The functions differ in the entries that are dropped together:
one, a channel, a block of pixels or an example. Each takes one key for all of x; `vmap` over keys
and examples draws separate masks.

`keep_prob` is the probability in (0, 1] of keeping an entry, as in TensorFlow 1; PyTorch, Keras and
Flax take the rate `1 - keep_prob`. It may be a traced array, which is not validated.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxml.layers._dtypes import check_floating, wide
from jaxml.types import Array, Float, Key

Probability = float | Float[Array, ""]


def dropout(
    key: Key, x: Float[Array, "*shape"], *, keep_prob: Probability, train: bool
) -> Float[Array, "*shape"]:
    r"""Applies inverted dropout to every entry.

    .. math:: y_i = x_i m_i / p, \qquad m_i \sim \mathrm{Bernoulli}(p)

    Args:
      key: a PRNG key; the mask does not depend on the dtype of x.
      x: array of any shape.
      keep_prob: p, the probability of keeping an entry.
      train: whether to drop entries.

    Returns:
      An array of the shape and dtype of x, rounded once, which preserves the mean in bfloat16 too.

    Example:
      >>> dropout(jax.random.key(0), jnp.ones(6), keep_prob=0.5, train=True).tolist()
      [0.0, 0.0, 2.0, 2.0, 0.0, 2.0]

    Reference: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", 2014, section 10.
    """
    return _drop(key, x, x.shape, keep_prob, train)


def spatial_dropout(
    key: Key,
    x: Float[Array, "*shape"],
    *,
    keep_prob: Probability,
    train: bool,
    spatial_dims: int = 2,
) -> Float[Array, "*shape"]:
    """Drops whole channels of each example, because neighboring pixels are correlated.

    Args:
      key: a PRNG key.
      x: `[..., *spatial, channels]`.
      keep_prob: probability of keeping a channel.
      train: whether to drop channels.
      spatial_dims: number of spatial dimensions, non-negative.

    Example:
      >>> x = jnp.ones((2, 2, 4))
      >>> spatial_dropout(jax.random.key(0), x, keep_prob=0.5, train=True)[0].tolist()
      [[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]]

    Reference: Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015,
    section 3.2; PyTorch's `Dropout2d` and Keras' `SpatialDropout2D`.
    """
    if not 0 <= spatial_dims < x.ndim:
        raise ValueError(
            f"`spatial_dims` must be in [0, {x.ndim - 1}] for x of shape {x.shape}, "
            f"got {spatial_dims}"
        )
    lead = x.shape[: x.ndim - spatial_dims - 1]
    return _drop(key, x, (*lead, *[1] * spatial_dims, x.shape[-1]), keep_prob, train)


def stochastic_depth(
    key: Key,
    x: Float[Array, "*shape"],
    *,
    keep_prob: Probability,
    train: bool,
    batch_dims: int = 1,
) -> Float[Array, "*shape"]:
    """Drops the branch of a residual block for whole examples ("drop path").

    Args:
      key: a PRNG key.
      x: output of the branch, `[batch, ...]`.
      keep_prob: probability of keeping the branch of an example.
      train: whether to drop branches.
      batch_dims: number of leading dimensions that enumerate examples; 0 for a single example, as
        under `vmap`.

    Example:
      >>> x = jnp.ones((4, 2))
      >>> stochastic_depth(jax.random.key(1), x, keep_prob=0.5, train=True).tolist()
      [[2.0, 2.0], [0.0, 0.0], [2.0, 2.0], [2.0, 2.0]]

    Reference: Huang et al., "Deep Networks with Stochastic Depth", 2016, which multiplies by
    `keep_prob` in evaluation instead; torchvision's `StochasticDepth` in mode "row".
    """
    if not 0 <= batch_dims <= x.ndim:
        raise ValueError(
            f"`batch_dims` must be in [0, {x.ndim}] for x of shape {x.shape}, got {batch_dims}"
        )
    return _drop(key, x, (*x.shape[:batch_dims], *[1] * (x.ndim - batch_dims)), keep_prob, train)


def drop_block(
    key: Key,
    x: Float[Array, "*batch height width channels"],
    *,
    keep_prob: Probability,
    block_size: int,
    train: bool,
) -> Float[Array, "*batch height width channels"]:
    r"""Drops square blocks of pixels, separately for every channel.

    Every block that lies wholly within the image is dropped with probability

    .. math::
        \gamma = \frac{1 - p}{b^2} \frac{h w}{(h - b + 1)(w - b + 1)}, \qquad
        y = x \odot m \cdot \frac{\mathrm{size}(m)}{\sum m}

    where m is zero in the dropped blocks. Blocks overlap, so somewhat more than the fraction p is
    kept; the result is divided by the actual fraction over all of x.

    Args:
      key: a PRNG key.
      x: `[..., height, width, channels]`.
      keep_prob: p, approximate probability of keeping an entry.
      block_size: b, the side of a block, from 1 (dropout) to the smaller side of the image.
      train: whether to drop blocks.

    Returns:
      An array of the shape and dtype of x. Where nothing is kept, it and its gradient are zero.

    Example:
      >>> x = jnp.ones((4, 4, 1))
      >>> y = drop_block(jax.random.key(3), x, keep_prob=0.75, block_size=2, train=True)
      >>> y[0, :, 0].tolist()
      [0.0, 0.0, 2.0, 2.0]

    Reference: Ghiasi, Lin, Le, "DropBlock: A regularization method for convolutional networks",
    2018, algorithm 1, with one mask per channel as preferred in section 3.1.
    """
    if x.ndim < 3:
        raise ValueError(f"`x` must be [..., height, width, channels], got shape {x.shape}")
    *lead, height, width, channels = x.shape
    if not 1 <= block_size <= min(height, width):
        raise ValueError(
            f"`block_size` must be in [1, {min(height, width)}] for images of {height}x{width}, "
            f"got {block_size}"
        )
    if _is_identity(x, keep_prob, train):
        return x
    corners = (height - block_size + 1, width - block_size + 1)
    density = height * width / (math.prod(corners) * block_size**2)
    drop_prob = 1 - jnp.asarray(keep_prob, np.float32)
    dropped = jax.random.bernoulli(key, drop_prob * density, (*lead, *corners, channels))
    reach = (*[1] * len(lead), block_size, block_size, 1)
    pads = [(size - 1, size - 1) for size in reach]  # each corner drops the pixels it reaches
    keep = ~lax.reduce_window(dropped, False, lax.bitwise_or, reach, (1,) * x.ndim, pads)
    return _scale(x, keep, jnp.mean(keep, dtype=wide(x)))


def _drop(key: Key, x: Array, shape: tuple[int, ...], keep_prob: Probability, train: bool) -> Array:
    """Drops entries of x by a mask of the given shape, which is broadcast to x."""
    if _is_identity(x, keep_prob, train):
        return x
    # float32 for every dtype of x, because the mask must not depend on the precision.
    keep = jax.random.bernoulli(key, jnp.asarray(keep_prob, np.float32), shape)
    return _scale(x, jnp.broadcast_to(keep, x.shape), keep_prob)


def _scale(x: Array, keep: Array, kept: Probability) -> Array:
    """Returns `x / kept` where `keep`; selects, so that a dropped infinity does not become NaN."""
    kept = jnp.asarray(kept, wide(x))
    # Never divide by 0: the gradient of the quotient would be NaN.
    scaled = x.astype(wide(x)) / jnp.where(kept > 0, kept, 1.0)
    return jnp.where(keep, scaled.astype(x.dtype), 0.0)


def _is_identity(x: Array, keep_prob: Probability, train: bool) -> bool:
    """Checks the arguments, and returns whether nothing can be dropped."""
    check_floating(x)
    if isinstance(keep_prob, Tracer):
        return not train
    if not 0 < keep_prob <= 1:
        raise ValueError(f"`keep_prob` must be in (0, 1], got {keep_prob}")
    return not train or bool(keep_prob == 1)
