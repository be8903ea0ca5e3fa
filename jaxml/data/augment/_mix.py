"""Mixing of examples with their neighbors in the batch, and repetition of examples.

Labels are probabilities `[batch, classes]`, such as one-hot labels. The partner of an example is
the one before it, and the last one for the first: batches are in random order already.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.data.augment import _boxes as boxes
from jaxml.data.augment import _pixels as pixels
from jaxml.types import Array, Key

T = TypeVar("T", bound=tuple[Array, ...])


def mixup(key: Key, images: Array, labels: Array, *, alpha: float = 0.2) -> tuple[Array, Array]:
    r"""Mixes each example with its partner.

    .. math::
      \tilde x = \lambda x + (1 - \lambda) x', \qquad
      \tilde y = \lambda y + (1 - \lambda) y', \qquad
      \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    Args:
      key: a PRNG key.
      images: the batch.
      labels: `[batch, classes]`, floating-point.
      alpha: non-negative parameter of the distribution of lambda, which is drawn once per batch; 0
        changes nothing.

    Returns:
      Images and labels of the same shapes and dtypes.

    Example:
      >>> _, labels = mixup(jax.random.key(0), jnp.ones((2, 4, 4, 1)), jnp.eye(2), alpha=1.0)
      >>> labels.sum(axis=1).tolist()
      [1.0, 1.0]

    References:
      Zhang et al., "mixup: Beyond empirical risk minimization", 2017.
    """
    _check(images, labels)
    if (ratio := _ratio(key, "alpha", alpha)) is None:
        return images, labels
    values = pixels.to_float(images)
    mixed = ratio * values + (1 - ratio) * _partners(values)
    return pixels.to_dtype(mixed, images.dtype), _mix_labels(labels, ratio)


def cutmix(key: Key, images: Array, labels: Array, *, alpha: float = 1.0) -> tuple[Array, Array]:
    r"""Replaces a rectangle of each image by that of its partner.

    The rectangle has the shape of the image, its center is uniform, and before it is clipped to the
    image its area is a fraction :math:`1 - \lambda`, :math:`\lambda \sim \mathrm{Beta}(\alpha,
    \alpha)`. Labels are mixed in proportion to the areas.

    Args:
      key: a PRNG key.
      images: the batch.
      labels: `[batch, classes]`, floating-point.
      alpha: non-negative parameter of the distribution of lambda; 0 changes nothing. The rectangle
        is drawn once per batch.

    Returns:
      Images and labels of the same shapes and dtypes.

    Example:
      >>> _, labels = cutmix(jax.random.key(0), jnp.ones((2, 4, 4, 1)), jnp.eye(2))
      >>> labels.sum(axis=1).tolist()
      [1.0, 1.0]

    References:
      Yun et al., "CutMix: Regularization strategy to train strong classifiers with localizable
      features", 2019.
    """
    _check(images, labels)
    ratio_key, row_key, column_key = jax.random.split(key, 3)
    if (ratio := _ratio(ratio_key, "alpha", alpha)) is None:
        return images, labels
    height, width = images.shape[1:3]
    side = jnp.sqrt(1 - ratio) / 2

    def bounds(key: Key, size: int) -> tuple[Array, Array]:
        half = jnp.floor(side * size).astype(jnp.int32)
        center = jax.random.randint(key, (), 0, size)
        start = jnp.maximum(center - half, 0)
        return start[None], (jnp.minimum(center + half, size) - start)[None]

    top, rows = bounds(row_key, height)
    left, columns = bounds(column_key, width)
    replaced = boxes.inside(boxes.Boxes(top, left, rows, columns), (1, height, width, 1))
    kept = 1 - (rows * columns)[0].astype(jnp.float32) / (height * width)
    mixed = jnp.where(replaced, _partners(images), images)
    return mixed, _mix_labels(labels, kept)


def mixup_or_cutmix(
    key: Key,
    images: Array,
    labels: Array,
    *,
    mixup_alpha: float = 0.8,
    cutmix_alpha: float = 1.0,
    cutmix_probability: float = 0.5,
) -> tuple[Array, Array]:
    """Applies either `mixup` or `cutmix` to the batch.

    Args:
      key: a PRNG key.
      images: the batch.
      labels: `[batch, classes]`, floating-point.
      mixup_alpha: see `mixup`.
      cutmix_alpha: see `cutmix`.
      cutmix_probability: probability of `cutmix`.

    Example:
      >>> _, labels = mixup_or_cutmix(jax.random.key(0), jnp.ones((2, 4, 4, 1)), jnp.eye(2))
      >>> labels.sum(axis=1).tolist()
      [1.0, 1.0]
    """
    pixels.check_range("cutmix_probability", cutmix_probability, 0, 1)
    choice_key, mix_key = jax.random.split(key)
    return lax.cond(
        jax.random.bernoulli(choice_key, float(cutmix_probability)),
        lambda *batch: cutmix(mix_key, *batch, alpha=cutmix_alpha),
        lambda *batch: mixup(mix_key, *batch, alpha=mixup_alpha),
        images,
        labels,
    )


def repeat(arrays: T, *, repeats: int) -> T:
    """Replaces a batch by several copies of its first examples, for repeated augmentation.

    Args:
      arrays: arrays with the batch as first dimension.
      repeats: number of copies, positive. An epoch then visits one of so many examples.

    Returns:
      Arrays of the same shapes. Copies are `ceil(batch / repeats)` examples apart, so that they are
      not each other's partners in `mixup`.

    Example:
      >>> repeat((jnp.arange(5),), repeats=2)[0].tolist()
      [0, 1, 2, 0, 1]

    References:
      Hoffer et al., "Augment your batch: Improving generalization through instance repetition",
      2019.
    """
    if repeats < 1:
        raise ValueError(f"`repeats` must be positive, got {repeats}")

    def one(array: Array) -> Array:
        distinct = -(-len(array) // repeats)
        return jnp.take(array, jnp.arange(len(array)) % max(distinct, 1), axis=0)

    return jax.tree.map(one, arrays)


def _ratio(key: Key, name: str, alpha: float) -> Array | None:
    """Draws lambda; returns None if it is always 0 or 1."""
    if not alpha >= 0:
        raise ValueError(f"`{name}` must be non-negative, got {alpha}")
    return pixels.dirichlet(key, alpha, (2,))[0] if alpha else None


def _partners(array: Array) -> Array:
    return jnp.roll(array, 1, axis=0)


def _mix_labels(labels: Array, ratio: Array) -> Array:
    ratio = ratio.astype(labels.dtype)
    return ratio * labels + (1 - ratio) * _partners(labels)


def _check(images: Array, labels: Array) -> None:
    pixels.check_images(images)
    if labels.ndim != 2 or len(labels) != len(images):
        raise ValueError(f"`labels` must have shape [{len(images)}, classes], got {labels.shape}")
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        raise TypeError(f"`labels` must be floating-point, got {labels.dtype}")
