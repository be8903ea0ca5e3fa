"""Erased rectangles: their sizes, places and contents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.data import augment
from tests import properties
from tests.data.augment.pictures import pictures


def rectangles(erased):
    """Returns top, left, height and width of the True entries of `[batch, height, width]` masks."""
    found = []
    for mask in erased:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            found.append((0, 0, 0, 0))
            continue
        box = (rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        assert mask[box[0] : box[0] + box[2], box[1] : box[1] + box[3]].all()
        assert mask.sum() == box[2] * box[3]
        found.append(box)
    return np.array(found)


def test_random_rectangles_are_erased_with_a_probability():
    images = jnp.full((2000, 24, 30, 1), 255, jnp.uint8)
    erase = jax.jit(augment.random_erasing, static_argnames=("fill", "probability"))
    result = np.asarray(erase(jax.random.key(0), images, fill="zeros", probability=0.3))
    boxes = rectangles(result[..., 0] == 0)
    erased = boxes[:, 2] > 0
    assert abs(erased.mean() - 0.3) < 0.035
    top, left, height, width = boxes[erased].T
    # The bounds of area and ratio hold up to the rounding of the sides.
    areas, ratios = height * width / 720, width / height
    assert areas.min() >= 0.01
    assert areas.max() <= 0.37
    assert abs(np.mean(areas) - (0.02 + 1 / 3) / 2) < 0.02
    assert ratios.min() >= 0.2
    assert ratios.max() <= 5
    assert abs(np.mean(np.log(ratios))) < 0.1
    # The place is uniform in the room that is left.
    room = np.maximum(24 - height, 1)
    assert abs(np.mean(top / room) - 0.5) < 0.05
    assert left.min() == 0
    assert (left + width).max() == 30


@pytest.mark.slow
def test_the_probability_may_be_none_or_all():
    images, key = jnp.asarray(pictures()), jax.random.key(1)
    np.testing.assert_array_equal(augment.random_erasing(key, images, probability=0), images)
    always = augment.random_erasing(
        key, images[:3], probability=1, min_area=0.2, max_area=0.2, max_aspect=1
    )
    assert (np.asarray(always) != images[:3]).any((1, 2, 3)).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_mean_color_or_noise_fills_a_rectangle(dtype):
    images = jnp.asarray(pictures(), dtype)
    key = jax.random.key(2)

    def erase(fill):
        return np.asarray(
            augment.random_erasing(key, images, probability=1, min_area=0.2, fill=fill)
        )

    zeros, mean, noise = map(erase, ("zeros", "mean", "noise"))
    mask = (zeros == 0).all(-1, keepdims=True) & (np.asarray(images) != 0).any(-1, keepdims=True)
    colors = np.asarray(images, np.float64).mean((1, 2), keepdims=True)
    expected = np.where(mask, np.broadcast_to(colors, images.shape), images)
    if dtype == "uint8":
        expected = np.floor(expected + 0.5).astype(np.uint8)
    properties.agree(augment.random_erasing, mean, expected, by="NumPy float64")
    inside = noise[np.broadcast_to(mask, noise.shape)].astype(np.float64)
    assert abs(inside.mean() - 127.5) < 15
    assert len(np.unique(inside)) > 60
    np.testing.assert_array_equal(noise[~np.broadcast_to(mask, noise.shape)],
                                  images[~np.broadcast_to(mask, noise.shape)])  # fmt: skip


def test_cutout_erases_a_square_that_may_leave_the_image():
    images = jnp.full((2000, 6, 9, 1), 255, jnp.uint8)
    result = np.asarray(augment.cutout(jax.random.key(0), images, size=4, fill="zeros"))
    boxes = rectangles(result[..., 0] == 0)
    rows = {(max(c - 2, 0), min(c + 2, 6) - max(c - 2, 0)) for c in range(6)}
    columns = {(max(c - 2, 0), min(c + 2, 9) - max(c - 2, 0)) for c in range(9)}
    assert set(map(tuple, boxes[:, [0, 2]])) == rows
    assert set(map(tuple, boxes[:, [1, 3]])) == columns
    expected = np.full(images.shape, 255, np.uint8)
    for image, (top, left, height, width) in zip(expected, boxes, strict=True):
        image[top : top + height, left : left + width] = 0
    properties.agree(augment.cutout, result, expected, by="NumPy", rtol=0)
    same = augment.cutout(jax.random.key(0), images, size=0, fill="zeros")
    np.testing.assert_array_equal(same, images)


@pytest.mark.slow
def test_wrong_parameters_are_refused():
    images, key = jnp.zeros((1, 4, 4, 1)), jax.random.key(0)
    with pytest.raises(ValueError, match="`fill` must be one of mean, zeros, noise, got 'red'"):
        augment.cutout(key, images, size=1, fill="red")
    with pytest.raises(ValueError, match="`size` must be non-negative, got -1"):
        augment.cutout(key, images, size=-1)
    with pytest.raises(ValueError, match=r"`probability` must be in \[0, 1\], got 2"):
        augment.random_erasing(key, images, probability=2)
    with pytest.raises(ValueError, match="`max_aspect` must be at least 1, got 0"):
        augment.random_erasing(key, images, max_aspect=0)
