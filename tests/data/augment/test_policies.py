"""Policies against torchvision: every result is one of those that it may return."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax import lax
from PIL import Image, ImageEnhance, ImageOps

from jaxml.data import augment
from tests.data.augment.pictures import assert_levels, pictures
from tests.models import peers

COUNT = 600


@pytest.fixture(scope="module")
def transforms():
    return peers.torchvision().transforms


def _picture(seed=7):
    picture = pictures(2, height=24, width=20, seed=seed)[0]
    return (30 + 0.6 * picture).astype(np.uint8)  # so that every operation changes it


def _results(function, **given):
    images = jnp.asarray(np.repeat(_picture()[None], COUNT, axis=0))
    call = jax.jit(lambda key, images: function(key, images, **given))
    return np.asarray(call(jax.random.key(0), images))


def _outcomes(transform, tries):
    """Returns the different results of a transform of torchvision."""
    import torch

    torch.manual_seed(0)
    image = Image.fromarray(_picture())
    return np.unique(np.stack([np.asarray(transform(image)) for _ in range(tries)]), axis=0)


def _nearest(results, outcomes):
    """Returns the outcome from which the fewest values of each result differ, and how many."""
    different = np.stack(
        [np.mean(np.abs(outcomes.astype(np.int16) - one) > 2, axis=(1, 2, 3)) for one in results]
    )
    return different.argmin(1), different.min(1)


def _by_pillow(*, shear, translate, degrees, factor, bits, threshold):
    """Returns the results of the operations at one magnitude."""
    image = Image.fromarray(_picture())

    def warped(*coefficients):
        return image.transform(image.size, Image.Transform.AFFINE, coefficients)

    results = [image, ImageOps.autocontrast(image), ImageOps.equalize(image)]
    black = Image.new("RGB", image.size)
    results += [ImageOps.posterize(image, bits) if bits else black]
    results += [ImageOps.solarize(image, threshold)]
    for sign in (-1, 1):
        results += [warped(1, sign * shear, 0, 0, 1, 0), warped(1, 0, 0, sign * shear, 1, 0)]
        results += [warped(1, 0, sign * int(translate[0]), 0, 1, 0)]
        results += [warped(1, 0, 0, 0, 1, sign * int(translate[1]))]
        results += [image.rotate(sign * degrees)]
        for enhance in ("Brightness", "Color", "Contrast", "Sharpness"):
            results.append(getattr(ImageEnhance, enhance)(image).enhance(1 + sign * factor))
    return np.stack([np.asarray(result) for result in results])


def test_rand_augment_applies_the_operations_of_pillow():
    part = 22 / 30
    outcomes = _by_pillow(
        shear=0.3 * part,
        translate=(150 / 331 * 20 * part, 150 / 331 * 24 * part),
        degrees=30 * part,
        factor=0.9 * part,
        bits=5,
        threshold=255 * (1 - part),
    )
    results = _results(augment.rand_augment, num_ops=1, magnitude=22)
    _assert_among(augment.rand_augment, results, outcomes, by="Pillow")


def test_trivial_augment_applies_the_operations_of_pillow():
    outcomes = np.concatenate(
        [
            _by_pillow(
                shear=0.99 * part,
                translate=(32 * part, 32 * part),
                degrees=135 * part,
                factor=0.99 * part,
                bits=round(8 - 6 * part),
                threshold=255 * (1 - part),
            )
            for part in (0, 1)
        ]
    )
    results = _results(augment.trivial_augment_wide, num_magnitude_bins=2)
    _assert_among(augment.trivial_augment_wide, results, outcomes, by="Pillow")


def test_aug_mix_mixes_the_operations_of_pillow():
    outcomes = np.concatenate(
        [
            _by_pillow(
                shear=0.3 * part,
                translate=(20 / 3 * part, 24 / 3 * part),
                degrees=30 * part,
                factor=0.9 * part,
                bits=4 - round(4 * part),
                threshold=255 * (1 - part),
            )
            for part in np.linspace(0, 1, 10).tolist()
        ]
    )
    # With such an alpha, all weights are equal.
    given = {"mixture_width": 1, "chain_depth": 1, "alpha": 1e6, "severity": 10}
    results = _results(augment.aug_mix, **given, interpolation="nearest")
    outcomes = ((outcomes.astype(int) + _picture() + 1) // 2).astype(np.uint8)
    # Means of two values are rounded up or down, because the weights are not quite equal.
    _assert_among(augment.aug_mix, results, outcomes, by="Pillow", coverage=0.7, differing=0.6)
    # The strongest posterization keeps no bits.
    assert (np.abs(results - _picture() / 2) < 1).all((1, 2, 3)).any()


def _assert_among(function, results, outcomes, *, by, coverage=0.9, differing=0.06):
    outcomes = np.unique(outcomes, axis=0)
    nearest, different = _nearest(results, outcomes)
    # Where a coordinate lies between two pixels, either is right: in the diagonal of an image that
    # is turned by 45 degrees, and in every fifth row if it is sheared by 0.2.
    assert different.max() < 0.15
    assert np.mean(different < 0.03) > 0.9
    assert len(set(nearest)) > coverage * len(outcomes)
    assert_levels(function, results, outcomes[nearest], by=by, levels=255, differing=differing)


@pytest.mark.slow
def test_rand_augment_applies_the_operations_of_torchvision(transforms):
    given = {"num_ops": 1, "magnitude": 22}
    outcomes = _outcomes(transforms.RandAugment(**given), 400)
    results = _results(augment.rand_augment, **given)
    nearest, different = _nearest(results, outcomes)
    assert different.max() < 0.03
    assert set(nearest) == set(range(len(outcomes)))
    assert_levels(
        augment.rand_augment, results, outcomes[nearest], by="torchvision", levels=255,
        differing=0.06,
    )  # fmt: skip
    # Each of the 14 operations is equally likely.
    unchanged = (results == _picture()).all((1, 2, 3))
    assert scipy.stats.binomtest(int(unchanged.sum()), COUNT, 1 / 14).pvalue > 1e-3


@pytest.mark.slow
def test_trivial_augment_applies_the_operations_of_torchvision(transforms):
    given = {"num_magnitude_bins": 4}
    outcomes = _outcomes(transforms.TrivialAugmentWide(**given), 1500)
    results = _results(augment.trivial_augment_wide, **given)
    nearest, different = _nearest(results, outcomes)
    assert different.max() < 0.08  # a diagonal turned by 45 degrees lies between two pixels
    assert len(set(nearest)) > 0.95 * len(outcomes)
    assert_levels(
        augment.trivial_augment_wide, results, outcomes[nearest], by="torchvision", levels=255,
        differing=0.06,
    )  # fmt: skip


@pytest.mark.slow
def test_aug_mix_mixes_the_operations_of_torchvision(transforms):
    # With such an alpha, all weights are equal.
    given = {"mixture_width": 1, "chain_depth": 1, "alpha": 1e6, "severity": 2}
    outcomes = _outcomes(transforms.AugMix(**given), 300)
    results = _results(augment.aug_mix, **given)
    nearest, different = _nearest(results, outcomes)
    found = different < 0.03  # some outcomes are rare
    assert found.mean() > 0.97
    nearest, results = nearest[found], results[found]
    assert_levels(augment.aug_mix, results, outcomes[nearest], by="torchvision", levels=4)


@pytest.mark.slow
def test_operations_follow_each_other():
    one, three = (_results(augment.rand_augment, num_ops=n, magnitude=20) for n in (1, 3))
    counts = [len(np.unique(results, axis=0)) for results in (one, three)]
    assert counts[0] < 30 < 300 < counts[1]
    np.testing.assert_array_equal(
        _results(augment.rand_augment, num_ops=0), np.repeat(_picture()[None], COUNT, axis=0)
    )


@pytest.mark.slow
def test_results_are_equal_on_a_cpu_and_on_other_devices(monkeypatch):
    function, images = augment.rand_augment, jnp.asarray(pictures(channels=1))
    keys = jax.random.split(jax.random.key(1), 3)
    cpu = np.stack([jax.jit(function)(key, images) for key in keys])
    monkeypatch.setattr(lax, "platform_dependent", lambda *arrays, default, **_: default(*arrays))
    other = np.asarray(jax.jit(jax.vmap(lambda key: function(key, images)))(keys))
    assert cpu.dtype == other.dtype == np.uint8
    assert (cpu != np.asarray(images)).any()
    np.testing.assert_allclose(cpu.astype(int), other.astype(int), atol=1)


def test_wrong_parameters_are_refused():
    images, key = jnp.zeros((1, 4, 4, 3)), jax.random.key(0)
    with pytest.raises(ValueError, match=r"`magnitude` must be in \[0, 30\], got 31"):
        augment.rand_augment(key, images, magnitude=31)
    with pytest.raises(ValueError, match="`num_ops` must be non-negative, got -1"):
        augment.rand_augment(key, images, num_ops=-1)
    with pytest.raises(ValueError, match="`num_magnitude_bins` must be at least 2, got 1"):
        augment.trivial_augment_wide(key, images, num_magnitude_bins=1)
    with pytest.raises(ValueError, match=r"`severity` must be in \[1, 10\], got 0"):
        augment.aug_mix(key, images, severity=0)
    with pytest.raises(ValueError, match="`alpha` must be positive, got 0"):
        augment.aug_mix(key, images, alpha=0)
