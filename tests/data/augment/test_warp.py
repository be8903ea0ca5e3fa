"""Affine and perspective transformations against torchvision and Pillow."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxml.data import augment
from tests import properties
from tests.data.augment.pictures import assert_levels, by_pillow, pictures
from tests.models import peers

ANGLES = (0.0, 20.0, -75.0, 180.0)


@pytest.fixture(scope="module")
def functional():
    return peers.torchvision().transforms.functional


def by_torch(function, images, *arguments):
    """Applies a function of a torch image, and of one entry of each argument, to each image."""
    torch = pytest.importorskip("torch")
    results = []
    for image, *entries in zip(images, *arguments, strict=True):
        results.append(function(torch.tensor(image).permute(2, 0, 1), *entries).permute(1, 2, 0))
    return np.stack(results)


def _mode(functional, name):
    return functional.InterpolationMode(name)


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_affine_transformations_are_those_of_torchvision(functional, interpolation):
    images = pictures()
    arguments = {
        "angle": ANGLES,
        "translate": [(0, 0), (2, -1), (0, 3), (-1, 0)],
        "scale": (0.7, 1.0, 1.6, 1.0),
        "shear": [(10.0, 0.0), (-20.0, 5.0), (0.0, 30.0), (0.0, 0.0)],
    }

    def reference(image, *entries):
        given = dict(zip(arguments, map(list_or_number, entries), strict=True))
        return functional.affine(image, **given, interpolation=_mode(functional, interpolation))

    def list_or_number(entry):
        return list(entry) if isinstance(entry, tuple) else entry

    expected = by_torch(reference, images, *arguments.values())
    traced: dict[str, Any] = {
        name: jnp.asarray(values, jnp.float32) for name, values in arguments.items()
    }
    for name in ("translate", "shear"):
        traced[name] = tuple(traced[name].T)
    function = jax.jit(augment.affine, static_argnames="interpolation")
    actual = function(jnp.asarray(images), **traced, interpolation=interpolation)
    # A coordinate between two pixels may be rounded to either of them.
    levels = 255 if interpolation == "nearest" else 1
    assert_levels(augment.affine, actual, expected, by="torchvision", levels=levels, differing=0.02)


def test_affine_transformations_are_those_of_pillow():
    images = pictures(height=12)
    angles, scales, shifts = ANGLES, (0.7, 1.0, 1.6, 1.0), [(0, 0), (2, -1), (0, 3), (-1, 0)]

    def reference(image, angle, scale, shift):
        a = np.radians(angle)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1 / scale]])
        center = np.array([[1, 0, image.width / 2], [0, 1, image.height / 2], [0, 0, 1]])
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
        inverse = np.linalg.inv(move @ center @ turn @ np.linalg.inv(center))
        coefficients = (inverse / inverse[2, 2])[:2].ravel().tolist()
        return image.transform(image.size, Image.Transform.AFFINE, coefficients)

    expected = by_pillow(reference, images, angles, scales, shifts)
    actual = jax.jit(augment.affine)(
        jnp.asarray(images),
        angle=jnp.asarray(angles),
        scale=jnp.asarray(scales),
        translate=tuple(jnp.asarray(shifts).T),
    )
    assert_levels(augment.affine, actual, expected, by="Pillow", levels=255, differing=0.02)


def test_perspectives_are_those_of_pillow():
    images = pictures()
    start = [[0, 0], [10, 0], [10, 13], [0, 13]]
    ends = [start, [[2, 1], [10, 0], [9, 9], [0, 12]], [[0, 2], [7, 0], [10, 13], [3, 12]], start]

    def reference(image, end):
        rows, values = [], []
        for (x, y), (u, v) in zip(end, start, strict=True):
            rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
            values += [u, v]
        coefficients = np.linalg.solve(rows, values).tolist()
        return image.transform(image.size, Image.Transform.PERSPECTIVE, coefficients)

    expected = by_pillow(reference, images, ends)
    function = jax.jit(augment.perspective, static_argnames="interpolation")
    actual = function(jnp.asarray(images), corners=jnp.asarray(ends), interpolation="nearest")
    assert_levels(augment.perspective, actual, expected, by="Pillow", levels=255, differing=0.02)


def test_rotations_are_those_of_pillow():
    # An odd height and an even width would put all pixels between two others in a quarter turn.
    images, angles = pictures(height=12), (90.0, 20.0, -75.0, 180.0)
    images[-1] = images[0]
    actual = jax.jit(augment.rotate)(jnp.asarray(images), angle=jnp.asarray(angles))
    expected = by_pillow(lambda image, angle: image.rotate(angle), images, angles)
    assert_levels(augment.rotate, actual, expected, by="Pillow", levels=255, differing=0.02)


def test_four_quarters_are_a_whole_turn():
    images = turned = jnp.asarray(pictures(height=9, width=9))
    rotate = jax.jit(augment.rotate, static_argnames="interpolation")
    for _ in range(4):
        turned = rotate(turned, angle=90.0, interpolation="bilinear")
    np.testing.assert_array_equal(turned, images)
    quarter = rotate(images, angle=90.0, interpolation="bilinear")
    np.testing.assert_array_equal(quarter, np.rot90(images, axes=(1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_perspectives_are_those_of_torchvision(functional, interpolation):
    images = pictures()
    height, width = images.shape[1:3]
    start = [[0, 0], [width, 0], [width, height], [0, height]]
    ends = np.array(
        [start, [[2, 1], [10, 0], [9, 9], [0, 12]], [[0, 2], [7, 0], [10, 13], [3, 12]], start]
    )

    def reference(image, end):
        mode = _mode(functional, interpolation)
        return functional.perspective(image, start, end.tolist(), interpolation=mode)

    expected = by_torch(reference, images, ends)
    function = jax.jit(augment.perspective, static_argnames="interpolation")
    actual = function(jnp.asarray(images), corners=jnp.asarray(ends), interpolation=interpolation)
    levels = 255 if interpolation == "nearest" else 2
    assert_levels(
        augment.perspective, actual, expected, by="torchvision", levels=levels, differing=0.05
    )


def _place(images):
    """Returns x and y of the brightest pixel of each image."""
    flat = np.asarray(images)[..., 0].reshape(len(images), -1).argmax(1)
    return flat % images.shape[2], flat // images.shape[2]


def test_random_affine_draws_uniformly():
    images = jnp.zeros((2000, 21, 11, 1)).at[:, 10, 5].set(255)
    move = jax.jit(augment.random_affine, static_argnames=("translate", "degrees"))
    x, y = _place(move(jax.random.key(0), images, translate=0.2))
    assert set(x - 5) == set(range(-2, 3))
    assert set(y - 10) == set(range(-4, 5))
    counts = np.bincount(x - 3)
    ratios = (counts / 2000).astype(np.float32)
    expected = np.array([0.7, 1, 1, 1, 0.7]) / 4.4  # the moves are rounded from [-2.2, 2.2)
    properties.agree(augment.random_affine, ratios, expected, by="probabilities", rtol=0.2)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.07

    images = jnp.zeros((2000, 21, 21, 1)).at[:, 10, 20].set(255).at[:, 10, 19].set(254)
    x, y = _place(augment.random_rotation(jax.random.key(1), images, degrees=30))
    angles = np.degrees(np.arctan2(10 - y, x - 10))
    quantiles = np.quantile(angles, np.linspace(0, 1, 5)).astype(np.float32)
    expected = np.linspace(-30, 30, 5)
    properties.agree(augment.random_rotation, quantiles, expected, by="probabilities", rtol=0.14)


@pytest.mark.slow
def test_random_operations_of_strength_zero_change_nothing():
    images, key = jnp.asarray(pictures()), jax.random.key(0)
    for changed in (
        augment.random_affine(key, images),
        augment.random_rotation(key, images, degrees=0),
        augment.random_perspective(key, images, probability=0),
        augment.random_perspective(key, images, distortion=0, probability=1),
    ):
        np.testing.assert_allclose(changed, images, atol=1)


def test_random_perspective_moves_corners_inwards_with_a_probability():
    images = jnp.full((1000, 12, 12, 1), 255, jnp.uint8)
    moved = np.asarray(jax.jit(augment.random_perspective)(jax.random.key(0), images))
    changed = (moved != 255).any((1, 2, 3))
    properties.agree(
        augment.random_perspective, np.float32(changed.mean()), 0.5, by="probabilities", rtol=0.1
    )
    assert (moved[:, 3:9, 3:9] > 200).all()


def test_wrong_parameters_are_refused():
    images, key = jnp.zeros((1, 4, 4, 1)), jax.random.key(0)
    with pytest.raises(ValueError, match="`interpolation` must be one of nearest, bilinear, got"):
        augment.rotate(images, angle=3, interpolation="cubic")
    with pytest.raises(ValueError, match=r"`degrees` must be in \[0, 180\], got -1"):
        augment.random_rotation(key, images, degrees=-1)
    with pytest.raises(ValueError, match=r"`min_scale` must be in \(0, 1.0\], got 2"):
        augment.random_affine(key, images, min_scale=2)
    with pytest.raises(ValueError, match=r"`distortion` must be in \[0, 1\], got 2"):
        augment.random_perspective(key, images, distortion=2)


def test_pillow_turns_counterclockwise():
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
    assert np.asarray(image.rotate(90)).tolist() == [[1, 3], [0, 2]]
