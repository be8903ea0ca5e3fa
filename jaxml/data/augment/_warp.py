"""Affine and perspective transformations.

Coordinates are in pixels from the center of the image, x to the right and y down. Pixels that come
from outside of the image are 0. `interpolation` is "nearest" or "bilinear".
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxml.data.augment import _pixels as pixels
from jaxml.data.augment import _sampling as sampling
from jaxml.types import Array, Key


def affine(
    images: Array,
    *,
    angle: Any = 0.0,
    translate: tuple[Any, Any] = (0.0, 0.0),
    scale: Any = 1.0,
    shear: tuple[Any, Any] = (0.0, 0.0),
    interpolation: str = "nearest",
) -> Array:
    """Rotates, shears, scales and translates images about their center.

    Equals `torchvision.transforms.functional.affine`, with its arguments.

    Args:
      images: the batch.
      angle: clockwise rotation in degrees. It and the following numbers are scalars, or `[batch]`
        with one number per image.
      translate: pixels to the right and down.
      scale: magnification, positive.
      shear: shear along x and y in degrees.
      interpolation: see the module.

    Example:
      >>> affine(jnp.arange(3.0).reshape(1, 1, 3, 1), translate=(1, 0)).ravel().tolist()
      [0.0, 0.0, 1.0]
    """
    rotation, shear_x, shear_y = (
        jnp.radians(jnp.asarray(degrees, jnp.float32)) for degrees in (angle, *shear)
    )
    cosine, sine = jnp.cos(rotation - shear_y), jnp.sin(rotation - shear_y)
    a, c = cosine / jnp.cos(shear_y), sine / jnp.cos(shear_y)
    b, d = -a * jnp.tan(shear_x) - jnp.sin(rotation), -c * jnp.tan(shear_x) + jnp.cos(rotation)
    # The determinant of the forward map without scale, (a, b; c, d), is 1.
    scale = jnp.asarray(scale, jnp.float32)
    x, y = (jnp.asarray(shift, jnp.float32) for shift in translate)
    inverse = [
        [d / scale, -b / scale, (b * y - d * x) / scale],
        [-c / scale, a / scale, (c * x - a * y) / scale],
    ]
    matrix = jnp.stack(
        [
            jnp.stack([jnp.broadcast_to(entry, images.shape[:1]) for entry in row], axis=-1)
            for row in inverse
        ],
        axis=-2,
    )
    return sampling.affine_by_matrix(images, matrix, interpolation=interpolation)


def rotate(images: Array, *, angle: Any, interpolation: str = "nearest") -> Array:
    """Rotates images counterclockwise about their center, as torchvision and Pillow do.

    Args:
      images: the batch.
      angle: degrees, a scalar or `[batch]`.
      interpolation: see the module.

    Example:
      >>> rotate(jnp.arange(4.0).reshape(1, 2, 2, 1), angle=90)[0, ..., 0].tolist()
      [[1.0, 3.0], [0.0, 2.0]]
    """
    return affine(images, angle=-jnp.asarray(angle, jnp.float32), interpolation=interpolation)


def random_affine(
    key: Key,
    images: Array,
    *,
    degrees: float = 0.0,
    translate: float = 0.0,
    min_scale: float = 1.0,
    max_scale: float = 1.0,
    shear: float = 0.0,
    interpolation: str = "nearest",
) -> Array:
    """Applies a random affine transformation to each image; all numbers are uniform.

    Args:
      key: a PRNG key.
      images: the batch.
      degrees: largest angle in either direction.
      translate: largest translation in any direction, as a fraction of the image.
      min_scale: smallest magnification.
      max_scale: largest magnification.
      shear: largest shear along x in either direction, in degrees.
      interpolation: see the module.

    Example:
      >>> random_affine(jax.random.key(0), jnp.ones((2, 4, 4, 1)), degrees=15).shape
      (2, 4, 4, 1)
    """
    pixels.check_images(images)
    pixels.check_range("degrees", degrees, 0, 180)
    pixels.check_range("translate", translate, 0, 1)
    if not 0 < min_scale <= max_scale:
        raise ValueError(f"`min_scale` must be in (0, {max_scale}], got {min_scale}")
    if not 0 <= shear < 90:
        raise ValueError(f"`shear` must be in [0, 90), got {shear}")
    angle_key, x_key, y_key, scale_key, shear_key = jax.random.split(key, 5)
    height, width = images.shape[1:3]
    most_x, most_y = translate * width, translate * height
    return affine(
        images,
        angle=pixels.uniform(angle_key, images, -degrees, degrees),
        translate=(
            jnp.round(pixels.uniform(x_key, images, -most_x, most_x)),
            jnp.round(pixels.uniform(y_key, images, -most_y, most_y)),
        ),
        scale=pixels.uniform(scale_key, images, min_scale, max_scale),
        shear=(pixels.uniform(shear_key, images, -shear, shear), 0.0),
        interpolation=interpolation,
    )


def random_rotation(
    key: Key, images: Array, *, degrees: float, interpolation: str = "nearest"
) -> Array:
    """Rotates each image by a uniform angle of at most `degrees` in either direction.

    >>> random_rotation(jax.random.key(0), jnp.ones((2, 4, 4, 1)), degrees=15).shape
    (2, 4, 4, 1)
    """
    return random_affine(key, images, degrees=degrees, interpolation=interpolation)


def perspective(images: Array, *, corners: Array, interpolation: str = "bilinear") -> Array:
    """Moves the corners of images to given points by a projective transformation.

    Args:
      images: the batch.
      corners: `[batch, 4, 2]` or `[4, 2]`, x and y of the new places of the upper left, upper
        right, lower right and lower left corner: `[[0, 0], [width, 0], [width, height],
        [0, height]]` changes nothing. They form a convex quadrilateral.
      interpolation: see the module.

    Example:
      >>> corners = jnp.array([[3, 0], [0, 0], [0, 2], [3, 2]])  # the mirror image
      >>> image = jnp.arange(6, dtype=jnp.uint8).reshape(1, 2, 3, 1)
      >>> perspective(image, corners=corners)[0, ..., 0].tolist()
      [[2, 1, 0], [5, 4, 3]]
    """
    pixels.check_images(images)
    batch, height, width, _ = images.shape
    quads = jnp.broadcast_to(corners.astype(jnp.float32), (batch, 4, 2))
    inverse = _adjugate(_square_to_quad(quads))
    x, y = (jnp.arange(size, dtype=jnp.float32) + 0.5 for size in (width, height))
    x, y = x[None, None, :], y[None, :, None]
    u, v, w = (
        inverse[:, row, 0, None, None] * x
        + inverse[:, row, 1, None, None] * y
        + inverse[:, row, 2, None, None]
        for row in range(3)
    )
    source_x, source_y = (u / w - 0.5) * width, (v / w - 0.5) * height
    return sampling.sample(images, source_x, source_y, interpolation)


def random_perspective(
    key: Key,
    images: Array,
    *,
    distortion: float = 0.5,
    probability: float = 0.5,
    interpolation: str = "bilinear",
) -> Array:
    """Moves the corners of each image inwards at random, with a probability.

    Args:
      key: a PRNG key.
      images: the batch.
      distortion: in [0, 1]; 1 allows every corner to reach the center.
      probability: the probability.
      interpolation: see the module.

    Example:
      >>> random_perspective(jax.random.key(0), jnp.ones((2, 4, 4, 1))).shape
      (2, 4, 4, 1)
    """
    pixels.check_images(images)
    pixels.check_range("distortion", distortion, 0, 1)
    batch, height, width, _ = images.shape
    corner_key, choice_key = jax.random.split(key)
    sizes = jnp.asarray([width, height], jnp.float32)[None, None]
    moves = jax.random.uniform(corner_key, (batch, 4, 2), jnp.float32, 0, distortion / 2)
    corners = jnp.asarray([[[0, 0], [1, 0], [1, 1], [0, 1]]], jnp.float32)
    corners = corners + (1 - 2 * corners) * moves
    moved = perspective(images, corners=corners * sizes, interpolation=interpolation)
    return jnp.where(pixels.choose(choice_key, images, probability), moved, images)


def _square_to_quad(quads: Array) -> Array:
    """Returns `[batch, 3, 3]` projections of the unit square to quadrilaterals.

    Reference: Heckbert, "Fundamentals of texture mapping and image warping", 1989, section 2.2.3.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (
        (quads[:, corner, 0], quads[:, corner, 1]) for corner in range(4)
    )
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    determinant = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / determinant, (dx1 * sy - sx * dy1) / determinant
    rows = [
        [x1 - x0 + g * x1, x3 - x0 + h * x3, x0],
        [y1 - y0 + g * y1, y3 - y0 + h * y3, y0],
        [g, h, jnp.ones_like(g)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def _adjugate(matrices: Array) -> Array:
    """Returns the inverses of `[batch, 3, 3]` matrices, up to a factor."""
    first, second, third = matrices[:, 0], matrices[:, 1], matrices[:, 2]
    columns = [jnp.cross(second, third), jnp.cross(third, first), jnp.cross(first, second)]
    return jnp.stack(columns, axis=-1)
