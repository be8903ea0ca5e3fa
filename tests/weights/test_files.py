"""Weights into a file and back, in our own naming and in that of a library."""

from functools import cache

import jax
import numpy as np
import pytest
import safetensors.numpy

from jaxml.errors import InputError
from jaxml.models import MODELS, abstract_variables
from jaxml.weights import _safetensors_file, load, read, save

SHAPE = (32, 32, 3)


@cache
def network(name):
    """A model, the shapes of its variables, and random ones."""
    model = MODELS[name](num_classes=10)
    template = abstract_variables(model, SHAPE)
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    return model, template, jax.tree.map(draw, template)


@pytest.mark.slow
@pytest.mark.parametrize("names", ["native", "library"])
@pytest.mark.parametrize("name", ["resnet20v1_keras", "resnet18"])
def test_what_is_saved_is_what_is_loaded(name, names, tmp_path):
    model, template, variables = network(name)
    path = tmp_path / "weights.safetensors"
    save(path, variables, name, model, SHAPE, {"note": "x"}, names=names)
    loaded = load(path, name, model, template, SHAPE)
    assert jax.tree.structure(loaded) == jax.tree.structure(variables)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(variables), strict=True):
        np.testing.assert_array_equal(a, b)
    tensors, metadata = _safetensors_file.read(path)
    assert metadata == {"note": "x"}
    first = {"resnet20v1_keras": "conv2d/kernel", "resnet18": "conv1.weight"}[name]
    assert (first in tensors) == (names == "library")


@pytest.mark.slow
def test_the_names_of_another_library_are_told(tmp_path):
    model, _, variables = network("resnet20v1_keras")
    path = tmp_path / "weights.safetensors"
    save(path, variables, "resnet20v1_keras", model, SHAPE, {}, names="library")
    model, template, _ = network("resnet18")
    message = "must have the names of torchvision and timm for resnet18, got Keras$"
    with pytest.raises(InputError, match=message):
        load(path, "resnet18", model, template, SHAPE)


def test_only_networks_of_a_library_have_its_names(tmp_path):
    model, _, variables = network("resnet_tiny")
    path = tmp_path / "weights.safetensors"
    message = "^--names must be native for resnet_tiny, which no library has, got library$"
    with pytest.raises(InputError, match=message):
        save(path, variables, "resnet_tiny", model, SHAPE, {}, names="library")
    assert not path.exists()


def test_a_header_that_begins_like_a_pickle_is_no_pickle(tmp_path):
    path = tmp_path / "weights.safetensors"
    for length in range(200):
        _safetensors_file.write(path, {"a": np.ones(2, np.float32)}, {"note": "x" * length})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    np.testing.assert_array_equal(read(path).tensors["a"], np.ones(2))


def saved_by(path, tensors):
    """Writes tensors by safetensors' or torch's own library."""
    if path.suffix == ".pth":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.tensor(value) for name, value in tensors.items()}, path)
    else:
        safetensors.numpy.save_file(tensors, path)


def of_library(name, folder):
    model, _, variables = network(name)
    save(folder / "w", variables, name, model, SHAPE, {}, names="library")
    return safetensors.numpy.load_file(folder / "w")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "wrapper"), [("safetensors", "model.module._orig_mod."), ("pth", "model.")]
)
def test_a_wrapped_network_is_loaded(tmp_path, ending, wrapper):
    model, template, variables = network("resnet18")
    path = tmp_path / f"a.{ending}"
    saved_by(path, {wrapper + k: v for k, v in of_library("resnet18", tmp_path).items()})
    loaded = load(path, "resnet18", model, template, SHAPE)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(variables), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_prefix_that_is_the_only_difference_is_told_and_can_be_set(tmp_path, ending):
    model, template, variables = network("resnet18")
    path = tmp_path / f"a.{ending}"
    tensors = {f"backbone.{k}": v for k, v in of_library("resnet18", tmp_path).items()}
    saved_by(path, {**tensors, "criterion.weight": np.ones(2, np.float32)})
    told = "; only the prefix differs: config.weights.entry=backbone removes it$"
    with pytest.raises(InputError, match=told):
        load(path, "resnet18", model, template, SHAPE)
    loaded = load(path, "resnet18", model, template, SHAPE, entry="backbone")
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(variables), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_entry_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "a.safetensors"
    saved_by(path, {"ema.w": np.ones(2, np.float32), "net.w": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(read(path, "ema").tensors["w"], np.ones(2))
    message = (
        f"^config.weights.entry must be one of ema, net in {path}, got 'emma'; did you mean 'ema'"
    )
    with pytest.raises(InputError, match=message):
        read(path, "emma")


def test_an_entry_of_a_keras_file_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    message = "^config.weights.entry must be unset for a Keras file, got 'ema'$"
    with pytest.raises(InputError, match=message):
        read(path, "ema")
