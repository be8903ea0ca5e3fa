"""Mixed examples against NumPy, with the proportions that their labels show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxml.data import augment
from tests import properties
from tests.data.augment.pictures import pictures

MIXING = {"mixup": augment.mixup, "cutmix": augment.cutmix}


def _batch():
    return jnp.asarray(pictures()), jnp.eye(4)[jnp.array([2, 0, 3, 1])]


def _mix(name, **given):
    images, labels = _batch()
    keys = jax.random.split(jax.random.key(0), 500)
    mix = jax.jit(jax.vmap(lambda key: MIXING[name](key, images, labels, **given)))
    return map(np.asarray, mix(keys))


def test_mixup_is_a_convex_combination_with_the_neighbor():
    images, labels = map(np.asarray, _batch())
    mixed, mixed_labels = _mix("mixup", alpha=0.7)
    ratios = mixed_labels[:, 0, 2]
    assert scipy.stats.kstest(ratios, scipy.stats.beta(0.7, 0.7).cdf).pvalue > 1e-3
    weights = ratios.astype(np.float64)[:, None, None]
    expected = weights * labels + (1 - weights) * labels[[3, 0, 1, 2]]
    properties.agree(augment.mixup, mixed_labels, expected, by="NumPy float64")
    weights = weights[..., None, None]
    expected = weights * images + (1 - weights) * images[[3, 0, 1, 2]]
    assert mixed.dtype == np.uint8
    np.testing.assert_allclose(mixed, expected, atol=0.501)


def _clipped(half, size):
    """Returns the lengths of intervals of some half-widths around each pixel, inside the image."""
    center = np.arange(size)
    return np.minimum(center + half[:, None], size) - np.maximum(center - half[:, None], 0)


def test_cutmix_replaces_a_rectangle_by_that_of_the_neighbor():
    images, labels = map(np.asarray, _batch())
    mixed, mixed_labels = _mix("cutmix", alpha=1.0)
    own, other = images[0], images[3]
    differ = (own != other).any(-1)
    replaced = (mixed[:, 0] == other).all(-1) & differ
    assert ((mixed[:, 0] == own).all(-1) | replaced).all()
    areas = []
    for mask in replaced:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.zeros_like(mask)
        if len(rows):
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        np.testing.assert_array_equal(mask, box & differ)
        areas.append(box.mean())
    kept = 1 - np.array(areas)[:, None, None]
    expected = kept * labels + (1 - kept) * labels[[3, 0, 1, 2]]
    properties.agree(augment.cutmix, mixed_labels, expected, by="NumPy float64")
    sides = np.sqrt(1 - np.linspace(0, 1, 1000)) / 2
    means = [_clipped(np.floor(sides * size), size).mean(1) for size in (13, 10)]
    expected_area = np.mean(means[0] * means[1]) / 130
    assert np.mean(areas) == pytest.approx(expected_area, abs=4 * np.std(areas) / np.sqrt(500))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MIXING)
def test_labels_sum_to_one(name, dtype):
    images, _ = _batch()
    labels = jax.nn.softmax(jax.random.normal(jax.random.key(0), (4, 7))).astype(dtype)
    mixed, labels = MIXING[name](jax.random.key(1), images.astype(dtype), labels, alpha=0.5)
    assert mixed.dtype == labels.dtype == dtype
    tolerance = 1e-6 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(labels.astype(jnp.float32).sum(1), 1, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXING)
def test_alpha_zero_and_a_batch_of_one_change_nothing(name):
    images, labels = _batch()
    for count, alpha in ((4, 0), (1, 1.0)):
        batch = images[:count], labels[:count]
        mixed, mixed_labels = MIXING[name](jax.random.key(0), *batch, alpha=alpha)
        np.testing.assert_array_equal(mixed, batch[0])
        np.testing.assert_allclose(mixed_labels, batch[1], atol=1e-6)


def test_either_is_chosen_with_a_probability():
    images, labels = _batch()
    keys = jax.random.split(jax.random.key(0), 200)

    def mix(key, probability):
        return augment.mixup_or_cutmix(key, images, labels, cutmix_probability=probability)

    mixed, mixed_labels = map(np.asarray, jax.jit(jax.vmap(lambda key: mix(key, 0.25)))(keys))
    np.testing.assert_allclose(mixed_labels.sum(-1), 1, atol=1e-6)
    own, other = np.asarray(images[0]), np.asarray(images[3])
    cut = ((mixed[:, 0] == own) | (mixed[:, 0] == other)).all((1, 2, 3))
    assert 0.15 < np.mean(cut) < 0.4
    ratios = mixed_labels[:, 0, 2, None, None, None].astype(np.float64)
    blended = ratios * own + (1 - ratios) * other
    expected = np.where(cut[:, None, None, None], mixed[:, 0], blended)
    properties.agree(
        augment.mixup_or_cutmix, mixed[:, 0].astype(np.float32), expected, by="NumPy float64",
        rtol=0.51 / 255,
    )  # fmt: skip


@pytest.mark.parametrize("repeats", [1, 2, 3, 9])
def test_copies_follow_each_other(repeats):
    images, labels = pictures(7), np.arange(7)
    copies = augment.repeat((jnp.asarray(images), jnp.asarray(labels)), repeats=repeats)
    distinct = int(np.ceil(7 / repeats))
    expected = tuple(np.concatenate([a[:distinct]] * repeats)[:7] for a in (images, labels))
    properties.agree(augment.repeat, copies, expected, by="NumPy", rtol=0)


def test_wrong_arguments_are_refused():
    images, labels = _batch()
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="`alpha` must be non-negative, got -1"):
        augment.mixup(key, images, labels, alpha=-1)
    with pytest.raises(ValueError, match=r"`labels` must have shape \[4, classes\], got \(4,\)"):
        augment.cutmix(key, images, labels[:, 0])
    with pytest.raises(TypeError, match="`labels` must be floating-point, got int32"):
        augment.mixup(key, images, labels.astype(jnp.int32))
    with pytest.raises(ValueError, match="`repeats` must be positive, got 0"):
        augment.repeat((images,), repeats=0)
