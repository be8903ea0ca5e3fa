"""Policies that apply randomly chosen operations to each image.

The operations and their magnitudes are those of `torchvision.transforms`. On a CPU, each image runs
only the operations that were chosen for it, one image after the other; on other devices, all
operations run on the whole batch, which is faster there. Results are equal.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxml.data.augment import _color as color
from jaxml.data.augment import _filter as filters
from jaxml.data.augment import _pixels as pixels
from jaxml.data.augment import _sampling as sampling
from jaxml.types import Array, Key

_GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_ENHANCING = ("brightness", "saturation", "contrast", "sharpness")
_SIGNED = (*_GEOMETRIC, *_ENHANCING)  # a random half of their magnitudes are negative
_OPERATIONS = ("identity", *_SIGNED, "posterize", "solarize", "autocontrast", "equalize")


class _Choices(NamedTuple):
    """Operations chosen for images; all arrays have the same shape.

    Attributes:
      operation: indices in `_OPERATIONS`.
      magnitude: strengths of the operations.
    """

    operation: Array
    magnitude: Array


def rand_augment(
    key: Key,
    images: Array,
    *,
    num_ops: int = 2,
    magnitude: int = 9,
    num_magnitude_bins: int = 31,
    interpolation: str = "nearest",
) -> Array:
    """Applies RandAugment: random operations of one magnitude, one after the other.

    Args:
      key: a PRNG key.
      images: the batch.
      num_ops: number of operations applied to each image.
      magnitude: strength of the operations, in [0, num_magnitude_bins).
      num_magnitude_bins: number of strengths.
      interpolation: "nearest" or "bilinear", of geometric operations.

    Example:
      >>> rand_augment(jax.random.key(0), jnp.ones((2, 4, 4, 3), jnp.uint8)).shape
      (2, 4, 4, 3)

    References:
      Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search
      space", 2019.
    """
    pixels.check_images(images, channels=(1, 3))
    if num_ops < 0:
        raise ValueError(f"`num_ops` must be non-negative, got {num_ops}")
    _check_bins(num_magnitude_bins)
    pixels.check_range("magnitude", magnitude, 0, num_magnitude_bins - 1)
    height, width = images.shape[1:3]
    table = _magnitudes(
        num_magnitude_bins,
        shear=0.3,
        translate=(150 / 331 * width, 150 / 331 * height),
        rotate=30,
        enhance=0.9,
        bits=(8, 4),
    )
    shape = (images.shape[0], num_ops)
    choices = _choose(key, table, shape, bins=range(magnitude, magnitude + 1))
    return _map_images(partial(_apply_all, interpolation), images, choices)


def trivial_augment_wide(
    key: Key, images: Array, *, num_magnitude_bins: int = 31, interpolation: str = "nearest"
) -> Array:
    """Applies TrivialAugment (wide): one random operation of a random magnitude to each image.

    Args:
      key: a PRNG key.
      images: the batch.
      num_magnitude_bins: number of strengths.
      interpolation: "nearest" or "bilinear", of geometric operations.

    Example:
      >>> trivial_augment_wide(jax.random.key(0), jnp.ones((2, 4, 4, 3), jnp.uint8)).shape
      (2, 4, 4, 3)

    References:
      Müller and Hutter, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation", 2021.
    """
    pixels.check_images(images, channels=(1, 3))
    _check_bins(num_magnitude_bins)
    table = _magnitudes(
        num_magnitude_bins,
        shear=0.99,
        translate=(32, 32),
        rotate=135,
        enhance=0.99,
        bits=(8, 6),
    )
    choices = _choose(key, table, (images.shape[0], 1), bins=range(num_magnitude_bins))
    return _map_images(partial(_apply_all, interpolation), images, choices)


def aug_mix(
    key: Key,
    images: Array,
    *,
    severity: int = 3,
    mixture_width: int = 3,
    chain_depth: int = -1,
    alpha: float = 1.0,
    interpolation: str = "bilinear",
) -> Array:
    """Applies AugMix: mixes each image with the results of random chains of operations.

    Args:
      key: a PRNG key.
      images: the batch.
      severity: largest strength of the operations, from 1 to 10.
      mixture_width: number of chains.
      chain_depth: length of the chains; a negative one draws lengths from 1 to 3.
      alpha: positive parameter of the Dirichlet distribution of the weights of the chains, and of
        the Beta distribution of the weight of the original image.
      interpolation: "nearest" or "bilinear", of geometric operations.

    Example:
      >>> aug_mix(jax.random.key(0), jnp.ones((2, 4, 4, 3), jnp.uint8)).shape
      (2, 4, 4, 3)

    References:
      Hendrycks et al., "AugMix: A simple data processing method to improve robustness and
      uncertainty", 2019.
    """
    pixels.check_images(images, channels=(1, 3))
    pixels.check_range("severity", severity, 1, 10)
    if mixture_width < 1:
        raise ValueError(f"`mixture_width` must be positive, got {mixture_width}")
    if not alpha > 0:
        raise ValueError(f"`alpha` must be positive, got {alpha}")
    batch, height, width, _ = images.shape
    table = _magnitudes(
        10,
        shear=0.3,
        translate=(width / 3, height / 3),
        rotate=30,
        enhance=0.9,
        bits=(4, 4),
    )
    choice_key, depth_key, weight_key, keep_key = jax.random.split(key, 4)
    depth = chain_depth if chain_depth >= 0 else 3
    choices = _choose(
        choice_key, table, (batch, mixture_width, depth), bins=range(severity), identity=False
    )
    if chain_depth < 0:
        depths = jax.random.randint(depth_key, (batch, mixture_width, 1), 1, depth + 1)
        used = jnp.arange(depth, dtype=jnp.int32)[None, None] < depths
        choices = choices._replace(operation=jnp.where(used, choices.operation, 0))
    weights = pixels.dirichlet(weight_key, alpha, (batch, mixture_width))
    changed = pixels.dirichlet(keep_key, alpha, (batch, 2))[:, 0]

    def mix(image: Array, choices: _Choices, weights: Array, changed: Array) -> Array:
        def add(total: Array, chain: tuple[_Choices, Array]) -> tuple[Array, None]:
            result = pixels.to_float(_apply_all(interpolation, image, chain[0]))
            return total + chain[1] * result, None

        original = (1 - changed) * pixels.to_float(image)
        total, _ = lax.scan(add, original, (choices, changed * weights))
        return pixels.to_dtype(total, image.dtype)

    return _map_images(mix, images, choices, weights, changed)


def _check_bins(num_bins: int) -> None:
    if num_bins < 2:
        raise ValueError(f"`num_magnitude_bins` must be at least 2, got {num_bins}")


def _magnitudes(
    num_bins: int,
    *,
    shear: float,
    translate: tuple[float, float],
    rotate: float,
    enhance: float,
    bits: tuple[int, int],
) -> np.ndarray:
    """Returns `[operations, bins]` magnitudes.

    Args:
      num_bins: number of magnitudes of an operation.
      shear: largest tangent of the shear.
      translate: largest translations in pixels.
      rotate: largest angle in degrees.
      enhance: largest distance of the factors of brightness and its like from 1.
      bits: bits that posterization keeps at the smallest magnitude, and how many fewer it keeps at
        the largest.
    """
    largest = {
        "shear_x": shear,
        "shear_y": shear,
        "translate_x": translate[0],
        "translate_y": translate[1],
        "rotate": rotate,
        **dict.fromkeys(_ENHANCING, enhance),
    }
    table = np.stack([np.linspace(0, largest.get(name, 0), num_bins) for name in _OPERATIONS])
    for name in ("translate_x", "translate_y"):
        table[_OPERATIONS.index(name)] //= 1
    steps = np.arange(num_bins) / ((num_bins - 1) / bits[1])
    table[_OPERATIONS.index("posterize")] = bits[0] - np.round(steps)
    table[_OPERATIONS.index("solarize")] = np.linspace(pixels.LARGEST, 0, num_bins)
    return table.astype(np.float32)


def _choose(
    key: Key, table: np.ndarray, shape: tuple[int, ...], *, bins: range, identity: bool = True
) -> _Choices:
    """Draws operations, and magnitudes among some bins of a table."""
    operation_key, bin_key, sign_key = jax.random.split(key, 3)
    first = 0 if identity else 1
    operation = jax.random.randint(operation_key, shape, first, len(_OPERATIONS))
    chosen = jax.random.randint(bin_key, shape, bins.start, bins.stop)
    negative = jax.random.bernoulli(sign_key, shape=shape)
    signed = jnp.asarray([name in _SIGNED for name in _OPERATIONS])
    magnitude = jnp.asarray(table)[operation, chosen]
    return _Choices(operation, jnp.where(signed[operation] & negative, -magnitude, magnitude))


def _map_images(function: Callable[..., Array], images: Array, *arguments: object) -> Array:
    """Applies a function of one image and its arguments to each image."""
    return lax.platform_dependent(
        images,
        *arguments,
        cpu=lambda *arrays: lax.map(lambda entry: function(*entry), arrays),
        default=lambda *arrays: jax.vmap(function)(*arrays),
    )


def _apply_all(interpolation: str, image: Array, choices: _Choices) -> Array:
    """Applies operations to an image `[height, width, channels]`, one after the other."""

    def apply(image: Array, choice: _Choices) -> tuple[Array, None]:
        return _apply(interpolation, image, choice), None

    return lax.scan(apply, image, choices)[0]


def _apply(interpolation: str, image: Array, choice: _Choices) -> Array:
    operation, magnitude = choice

    def geometric(images: Array) -> Array:
        matrices = _inverse_matrices(magnitude, *image.shape[:2])
        matrix = matrices[jnp.clip(operation - 1, 0, len(_GEOMETRIC) - 1)]
        return sampling.affine_by_matrix(images, matrix[None], interpolation=interpolation)

    branches: list[Callable[[Array], Array]] = [
        lambda images: images,
        geometric,
        lambda images: color.adjust_brightness(images, factor=1 + magnitude),
        lambda images: color.adjust_saturation(images, factor=1 + magnitude),
        lambda images: color.adjust_contrast(images, factor=1 + magnitude),
        lambda images: filters.adjust_sharpness(images, factor=1 + magnitude),
        lambda images: color.posterize(images, bits=magnitude),
        lambda images: color.solarize(images, threshold=magnitude),
        color.autocontrast,
        color.equalize,
    ]
    # The geometric operations are one branch, which is compiled once.
    branch = jnp.maximum(operation - len(_GEOMETRIC) + 1, jnp.minimum(operation, 1))
    return lax.switch(branch, branches, image[None])[0]


def _inverse_matrices(magnitude: Array, height: int, width: int) -> Array:
    """Returns `[5, 2, 3]` matrices from output to input coordinates, one per geometric operation.

    Shears leave the first row or column in place.
    """
    angle = jnp.radians(magnitude)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    one, zero = jnp.ones_like(magnitude), jnp.zeros_like(magnitude)
    rows = {
        "shear_x": [one, magnitude, magnitude * (height / 2), zero, one, zero],
        "shear_y": [one, zero, zero, magnitude, one, magnitude * (width / 2)],
        "translate_x": [one, zero, -magnitude, zero, one, zero],
        "translate_y": [one, zero, zero, zero, one, -magnitude],
        "rotate": [cosine, -sine, zero, sine, cosine, zero],
    }
    return jnp.stack([jnp.stack(rows[name]) for name in _GEOMETRIC]).reshape(-1, 2, 3)
