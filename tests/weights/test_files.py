"""Weights into a file and back, in our own naming and in that of a library."""

from functools import cache

import jax
import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.models import MODELS
from jaxml.models.summary import abstract_variables
from jaxml.weights import files, read_weights, safetensors_file

SHAPE = (32, 32, 3)


@cache
def network(name):
    """A model, the shapes of its variables, and random ones."""
    model = MODELS[name](num_classes=10)
    template = abstract_variables(model, SHAPE)
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    return model, template, jax.tree.map(draw, template)


@pytest.mark.parametrize("names", ["native", "library"])
@pytest.mark.parametrize("name", ["resnet20v1_keras", "resnet18"])
def test_what_is_saved_is_what_is_loaded(name, names, tmp_path):
    model, template, variables = network(name)
    path = tmp_path / "weights.safetensors"
    files.save(path, variables, name, model, SHAPE, {"note": "x"}, names=names)
    loaded = files.load(path, name, model, template, SHAPE)
    assert jax.tree.structure(loaded) == jax.tree.structure(variables)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(variables), strict=True):
        np.testing.assert_array_equal(a, b)
    tensors, metadata = safetensors_file.read(path)
    assert metadata == {"note": "x"}
    first = {"resnet20v1_keras": "conv2d/kernel", "resnet18": "conv1.weight"}[name]
    assert (first in tensors) == (names == "library")


def test_the_names_of_another_library_are_told(tmp_path):
    model, _, variables = network("resnet20v1_keras")
    path = tmp_path / "weights.safetensors"
    files.save(path, variables, "resnet20v1_keras", model, SHAPE, {}, names="library")
    model, template, _ = network("resnet18")
    message = "has the names of Keras, and resnet18 those of torchvision and timm$"
    with pytest.raises(InputError, match=message):
        files.load(path, "resnet18", model, template, SHAPE)


def test_only_networks_of_a_library_have_its_names(tmp_path):
    model, _, variables = network("resnet_tiny")
    path = tmp_path / "weights.safetensors"
    message = "^--names: library is not allowed, no library has resnet_tiny$"
    with pytest.raises(InputError, match=message):
        files.save(path, variables, "resnet_tiny", model, SHAPE, {}, names="library")
    assert not path.exists()


def test_a_header_that_begins_like_a_pickle_is_no_pickle(tmp_path):
    path = tmp_path / "weights.safetensors"
    for length in range(200):
        safetensors_file.write(path, {"a": np.ones(2, np.float32)}, {"note": "x" * length})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    np.testing.assert_array_equal(read_weights(path).tensors["a"], np.ones(2))
