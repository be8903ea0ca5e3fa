"""Intermediate results by name."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.models import MODELS, intermediate_shapes, intermediates

MODEL = MODELS["resnet_tiny"](num_classes=5)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
# Names and shapes of the intermediate results in the tables of the modules.
TABLES = {
    "inception_v1": (
        "stem 28x28x192; inception_3a 28x28x256; inception_3b 28x28x480; inception_4a 14x14x512; "
        "inception_4b 14x14x512; inception_4c 14x14x512; inception_4d 14x14x528; inception_4e "
        "14x14x832; inception_5a 7x7x832; inception_5b 7x7x1024; features 1024"
    ),
    "inception_v2": (
        "stem 28x28x192; inception_3a 28x28x256; inception_3b 28x28x320; inception_3c 14x14x576; "
        "inception_4a 14x14x576; inception_4b 14x14x576; inception_4c 14x14x608; inception_4d "
        "14x14x608; inception_4e 7x7x1056; inception_5a 7x7x1024; inception_5b 7x7x1024; features "
        "1024"
    ),
    "inception_v3": (
        "stem 35x35x192; mixed_5b 35x35x256; mixed_5c 35x35x288; mixed_5d 35x35x288; mixed_6a "
        "17x17x768; mixed_6b 17x17x768; mixed_6c 17x17x768; mixed_6d 17x17x768; mixed_6e "
        "17x17x768; mixed_7a 8x8x1280; mixed_7b 8x8x2048; mixed_7c 8x8x2048; features 2048"
    ),
    "inception_v4": (
        "stem 147x147x64; mixed_3a 73x73x160; mixed_4a 71x71x192; mixed_5a 35x35x384; stage1 "
        "35x35x384; reduction_a 17x17x1024; stage2 17x17x1024; reduction_b 8x8x1536; stage3 "
        "8x8x1536; features 1536"
    ),
    "inception_resnet_v1": (
        "stem 35x35x256; stage1 35x35x256; mixed_6a 17x17x896; stage2 17x17x896; mixed_7a "
        "8x8x1792; stage3 8x8x1792; features 1792"
    ),
    "inception_resnet_v2": (
        "stem 35x35x192; mixed_5b 35x35x320; stage1 35x35x320; mixed_6a 17x17x1088; stage2 "
        "17x17x1088; mixed_7a 8x8x2080; stage3 8x8x2080; end 8x8x1536; features 1536"
    ),
    "inception_small": (
        "stem 32x32x16; stage1 32x32x32; mixed2 16x16x72; stage2 16x16x72; mixed3 8x8x128; stage3 "
        "8x8x128; features 128"
    ),
    "inception_resnet_small": (
        "stem 32x32x16; stage1 32x32x16; reduction_a 16x16x64; stage2 16x16x64; reduction_b "
        "8x8x144; stage3 8x8x144; features 144"
    ),
}


@pytest.fixture(scope="module")
def variables():
    return jax.jit(partial(MODEL.init, train=False))(jax.random.key(0), IMAGES)


@pytest.mark.slow
def test_intermediates_are_the_outputs_of_the_modules(variables):
    captured: Any = MODEL.apply(
        variables, IMAGES, train=False, capture_intermediates=True, mutable=["intermediates"]
    )[1]
    found = intermediates(MODEL, variables, IMAGES)
    assert list(found) == ["stem", "stage1", "stage2", "features"]
    for stage in ("stage1", "stage2"):
        expected = captured["intermediates"][stage]["__call__"][0]
        np.testing.assert_array_equal(found[stage], expected)
    stem = np.maximum(captured["intermediates"]["stem_norm"]["__call__"][0], 0)
    np.testing.assert_array_equal(found["stem"], stem)


def test_what_is_not_wanted_is_not_computed(variables):
    def compiled(names):
        function = jax.jit(partial(intermediates, MODEL, names=names))
        text = function.lower(variables, IMAGES).compile().as_text()
        return (text or "").count("convolution(")

    assert compiled(("stage2",)) > compiled(("stem",)) > 0


def test_initialising_leaves_no_intermediates_among_the_variables(variables):
    assert set(variables) == {"params", "batch_stats"}


def test_shapes_are_those_of_the_intermediates(variables):
    expected = {name: x.shape[1:] for name, x in intermediates(MODEL, variables, IMAGES).items()}
    assert intermediate_shapes(MODEL, (8, 8, 3)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("network", TABLES)
def test_names_and_shapes_are_those_of_the_tables(network):
    model = MODELS[network](num_classes=10)
    found = intermediate_shapes(model, (model.image_size, model.image_size, 3))
    rows = (row.split() for row in TABLES[network].split(";"))
    assert found == {name: tuple(map(int, sizes.split("x"))) for name, sizes in rows}


def test_an_unknown_name_is_reported(variables):
    message = "^names must be one of stem, stage1, stage2, features"
    with pytest.raises(InputError, match=message):
        intermediates(MODEL, variables, IMAGES, ["stage3"])
