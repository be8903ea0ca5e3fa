"""Flips and crops against loops over everything that they may return, resizing against Pillow."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from PIL import Image

from jaxml.data import augment
from jaxml.data.augment import random_crop, random_flip
from tests import properties
from tests.data.augment.pictures import assert_levels, by_pillow, pictures

RANDOM_ENOUGH = 1e-3  # a p-value that a right implementation falls below once in a thousand seeds


def distinct_images(count: int, dtype=np.uint8) -> np.ndarray:
    """Images of 5x4 pixels and two channels; no two values of an image are alike, none is 0."""
    one = np.arange(1, 41).reshape(5, 4, 2)
    return np.stack([one + 40 * (i % 5) for i in range(count)]).astype(dtype)


def places(images: np.ndarray, cropped: np.ndarray, padding: int) -> list[list[tuple[int, int]]]:
    """Where in its padded image each crop can have been cut out."""
    _, height, width, _ = images.shape
    found = []
    for image, crop in zip(images, cropped, strict=True):
        padded = np.zeros((height + 2 * padding, width + 2 * padding, image.shape[2]), image.dtype)
        padded[padding : padding + height, padding : padding + width] = image
        found.append(
            [
                (row, column)
                for row, column in itertools.product(range(2 * padding + 1), repeat=2)
                if np.array_equal(padded[row : row + height, column : column + width], crop)
            ]
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("padding", [1, 3])
def test_each_crop_is_cut_out_at_exactly_one_place_of_the_padded_image(padding):
    images = distinct_images(60)
    crop = jax.jit(random_crop, static_argnames="padding")
    cropped = np.asarray(crop(jax.random.key(0), jnp.asarray(images), padding=padding))
    assert cropped.shape == images.shape
    assert {len(found) for found in places(images, cropped, padding)} == {1}


@pytest.mark.slow
def test_every_place_of_a_crop_is_equally_likely():
    images = distinct_images(5000)
    crop = jax.jit(random_crop, static_argnames="padding")
    cropped = np.asarray(crop(jax.random.key(1), jnp.asarray(images), padding=1))
    chosen = [3 * row + column for ((row, column),) in places(images, cropped, 1)]
    _, likelihood = scipy.stats.chisquare(np.bincount(chosen, minlength=9))
    assert likelihood > RANDOM_ENOUGH

    table = np.zeros((9, 9))
    np.add.at(table, (chosen[:-1:2], chosen[1::2]), 1)
    _, likelihood = scipy.stats.chisquare(table.ravel())
    assert likelihood > RANDOM_ENOUGH


def test_the_padding_of_a_crop_is_zero():
    images = np.full((200, 3, 3, 1), 255, np.uint8)
    crop = jax.jit(random_crop, static_argnames="padding")
    cropped = np.asarray(crop(jax.random.key(2), jnp.asarray(images), padding=3))
    assert set(np.unique(cropped).tolist()) == {0, 255}
    kept = {int(np.count_nonzero(image)) for image in cropped}
    assert kept == {rows * columns for rows in range(4) for columns in range(4)}


@pytest.mark.slow
def test_a_crop_without_padding_changes_nothing():
    images = distinct_images(40)
    cropped = random_crop(jax.random.key(3), jnp.asarray(images), padding=0)
    np.testing.assert_array_equal(cropped, images, strict=True)


def test_each_flipped_image_is_the_image_or_its_mirror():
    images = distinct_images(40)
    flipped = np.asarray(random_flip(jax.random.key(0), jnp.asarray(images)))
    mirrored = 0
    for image, result in zip(images, flipped, strict=True):
        mirror = np.empty_like(image)
        for column in range(4):
            mirror[:, column] = image[:, 3 - column]
        is_mirror = np.array_equal(result, mirror)
        assert is_mirror or np.array_equal(result, image)
        mirrored += is_mirror
    assert 0 < mirrored < 40


def test_half_of_the_images_are_mirrored_independently_of_their_neighbours():
    images = distinct_images(4000)
    flipped = np.asarray(jax.jit(random_flip)(jax.random.key(1), jnp.asarray(images)))
    mirrored = flipped[:, 0, 0, 0] != images[:, 0, 0, 0]
    assert scipy.stats.binomtest(int(mirrored.sum()), 4000).pvalue > RANDOM_ENOUGH
    repeated = int(np.sum(mirrored[1:] == mirrored[:-1]))
    assert scipy.stats.binomtest(repeated, 3999).pvalue > RANDOM_ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_dtype_stays(dtype):
    images = jnp.asarray(distinct_images(40), dtype)
    assert jax.jit(random_flip)(jax.random.key(0), images).dtype == dtype
    crop = jax.jit(random_crop, static_argnames="padding")
    cropped = crop(jax.random.key(0), images, padding=2)
    assert cropped.dtype == dtype
    found = places(np.asarray(images, np.float32), np.asarray(cropped, np.float32), 2)
    assert {len(place) for place in found} == {1}


AUGMENTATIONS = {"flip": random_flip, "crop": lambda key, x: random_crop(key, x, padding=2)}


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_compiled_and_eager_agree(name):
    function, key = AUGMENTATIONS[name], jax.random.key(4)
    images = jnp.asarray(distinct_images(40))
    np.testing.assert_array_equal(
        jax.jit(function)(key, images), function(key, images), strict=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_vmap_over_keys_is_a_loop_over_keys(name):
    function, keys = AUGMENTATIONS[name], jax.random.split(jax.random.key(5), 3)
    images = jnp.asarray(distinct_images(40))
    looped = np.stack([function(key, images) for key in keys])
    mapped = jax.jit(jax.vmap(function, in_axes=(0, None)))(keys, images)
    np.testing.assert_array_equal(mapped, looped, strict=True)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_different_keys_differ_and_the_same_key_repeats(name):
    function, images = AUGMENTATIONS[name], jnp.asarray(distinct_images(40))
    first, second = (np.asarray(function(jax.random.key(seed), images)) for seed in (6, 7))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(function(jax.random.key(6), images), first)


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_batch_of_no_images_stays_empty(name):
    images = jnp.zeros((0, 5, 4, 2), jnp.uint8)
    assert AUGMENTATIONS[name](jax.random.key(0), images).shape == (0, 5, 4, 2)


def test_the_test_can_tell_a_crop_of_another_image():
    images = distinct_images(2)
    assert places(images, images[::-1], 1) == [[], []]


def test_a_reflected_crop_is_cut_out_of_the_reflected_image():
    images = distinct_images(40)
    crop = jax.jit(random_crop, static_argnames=("padding", "mode"))
    # More pixels than the image has are mirrored back and forth.
    cropped = np.asarray(crop(jax.random.key(0), jnp.asarray(images), padding=6, mode="reflect"))
    padded = np.pad(images, [(0, 0), (6, 6), (6, 6), (0, 0)], mode="reflect")
    for image, result in zip(padded, cropped, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (5, 4), axis=(0, 1))
        assert (windows == result.transpose(2, 0, 1)).all((-1, -2, -3)).any()
    assert (cropped > 0).all()


def test_flips_alternate_from_a_random_start():
    images, indices = jnp.asarray(distinct_images(1000)), jnp.arange(1000) * 7
    flip = jax.jit(augment.alternating_flip)
    epochs = [
        np.asarray(flip(jax.random.key(0), images, epoch=epoch, indices=indices))
        for epoch in range(3)
    ]
    flipped = (epochs[0] != images).any((1, 2, 3))
    assert scipy.stats.binomtest(int(flipped.sum()), 1000).pvalue > RANDOM_ENOUGH
    np.testing.assert_array_equal(epochs[1], augment.flip(jnp.asarray(epochs[0])))
    np.testing.assert_array_equal(epochs[2], epochs[0])
    mirror = images[:, :, ::-1]
    expected = np.where(flipped[:, None, None, None], mirror, images)
    properties.agree(augment.alternating_flip, epochs[0], expected, by="NumPy", rtol=0)
    # The start belongs to the image, wherever it is in a batch.
    shuffled = np.random.default_rng(0).permutation(1000)
    again = flip(jax.random.key(0), images[shuffled], epoch=0, indices=indices[shuffled])
    np.testing.assert_array_equal(again, epochs[0][shuffled])


def test_flips_and_crops_are_recorded():
    images, key = distinct_images(40), jax.random.key(3)
    mirror = np.flip(images, axis=2)
    properties.agree(augment.flip, augment.flip(jnp.asarray(images)), mirror, by="NumPy", rtol=0)
    flipped = np.asarray(random_flip(key, jnp.asarray(images)))
    chosen = (flipped != images).any((1, 2, 3))[:, None, None, None]
    properties.agree(random_flip, flipped, np.where(chosen, mirror, images), by="NumPy", rtol=0)
    cropped = np.asarray(random_crop(key, jnp.asarray(images), padding=1))
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    corners = [place for (place,) in places(images, cropped, 1)]
    expected = [p[i : i + 5, j : j + 4] for p, (i, j) in zip(padded, corners, strict=True)]
    properties.agree(random_crop, cropped, np.stack(expected), by="NumPy", rtol=0)


def test_outputs_are_averaged_over_the_image_and_its_mirror():
    images, weights = distinct_images(3), np.random.default_rng(0).normal(size=(5, 4, 2, 6))
    weights = weights.astype(np.float32)

    def predict(images):
        return jnp.tensordot(images.astype(jnp.float32), weights, 3)

    average = augment.flip_average(predict, jnp.asarray(images))
    expected = np.tensordot(images / 2.0, weights + weights[:, ::-1], 3)
    properties.agree(augment.flip_average, average, expected, by="NumPy float64")


@pytest.mark.parametrize("size", [(5, 3), (13, 10), (6, 31), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_that_of_pillow(size, channels):
    images = pictures(channels=channels)
    resized = augment.resize(jnp.asarray(images), size=size)
    expected = by_pillow(lambda image: image.resize(size[::-1], Image.Resampling.BILINEAR), images)
    assert_levels(augment.resize, resized, expected, by="Pillow", levels=1, differing=0.25)


def _boxes(height, width):
    """All boxes of an image: left, upper, right and lower edge."""
    return [
        (left, top, right, bottom)
        for left, right in itertools.combinations(range(width + 1), 2)
        for top, bottom in itertools.combinations(range(height + 1), 2)
    ]


def test_each_resized_crop_is_that_of_some_box():
    height, width = 7, 8
    picture = pictures(2, height=height, width=width, seed=5)[0]
    images = jnp.asarray(np.repeat(picture[None], 200, axis=0))
    crop = jax.jit(augment.random_resized_crop, static_argnames=("size", "min_area"))
    cropped = np.asarray(crop(jax.random.key(0), images, size=(4, 5), min_area=0.3))
    assert cropped.shape == (200, 4, 5, 3)
    boxes = _boxes(height, width)
    references = np.stack(
        [
            np.asarray(Image.fromarray(picture).crop(box).resize((5, 4), Image.Resampling.BILINEAR))
            for box in boxes
        ]
    ).astype(np.int16)
    distance = np.stack([np.abs(references - result).max((1, 2, 3)) for result in cropped])
    nearest = distance.argmin(1)
    assert_levels(
        augment.random_resized_crop, cropped, references[nearest].astype(np.uint8), by="Pillow",
        levels=1, differing=0.25,
    )  # fmt: skip
    for left, top, right, bottom in {boxes[number] for number in nearest}:
        wide, high = right - left, bottom - top
        assert 0.3 * 56 - 8 <= wide * high <= 56
        assert 0.5 <= wide / high <= 2
    assert len(set(nearest)) > 40


@pytest.mark.slow
def test_a_crop_of_the_whole_image_at_its_size_is_the_image():
    images = jnp.asarray(pictures(height=9, width=9))
    crop = augment.random_resized_crop(jax.random.key(0), images, min_area=1, max_aspect=1)
    np.testing.assert_array_equal(crop, images)


@pytest.mark.slow
def test_a_crop_that_never_fits_is_central():
    images = jnp.asarray(pictures(height=4, width=16))
    crop = augment.random_resized_crop(
        jax.random.key(0), images, size=(4, 4), min_area=1, max_aspect=1
    )
    np.testing.assert_array_equal(crop, images[:, :, 6:10])


def test_crops_with_wrong_parameters_are_refused():
    images, key = jnp.zeros((1, 4, 4, 1)), jax.random.key(0)
    with pytest.raises(ValueError, match="`padding` must be non-negative, got -1"):
        random_crop(key, images, padding=-1)
    with pytest.raises(ValueError, match="`mode` must be one of zeros, reflect, got 'wrap'"):
        random_crop(key, images, padding=1, mode="wrap")
    with pytest.raises(ValueError, match=r"`min_area` must be in \[0, 1.0\], got 2"):
        augment.random_resized_crop(key, images, min_area=2)
    with pytest.raises(ValueError, match=r"`max_aspect` must be at least 1, got 0\.5"):
        augment.random_resized_crop(key, images, max_aspect=0.5)
    with pytest.raises(ValueError, match=r"`size` must be positive, got \(0, 3\)"):
        augment.resize(images, size=(0, 3))
