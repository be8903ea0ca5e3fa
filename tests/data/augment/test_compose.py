"""Augmentations by name: their parsing, their composition, and images of every form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.data import augment
from jaxml.errors import InputError
from tests.data.augment.pictures import pictures

REQUIRED = {
    "crop": "padding=1", "rotation": "degrees=20", "cutout": "size=1", "posterize": "bits=4",
    "solarize": "threshold=99", "sharpness": "factor=2", "repeat": "repeats=2",
}  # fmt: skip
COLORED = {"color_jitter": "brightness=0.4:contrast=0.4:saturation=0.4:hue=0.1"}
ALL = [
    augment.parse(":".join(filter(None, [name, REQUIRED.get(name, COLORED.get(name))])))
    for name in augment.AUGMENTATIONS
]


def _apply(augmentations, images, seed=0):
    count = len(images)
    keys = jax.random.split(jax.random.key(seed), len(augmentations))
    return augment.apply(
        augmentations,
        list(keys),
        augment.Examples(images, jnp.arange(count) % 3, jnp.arange(count)),
        run_key=jax.random.key(seed),
        epoch=jnp.int32(0),
        num_classes=3,
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 3, 1), (3, 2, 2, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "bfloat16"])
def test_shape_and_dtype_stay(shape, dtype):
    for augmentation in ALL:
        examples = jax.eval_shape(
            lambda images, one=augmentation: _apply([one], images),
            jax.ShapeDtypeStruct(shape, dtype),
        )
        assert (examples.images.shape, examples.images.dtype) == (shape, dtype), augmentation
        assert examples.labels.shape == ((shape[0], 3) if augmentation.mixes else shape[:1])


@pytest.mark.slow
def test_values_stay_in_their_range():
    images = jax.random.uniform(jax.random.key(0), (2, 1, 1, 3), jnp.float32, 0, 255)
    # The policies consist of the same operations; mixing takes long to compile.
    same = ("trivial_augment_wide", "aug_mix", *augment.MIXING)
    chosen = [one for one in ALL if one.name not in same]

    def results(images):
        return [_apply([augmentation], images).images for augmentation in chosen]

    for augmentation, result in zip(chosen, jax.jit(results)(images), strict=True):
        assert ((result >= 0) & (result <= 255)).all(), augmentation  # and no NaN


@pytest.mark.slow
def test_augmentations_follow_each_other_with_their_own_keys():
    images = jnp.asarray(pictures())
    names = ("crop:padding=2", "invert:probability=1", "posterize:bits=2:probability=1.0")
    composed = _apply(list(map(augment.parse, names)), images)
    cropped = augment.random_crop(jax.random.split(jax.random.key(0), 3)[0], images, padding=2)
    expected = augment.posterize(augment.invert(cropped), bits=2)
    np.testing.assert_array_equal(composed.images, expected)
    np.testing.assert_array_equal(composed.labels, [0, 1, 2, 0])


@pytest.mark.slow
def test_labels_are_mixed_and_repeated_with_their_images():
    images = jnp.asarray(pictures())
    mixed = _apply(list(map(augment.parse, ("repeat:repeats=2", "mixup:alpha=1"))), images)
    assert mixed.indices.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(mixed.labels.sum(1), 1, atol=1e-6)
    assert (np.asarray(mixed.labels)[:, 2] == 0).all()
    twice = _apply(list(map(augment.parse, ("mixup", "cutmix"))), images)
    np.testing.assert_allclose(twice.labels.sum(1), 1, atol=1e-6)


def test_a_function_is_applied_with_a_probability():
    images = jnp.zeros((2000, 1, 1, 1), jnp.uint8)
    changed = np.asarray(
        augment.randomly(jax.random.key(0), images, augment.invert, probability=0.2)
    )
    assert abs(np.mean(changed == 255) - 0.2) < 0.04
    assert set(np.unique(changed)) == {0, 255}
    for probability in (0, 1):
        changed = augment.randomly(
            jax.random.key(0), images, augment.invert, probability=probability
        )
        assert (np.asarray(changed) == 255 * probability).all()


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("flip", {}),
        ("crop:padding=4:mode=reflect", {"padding": 4, "mode": "reflect"}),
        ("mixup:alpha=1", {"alpha": 1}),
        ("grayscale:probability=2e-1", {"probability": 0.2}),
        ("affine:degrees=5:translate=0.1", {"degrees": 5, "translate": 0.1}),
    ],
)
def test_names_and_parameters_are_parsed(text, parameters):
    parsed = augment.parse(text)
    assert parsed.name == text.partition(":")[0]
    assert dict(parsed.parameters) == parameters
    assert augment.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crp:padding=4", "must be one of crop, .*, got 'crp'; did you mean 'crop'?"),
        ("", "must be one of crop, .*, got ''"),
        (
            "crop:pading=4",
            "must give crop only the parameters padding, mode, got 'pading'; "
            "did you mean 'padding'?",
        ),
        ("flip:p=1", "must give flip no parameters, got 'p'"),
        ("crop", "must give crop the parameter padding, got 'crop'"),
        ("crop:padding", "must give padding one value, got 'crop:padding'"),
        ("crop:padding=1:padding=2", "must give padding one value, got 'crop:padding=1:padding=2'"),
        ("crop:padding=four", "must give crop:padding an int, got 'four'"),
        ("crop:padding=1.5", "must give crop:padding an int, got '1.5'"),
        ("mixup:alpha=True", "must give mixup:alpha a float, got 'True'"),
        ("mixup:alpha=", "must give mixup:alpha a float, got ''"),
        ("random_resized_crop:size=3", "only the parameters min_area, .*, got 'size'"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=f"^config.data.augment .*{message}") as raised:
        augment.parse(text)
    assert "\n" not in str(raised.value)
