"""Random flips and crops against loops over everything that they may return."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxml.data.augment import random_crop, random_flip

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


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_compiled_and_eager_agree(name):
    augment, key = AUGMENTATIONS[name], jax.random.key(4)
    images = jnp.asarray(distinct_images(40))
    np.testing.assert_array_equal(jax.jit(augment)(key, images), augment(key, images), strict=True)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_vmap_over_keys_is_a_loop_over_keys(name):
    augment, keys = AUGMENTATIONS[name], jax.random.split(jax.random.key(5), 3)
    images = jnp.asarray(distinct_images(40))
    looped = np.stack([augment(key, images) for key in keys])
    mapped = jax.jit(jax.vmap(augment, in_axes=(0, None)))(keys, images)
    np.testing.assert_array_equal(mapped, looped, strict=True)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_different_keys_differ_and_the_same_key_repeats(name):
    augment, images = AUGMENTATIONS[name], jnp.asarray(distinct_images(40))
    first, second = (np.asarray(augment(jax.random.key(seed), images)) for seed in (6, 7))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(augment(jax.random.key(6), images), first)


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_batch_of_no_images_stays_empty(name):
    images = jnp.zeros((0, 5, 4, 2), jnp.uint8)
    assert AUGMENTATIONS[name](jax.random.key(0), images).shape == (0, 5, 4, 2)


def test_the_test_can_tell_a_crop_of_another_image():
    images = distinct_images(2)
    assert places(images, images[::-1], 1) == [[], []]
