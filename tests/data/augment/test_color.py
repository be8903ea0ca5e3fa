"""Operations on colors against Pillow, and against the standard library for the hue."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import ImageEnhance, ImageOps

from jaxml.data import augment
from tests import properties
from tests.data.augment.pictures import assert_levels, by_pillow, pictures

FACTORS = (0.0, 0.4, 1.0, 1.7)
ENHANCERS = {
    "adjust_brightness": ImageEnhance.Brightness,
    "adjust_contrast": ImageEnhance.Contrast,
    "adjust_saturation": ImageEnhance.Color,
    "adjust_sharpness": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ENHANCERS)
def test_enhancements_are_those_of_pillow(name, channels):
    function, images = getattr(augment, name), pictures(channels=channels)
    actual = jax.jit(function)(jnp.asarray(images), factor=jnp.asarray(FACTORS))
    expected = by_pillow(
        lambda image, factor: ENHANCERS[name](image).enhance(factor), images, FACTORS
    )
    # A product that is a whole number up to rounding may be truncated to the one below.
    assert_levels(function, actual, expected, by="Pillow", levels=1, differing=0.01)


OPERATIONS = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "grayscale": lambda image: image.convert("L").convert(image.mode),
    "invert": ImageOps.invert,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_without_magnitude_are_those_of_pillow(name, channels):
    function = getattr(augment, name)
    images = np.concatenate(
        [
            pictures(channels=channels, height=30, width=20),
            np.tile(np.arange(20, dtype=np.uint8)[:, None], (2, 30, 1, channels)) * [[[[10]]]],
            np.full((1, 30, 20, channels), 255),
        ]
    ).astype(np.uint8)
    images[-2, :, 1:] = images[-2, :1, :1]  # one column differs
    actual = jax.jit(function)(jnp.asarray(images))
    expected = by_pillow(OPERATIONS[name], images)
    # Pillow computes the contrast in floating point.
    contrast = name == "autocontrast"
    assert_levels(function, actual, expected, by="Pillow", levels=contrast, differing=0.01)


@pytest.mark.parametrize(
    ("name", "argument", "values"),
    [("posterize", "bits", (1, 3, 4, 8)), ("solarize", "threshold", (0, 1, 128, 255))],
)
def test_operations_with_magnitude_are_those_of_pillow(name, argument, values):
    function, images = getattr(augment, name), pictures()
    actual = jax.jit(function)(jnp.asarray(images), **{argument: jnp.asarray(values)})
    expected = by_pillow(getattr(ImageOps, name), images, values)
    assert_levels(function, actual, expected, by="Pillow")


def test_no_bits_are_black():
    assert not augment.posterize(jnp.full((1, 1, 1, 1), 255, jnp.uint8), bits=0).any()


def _shift(pixel, shift):
    hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
    return np.array(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)) * 255


def test_hues_shift_in_the_hsv_space():
    images, shifts = pictures(), (-0.5, -0.1, 0.25, 0.4)
    images[0, 0, :3] = [[9, 9, 200], [200, 9, 9], [9, 200, 9]]
    actual = jax.jit(augment.adjust_hue)(jnp.asarray(images), shift=jnp.asarray(shifts))
    expected = [
        np.apply_along_axis(_shift, -1, image.astype(np.float64), shift)
        for image, shift in zip(images, shifts, strict=True)
    ]
    expected = np.floor(np.stack(expected) + 0.5).astype(np.uint8)
    assert_levels(augment.adjust_hue, actual, expected, by="colorsys", levels=1, differing=0.03)


@pytest.mark.slow
def test_a_third_of_the_circle_permutes_the_channels():
    images = pictures()
    shifted = np.asarray(augment.adjust_hue(jnp.asarray(images), shift=1 / 3))
    np.testing.assert_array_equal(shifted, np.roll(images, 1, axis=-1))


def test_gray_images_have_no_hue():
    images = jnp.asarray(pictures(channels=1))
    np.testing.assert_array_equal(augment.adjust_hue(images, shift=0.3), images)


def _float_calls():
    calls = {name: {"factor": 1.3} for name in ENHANCERS} | {name: {} for name in OPERATIONS}
    return calls | {
        "adjust_hue": {"shift": 0.2}, "posterize": {"bits": 3}, "solarize": {"threshold": 100}
    }  # fmt: skip


@pytest.mark.slow
def test_float_images_have_the_same_range():
    images = jnp.asarray(pictures())

    def results(images):
        calls = _float_calls().items()
        return {name: getattr(augment, name)(images, **given) for name, given in calls}

    whole, real = jax.jit(results)(images), jax.jit(results)(images.astype(jnp.float32))
    for name, expected in whole.items():
        assert real[name].dtype == jnp.float32
        np.testing.assert_allclose(real[name], expected, atol=1.8, err_msg=name)


def test_jitter_draws_its_factors_uniformly_and_one_per_image():
    images = jnp.full((3000, 1, 1, 3), 100.0)
    jitter = jax.jit(augment.color_jitter, static_argnames=("brightness", "hue"))
    factors = np.asarray(jitter(jax.random.key(0), images, brightness=0.4))[:, 0, 0, 0] / 100
    expected = np.quantile(factors, np.linspace(0, 1, 11))
    np.testing.assert_allclose(expected, np.linspace(0.6, 1.4, 11), atol=0.04)
    assert len(np.unique(factors)) > 2900
    wide = np.asarray(jitter(jax.random.key(1), images, brightness=1.5))
    assert wide.min() < 1  # the smallest factor is 0, the largest 2.5
    assert wide.max() == pytest.approx(250, abs=1)


def test_jitter_is_its_adjustments_in_a_random_order(monkeypatch):
    images, key = jnp.asarray(pictures(seed=3)), jax.random.key(0)
    results = []
    for order in ([0, 1], [1, 0]):
        with monkeypatch.context() as patch:
            patch.setattr(jax.random, "permutation", lambda *_, fixed=order: jnp.array(fixed))
            results.append(augment.color_jitter(key, images, brightness=0.9, contrast=0.9))
    assert (results[0] != results[1]).any()
    drawn = np.asarray(augment.color_jitter(key, images, brightness=0.9, contrast=0.9))
    assert any(np.array_equal(drawn, result) for result in results)


def test_jitter_of_nothing_or_of_the_hue_keeps_the_value():
    images, key = jnp.asarray(pictures()), jax.random.key(0)
    unchanged = augment.color_jitter(key, images)
    np.testing.assert_array_equal(unchanged, images)
    hue = augment.color_jitter(key, images, hue=0.5)
    value = np.asarray(pictures()).max(-1)
    properties.agree(augment.color_jitter, hue.max(-1), value, by="invariant", rtol=1.01 / 255)


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match="`images` must have 1 or 3 channels, got 2"):
        augment.grayscale(jnp.zeros((1, 2, 2, 2)))
    with pytest.raises(TypeError, match="`images` must be uint8 or floating-point, got int32"):
        augment.invert(jnp.zeros((1, 2, 2, 3), jnp.int32))
    with pytest.raises(ValueError, match=r"`images` must have shape \[batch, .*, got \(2, 2, 3\)"):
        augment.equalize(jnp.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"`hue` must be in \[0, 0.5\], got 0.6"):
        augment.color_jitter(jax.random.key(0), jnp.zeros((1, 2, 2, 3)), hue=0.6)
    with pytest.raises(ValueError, match="`contrast` must be non-negative, got -1"):
        augment.color_jitter(jax.random.key(0), jnp.zeros((1, 2, 2, 3)), contrast=-1)
