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


@pytest.fixture(scope="module")
def variables():
    return jax.jit(partial(MODEL.init, train=False))(jax.random.key(0), IMAGES)


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


def test_an_unknown_name_is_reported(variables):
    message = "^names must be one of stem, stage1, stage2, features"
    with pytest.raises(InputError, match=message):
        intermediates(MODEL, variables, IMAGES, ["stage3"])
